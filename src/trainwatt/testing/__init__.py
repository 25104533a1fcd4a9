"""Test doubles: meters of known power, a virtual clock, and a tracker that runs on both.

An hour of virtual time takes about 0.1 s, and the true energy is known. Nothing of trainwatt is mocked: these meters
are sampled, and their energy is assigned to phases, as with real ones.

>>> from trainwatt.testing import ConstantCounter, VirtualClock, VirtualTracker
>>> clock = VirtualClock()
>>> with VirtualTracker(clock, [ConstantCounter(clock, watts=250.0)]) as run:
...     for epoch in run.epochs(3):
...         for _ in range(10):
...             run.advance(2.0)  # one training step takes 2 s
...             run.step()
...         with run.phase("validate"):
...             run.advance(4.0)
>>> round(sum(run.summary["phases"]["train"]["joules"].values()))  # 250 W x 60 s
15000
>>> round(sum(run.summary["phases"]["validate"]["joules"].values()))  # 250 W x 12 s
3000

Only the names in ``__all__`` are public.
"""

from __future__ import annotations

from trainwatt.power.device import Device
from trainwatt.testing.meters import ConstantCounter, ConstantGauge, ScriptedCounter, ScriptedGauge
from trainwatt.testing.virtual_clock import VirtualClock
from trainwatt.testing.virtual_tracker import VirtualSampler, VirtualTracker, run_until

__all__ = [
    "ConstantCounter",
    "ConstantGauge",
    "Device",
    "ScriptedCounter",
    "ScriptedGauge",
    "VirtualClock",
    "VirtualSampler",
    "VirtualTracker",
    "run_until",
]
