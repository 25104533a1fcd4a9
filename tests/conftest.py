from __future__ import annotations

import os
import signal
import sys
from importlib.util import find_spec

import pytest
from hypothesis import settings

from standins import nvml as standin
from trainwatt.testing import VirtualClock

collect_ignore = []
if find_spec("torch") is None:
    collect_ignore.append("stopping/test_lr_schedule.py")
if sys.platform == "win32":
    # names of the kernel's files, with colons, and signals that Windows does not have
    collect_ignore += ["power/host", "cli/test_run.py"]

# the summary is shorter if CI is set
os.environ.pop("CI", None)

# shells make background processes ignore SIGINT
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

settings.register_profile("any machine", deadline=None, derandomize=True)
settings.load_profile("any machine")


@pytest.fixture(scope="session")
def nvml_library(tmp_path_factory: pytest.TempPathFactory) -> standin.Library:
    if sys.platform != "linux":
        pytest.skip("the stand-in driver is a library for Linux")
    return standin.load(standin.build(tmp_path_factory.getbasetemp() / "nvml"))


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock()
