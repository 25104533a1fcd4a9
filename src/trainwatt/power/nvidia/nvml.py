"""NVIDIA's management library (NVML) through nvidia-ml-py: opened, and asked about one board."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from trainwatt.errors import SourceError, SourceLostError
from trainwatt.power.device import Missing
from trainwatt.power.nvidia.cuda_visible_devices import Board, Slice
from trainwatt.power.nvidia.sensor_specs import Sensor, sensor
from trainwatt.units import MILLI

_UNKNOWN_ARCHITECTURE = 0xFFFFFFFF

Nvml = Any
"""The module pynvml, which has no types, initialised."""

_CODES = "NVML_ERROR_"
_WHY_NOT = {
    "LIB_RM_VERSION_MISMATCH": (
        "the driver's library and its kernel module are of different versions, as after an update",
        "restart the machine, or: sudo rmmod nvidia_uvm nvidia_drm nvidia_modeset nvidia; sudo modprobe nvidia",
    ),
    "NO_PERMISSION": (
        "this user may not open the NVIDIA driver's device files",
        "join the group that ls -l /dev/nvidiactl shows, or: sudo chmod a+rw /dev/nvidiactl /dev/nvidia[0-9]*",
    ),
    "UNKNOWN": (
        "the NVIDIA driver fails for a reason of its own; in a container, it may have lost its access to the GPUs",
        "restart the container, or see: sudo dmesg | grep -i nvrm",
    ),
}


def open_nvml(*, proc_root: Path = Path("/proc")) -> Nvml | Missing:
    """NVML, initialised, or why not.

    Each call counts as one more user of the library in this process, which nobody takes back: NVML keeps count, so
    that others may initialise it and shut it down as they like.

    Args:
        proc_root: where procfs is mounted, to see whether a driver is loaded.
    """
    driver = (proc_root / "driver/nvidia/version").exists()
    try:
        import pynvml  # type: ignore[import-untyped]  # noqa: PLC0415 - costs 25 ms, and may be missing
    except ImportError:
        why = "the Python package nvidia-ml-py is not installed"
        return Missing("gpu", "NVML", why, remedy="pip install nvidia-ml-py", warn=driver)
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError as error:
        return _not_opened(pynvml, error, driver=driver)
    return pynvml


def is_error(nvml: Nvml, error: BaseException, *names: str) -> bool:
    """Whether an NVMLError has one of these codes, e.g. ``"NO_PERMISSION"``."""
    return getattr(error, "value", None) in {getattr(nvml, _CODES + name, None) for name in names}


class NvmlBoard:
    """One board; its methods raise this project's errors.

    Args:
        nvml: what `open_nvml` returned.
        index: the board's place in NVML's order.

    Raises:
        pynvml.NVMLError: it cannot be opened.
    """

    def __init__(self, nvml: Nvml, index: int) -> None:
        self._nvml = nvml
        self._handle = nvml.nvmlDeviceGetHandleByIndex(index)
        self.facts = self._facts(index)
        architecture = self._ask(_UNKNOWN_ARCHITECTURE, "nvmlDeviceGetArchitecture")
        self.sensor: Sensor = sensor(architecture, self._ask((0, 0), "nvmlDeviceGetCudaComputeCapability"))
        self._energy_mj = nvml.nvmlDeviceGetTotalEnergyConsumption
        self._power_mw = nvml.nvmlDeviceGetPowerUsage
        self._samples = nvml.nvmlDeviceGetSamples

    def energy_j(self) -> float:
        """The energy counter: joules since the driver was loaded."""
        return self._read(self._energy_mj) * MILLI

    def power_w(self) -> float:
        """The power sensor: watts, a mean over `Sensor.window_s`."""
        return self._read(self._power_mw) * MILLI

    def samples(self, since_us: int) -> Iterable[tuple[int, float]]:
        """The driver's own power readings that are newer: microseconds since the Unix epoch, and watts."""
        try:
            _, samples = self._samples(self._handle, self._nvml.NVML_TOTAL_POWER_SAMPLES, since_us)
        except self._nvml.NVMLError as error:
            if is_error(self._nvml, error, "NOT_FOUND"):
                return ()
            raise self._failure(error) from error
        return ((sample.timeStamp, sample.sampleValue.uiVal * MILLI) for sample in samples)

    def uses(self, since_us: int) -> list[tuple[int, int, int]]:
        """What the driver tells of the processes that computed since: id, time of the sample, per cent of the SMs.

        Raises:
            SourceLostError: it does not tell that of this board.
            SourceError: not this time.
        """
        try:
            samples = self._nvml.nvmlDeviceGetProcessUtilization(self._handle, since_us)
        except self._nvml.NVMLError as error:
            if is_error(self._nvml, error, "NOT_FOUND"):
                return []
            raise self._failure(error) from error
        return [(int(each.pid), int(each.timeStamp), int(each.smUtil)) for each in samples]

    def users(self) -> list[int]:
        """The ids of the processes that have a context on it."""
        return [int(each.pid) for each in self._ask((), "nvmlDeviceGetComputeRunningProcesses")]

    @property
    def counts_module(self) -> bool:
        """Whether it shares a module, and its counter, with a Grace CPU."""
        info = self._ask(None, "nvmlDeviceGetC2cModeInfoV")
        return info is not None and bool(info.isC2cEnabled)

    def _facts(self, index: int) -> Board:
        pci = self._ask(None, "nvmlDeviceGetPciInfo")
        mig = self._ask((0, 0), "nvmlDeviceGetMigMode")
        return Board(
            uuid=str(self._nvml.nvmlDeviceGetUUID(self._handle)),
            index=index,
            name=str(self._ask("NVIDIA GPU", "nvmlDeviceGetName")),
            pci=_text(pci.busId) if pci else "",
            cores=self._ask(0, "nvmlDeviceGetNumGpuCores"),
            clock_mhz=self._ask(0, "nvmlDeviceGetMaxClockInfo", self._nvml.NVML_CLOCK_SM),
            slices=tuple(self._slices()) if mig[0] else None,
        )

    def _slices(self) -> Iterable[Slice]:
        """MIG devices; a slice's share is that of the board's compute slices, 7 on an A100 or H100."""
        most = self._ask(0, "nvmlDeviceGetMaxMigDeviceCount")
        for number in range(most):
            handle = self._ask(None, "nvmlDeviceGetMigDeviceHandleByIndex", number)
            if handle is not None:
                yield Slice(
                    uuid=str(self._nvml.nvmlDeviceGetUUID(handle)),
                    gpu_instance=int(self._nvml.nvmlDeviceGetGpuInstanceId(handle)),
                    compute_instance=int(self._nvml.nvmlDeviceGetComputeInstanceId(handle)),
                    share=self._nvml.nvmlDeviceGetAttributes_v2(handle).computeInstanceSliceCount / most,
                )

    def _ask(self, otherwise: Any, name: str, *arguments: Any) -> Any:
        """A fact that not every board or driver tells."""
        try:
            return getattr(self._nvml, name)(self._handle, *arguments)
        except (AttributeError, UnicodeDecodeError, self._nvml.NVMLError):
            return otherwise

    def _read(self, function: Callable[[Any], Any]) -> float:
        try:
            return float(function(self._handle))
        except self._nvml.NVMLError as error:
            raise self._failure(error) from error

    def _failure(self, error: Exception) -> SourceError:
        if is_error(self._nvml, error, "GPU_IS_LOST", "NOT_SUPPORTED", "FUNCTION_NOT_FOUND"):
            return SourceLostError(f"NVML: {error}")
        if is_error(self._nvml, error, "UNINITIALIZED"):
            self._reopen()
        return SourceError(f"NVML: {error}")

    def _reopen(self) -> None:
        """Someone in this process has shut NVML down more often than initialised it; the next call finds it open."""
        with contextlib.suppress(self._nvml.NVMLError):
            self._nvml.nvmlInit()
            self._handle = self._nvml.nvmlDeviceGetHandleByUUID(self.facts.uuid)


def _not_opened(nvml: Nvml, error: Exception, *, driver: bool) -> Missing:
    if is_error(nvml, error, "LIBRARY_NOT_FOUND"):
        if not driver:
            return Missing("gpu", "NVML", "no NVIDIA driver is installed")
        why = "an NVIDIA driver is loaded, but its library libnvidia-ml.so.1 is not to be found"
        remedy = "in a container: docker run --gpus all -e NVIDIA_DRIVER_CAPABILITIES=compute,utility …"
        return Missing("gpu", "NVML", why, remedy, warn=True)
    if is_error(nvml, error, "DRIVER_NOT_LOADED"):
        return Missing("gpu", "NVML", "the NVIDIA driver is not loaded", "sudo modprobe nvidia", warn=driver)
    for name, (why, remedy) in _WHY_NOT.items():
        if is_error(nvml, error, name):
            return Missing("gpu", "NVML", why, remedy, warn=True)
    return Missing("gpu", "NVML", f"the NVIDIA driver fails: {error}", warn=True)


def _text(text: str | bytes) -> str:
    return text.decode() if isinstance(text, bytes) else text
