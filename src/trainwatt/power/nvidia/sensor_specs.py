"""How often NVIDIA's power sensors renew their figure, which time it is a mean of, and how true it is."""

from __future__ import annotations

from dataclasses import dataclass

_PASCAL, _VOLTA, _TURING, _AMPERE = 4, 5, 6, 7  # NVML's numbers of architectures
_GA100 = (8, 0)


@dataclass(frozen=True, slots=True)
class Sensor:
    """A board's power sensor, behind which stand its energy counter and the driver's samples.

    Attributes:
        refresh_s: time from one figure to the next.
        window_s: the time before a renewal that the figure is the mean of.
        error: how far the sensor is off at most, as a part of the power.
    """

    refresh_s: float
    window_s: float
    error: float

    def error_when_read_each(self, spacing_s: float) -> float:
        """The error with what goes unseen between the windows of readings so far apart.

        Of square waves of 60 and 300 W with periods of 0.1 to 5 s, nine in ten are then at most 5 % off where half of
        the time is seen, and 15 % where less is, by `tests/power/test_nvml_meters.py`. A load that repeats exactly
        with the sensor can be off by far more (67 % for a wave of 0.1 s on a sensor that sees 25 of each 100 ms).
        """
        seen = self.window_s / max(spacing_s, self.refresh_s)
        if seen >= 1:
            return self.error
        return self.error + (0.05 if seen >= 0.5 else 0.15)


def sensor(architecture: int, capability: tuple[int, int]) -> Sensor:
    """The sensor of a board's generation, as `nvmlDeviceGetPowerUsage` shows it.

    Times and errors: Yang, Adamek and Armour, "Part-time power measurements: nvidia-smi's lack of attention" (SC24,
    over 70 boards): sensors read 1 to 6 % low on Turing to Ada, about 1 % off on Pascal. That Ampere (except GA100)
    and newer boards show the mean of a second: nvml.h 13, `nvmlDeviceGetPowerUsage`.

    Args:
        architecture: NVML's number of it; what is not known is taken as new.
        capability: CUDA compute capability.
    """
    if architecture in (_PASCAL, _VOLTA):
        return Sensor(0.02, 0.01, 0.02 if architecture == _PASCAL else 0.06)
    if architecture <= _TURING:
        return Sensor(0.1, 0.1, 0.06)
    if architecture == _AMPERE and capability == _GA100:
        return Sensor(0.1, 0.025, 0.06)
    return Sensor(0.1, 1.0, 0.06)
