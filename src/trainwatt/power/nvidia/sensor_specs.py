"""Update interval, averaging window and accuracy of NVIDIA's power sensors."""

from __future__ import annotations

from dataclasses import dataclass

# NVML's numbers of architectures.
_PASCAL, _VOLTA, _TURING, _AMPERE = 4, 5, 6, 7
_GA100 = (8, 0)


@dataclass(frozen=True, slots=True)
class Sensor:
    """Power sensor of a GPU, from which its energy counter and the driver's samples are derived.

    Attributes:
        refresh_s: Update interval.
        window_s: Time before an update over which the power is averaged.
        error: Largest relative error of the power.
    """

    refresh_s: float
    window_s: float
    error: float

    @property
    def cause(self) -> str:
        """Cause of the error, shared by all GPUs with this type of sensor."""
        return f"NVIDIA power sensor, mean over {self.window_s:g} s, updated every {self.refresh_s:g} s"

    @property
    def excursion(self) -> float:
        """Largest power that the sensor may show, as a multiple of the GPU's highest power limit.

        A power supply must bear 160 % of its rating for 10 ms and 120 % for 100 ms, because of GPUs: Intel, "ATX
        Version 3.0 Multi Rail Desktop Platform Power Supply Design Guide", power excursion.
        """
        return 1.2 if self.window_s >= 0.1 else 1.6

    def error_when_read_each(self, spacing_s: float) -> float:
        """Return the relative error of the energy, including the time between the windows that is not measured.

        The additional error is 5 % if at least half of the time is measured, else 15 %. For square waves of 60 and
        300 W with periods of 0.1 to 5 s, nine out of ten errors are within that, by
        `tests/power/nvidia/test_meters.py`. A load with the same period as the sensor can have a far larger error:
        67 % for a wave of 0.1 s and a sensor that measures 25 of each 100 ms.

        Args:
            spacing_s: Time between two readings.
        """
        seen = self.window_s / max(spacing_s, self.refresh_s)
        if seen >= 1:
            return self.error
        return self.error + (0.05 if seen >= 0.5 else 0.15)


def sensor(architecture: int, capability: tuple[int, int]) -> Sensor:
    """Return the sensor of a GPU generation, as `nvmlDeviceGetPowerUsage` shows it.

    Source of times and errors: Yang, Adamek and Armour, "Part-time power measurements: nvidia-smi's lack of attention"
    (SC24, over 70 GPUs). Sensors read 1 to 6 % low on Turing to Ada, and are about 1 % off on Pascal. Ampere (except
    GA100) and newer GPUs report the mean over one second: nvml.h 13, `nvmlDeviceGetPowerUsage`.

    Args:
        architecture: NVML's number of the architecture; an unknown number is treated as a new GPU.
        capability: CUDA compute capability.
    """
    if architecture in (_PASCAL, _VOLTA):
        return Sensor(0.02, 0.01, 0.02 if architecture == _PASCAL else 0.06)
    if architecture <= _TURING:
        return Sensor(0.1, 0.1, 0.06)
    if architecture == _AMPERE and capability == _GA100:
        return Sensor(0.1, 0.025, 0.06)
    return Sensor(0.1, 1.0, 0.06)
