from __future__ import annotations

import os
import signal

import pytest
from hypothesis import settings

from standins import nvml as standin
from standins.virtual import VirtualClock

os.environ.pop("CI", None)  # a summary is shorter there

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as shells start what is to run in the background
    signal.signal(signal.SIGINT, signal.default_int_handler)

settings.register_profile("any machine", deadline=None, derandomize=True)
settings.load_profile("any machine")


@pytest.fixture(scope="session")
def nvml_library(tmp_path_factory: pytest.TempPathFactory) -> standin.Library:
    return standin.load(standin.build(tmp_path_factory.getbasetemp() / "nvml"))


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock()
