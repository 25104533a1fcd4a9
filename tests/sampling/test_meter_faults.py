"""Whatever a meter does: its device's energy stays within bounds, and no other device notices."""

from __future__ import annotations

import sys

import pytest

from tests.faults.meters import FAULTS, MeterFault

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="files and drivers of Linux")


@pytest.mark.parametrize("fault", FAULTS, ids=str)
def test_a_fault_of_a_meter_costs_its_own_device_the_time_that_it_lasts(fault: MeterFault) -> None:
    assert fault.wrong() == ""
