"""Access to NVIDIA's management library (NVML) through nvidia-ml-py."""

from __future__ import annotations

import contextlib
import copy
import math
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from trainwatt.containment import error_text
from trainwatt.errors import SourceError, SourceLostError
from trainwatt.power.device import Missing
from trainwatt.power.driver_call import SILENT_S, UnresponsiveError, answers
from trainwatt.power.host.pseudo_file import is_file
from trainwatt.power.nvidia.cuda_visible_devices import Gpu, Slice
from trainwatt.power.nvidia.sensor_specs import Sensor, sensor
from trainwatt.units import MILLI

_UNKNOWN_ARCHITECTURE = 0xFFFFFFFF
# A Grace CPU with its memory draws less. Source: NVIDIA, "Grace CPU Superchip": 500 W for two of them.
_GRACE_W = 500.0
# A power limit outside of this range is none: the smallest GPUs draw 15 W, the largest of 2027 are announced with
# 3,600 W.
_LEAST_LIMIT_W, _MOST_LIMIT_W = 5.0, 10_000.0
# A GPU has up to seven slices; a driver that reports more is not believed.
_MOST_SLICES = 16
# Longest name or UUID; NVML's are up to 96 characters long.
_LONGEST = 96

Nvml = Any
"""The initialised module pynvml, which has no type annotations."""

_CODES = "NVML_ERROR_"
_WHY_NOT = {
    "LIB_RM_VERSION_MISMATCH": (
        "the driver's library and its kernel module have different versions, as after an update",
        "restart the machine, or: sudo rmmod nvidia_uvm nvidia_drm nvidia_modeset nvidia; sudo modprobe nvidia",
    ),
    "NO_PERMISSION": (
        "this user may not open the NVIDIA driver's device files",
        "join the group shown by ls -l /dev/nvidiactl, or: sudo chmod a+rw /dev/nvidiactl /dev/nvidia[0-9]*",
    ),
    "UNKNOWN": (
        "the NVIDIA driver fails with an unknown error; a container may have lost its access to the GPUs",
        "restart the container, or see: sudo dmesg | grep -i nvrm",
    ),
}


def open_nvml(*, proc_root: Path = Path("/proc")) -> Nvml | Missing:
    """Initialise NVML, or return the reason why that fails.

    NVML counts its initialisations in a process and is never shut down here, so that other code may initialise it and
    shut it down independently.

    Args:
        proc_root: Mount point of procfs, to check if a driver is loaded.
    """
    driver = is_file(proc_root / "driver/nvidia/version")
    try:
        # Takes 25 ms, and may be missing.
        import pynvml  # type: ignore[import-untyped]  # noqa: PLC0415
    except ImportError:
        why = "the Python package nvidia-ml-py is not installed"
        return Missing("gpu", "NVML", why, remedy="pip install nvidia-ml-py", warn=driver)
    (answer,) = answers({"NVML": pynvml.nvmlInit}).values()
    if isinstance(answer, UnresponsiveError):
        why = f"the NVIDIA driver has not responded within {SILENT_S:g} s; runs that begin after it has will use it"
        return Missing("gpu", "NVML", why, "see: sudo dmesg | grep -i nvrm", warn=True)
    return _not_opened(pynvml, answer, driver=driver) if isinstance(answer, Exception) else pynvml


def is_error(nvml: Nvml, error: BaseException, *names: str) -> bool:
    """Return True if an NVMLError has one of these codes, e.g. ``"NO_PERMISSION"``."""
    return getattr(error, "value", None) in {getattr(nvml, _CODES + name, None) for name in names}


class NvmlGpu:
    """GPU as seen through NVML; its methods raise `SourceError` instead of NVML's errors and those of garbled answers.

    Args:
        nvml: Module returned by `open_nvml`.
        index: Index of the GPU in NVML's order.

    Attributes:
        share: Fraction of the GPU's energy and power that is returned, above 0 and up to 1; see `part`.

    Raises:
        pynvml.NVMLError: The GPU cannot be opened.
    """

    def __init__(self, nvml: Nvml, index: int) -> None:
        self.share = 1.0
        self._nvml = nvml
        self._handle = nvml.nvmlDeviceGetHandleByIndex(index)
        self.facts = self._facts(index)
        architecture = self._ask(_UNKNOWN_ARCHITECTURE, "nvmlDeviceGetArchitecture")
        self.sensor: Sensor = sensor(architecture, self._ask((0, 0), "nvmlDeviceGetCudaComputeCapability"))
        self._energy_mj = nvml.nvmlDeviceGetTotalEnergyConsumption
        self._power_mw = nvml.nvmlDeviceGetPowerUsage
        self._samples = nvml.nvmlDeviceGetSamples

    def part(self, share: float) -> NvmlGpu:
        """Return the same GPU with a fraction of its energy and power: a MIG device has no sensors of its own.

        Args:
            share: The fraction, above 0 and up to 1.
        """
        part = copy.copy(self)
        part.share = share
        return part

    def energy_j(self) -> float:
        """Read the energy counter: joules since the driver was loaded."""
        return self._read(self._energy_mj) * MILLI * self.share

    def power_w(self) -> float:
        """Read the power sensor: watts, averaged over `Sensor.window_s`."""
        return self._read(self._power_mw) * MILLI * self.share

    def samples(self, since_us: int) -> Iterable[tuple[int, float]]:
        """Return newer power samples of the driver: microseconds since the Unix epoch, and watts."""
        try:
            _, samples = self._samples(self._handle, self._nvml.NVML_TOTAL_POWER_SAMPLES, since_us)
        except Exception as error:
            if is_error(self._nvml, error, "NOT_FOUND"):
                return ()
            raise self._failure(error) from error
        return ((sample.timeStamp, sample.sampleValue.uiVal * MILLI * self.share) for sample in samples)

    def uses(self, since_us: int) -> list[tuple[int, int, int]]:
        """Return the utilisation per process since a time: process id, time of the sample in us, per cent of the SMs.

        Args:
            since_us: Microseconds since the Unix epoch.

        Raises:
            SourceLostError: The driver does not report it for this GPU.
            SourceError: The read failed; a later one may succeed.
        """
        try:
            samples = self._nvml.nvmlDeviceGetProcessUtilization(self._handle, since_us)
        except Exception as error:
            if is_error(self._nvml, error, "NOT_FOUND"):
                return []
            raise self._failure(error) from error
        return [(int(each.pid), int(each.timeStamp), int(each.smUtil)) for each in samples]

    def users(self, part: Slice | None = None) -> list[int]:
        """Return the ids of the processes that have a context on the GPU.

        Args:
            part: MIG device to which they are limited; None: none.
        """
        processes = self._ask((), "nvmlDeviceGetComputeRunningProcesses")
        return [int(each.pid) for each in processes if part is None or _instances(each) == part.instances]

    @property
    def counts_module(self) -> bool:
        """True if the GPU shares a module, and its energy counter, with a Grace CPU."""
        info = self._ask(None, "nvmlDeviceGetC2cModeInfoV")
        return info is not None and bool(info.isC2cEnabled)

    @property
    def max_w(self) -> float | None:
        """Watts that the GPU cannot exceed while its sensor averages; None if its power limit is not known."""
        limits_mw = self._ask(None, "nvmlDeviceGetPowerManagementLimitConstraints")
        if not limits_mw or not _LEAST_LIMIT_W <= limits_mw[1] * MILLI <= _MOST_LIMIT_W:
            return None
        module_w = _GRACE_W if self.counts_module else 0.0
        return (float(limits_mw[1]) * MILLI * self.sensor.excursion + module_w) * self.share

    def _facts(self, index: int) -> Gpu:
        pci = self._ask(None, "nvmlDeviceGetPciInfo")
        mig = self._ask((0, 0), "nvmlDeviceGetMigMode")
        return Gpu(
            uuid=self._uuid(self._handle),
            index=index,
            name=self._name(self._handle) or "NVIDIA GPU",
            pci=_text(lambda: pci.busId) if pci else "",
            cores=self._ask(0, "nvmlDeviceGetNumGpuCores"),
            clock_mhz=self._ask(0, "nvmlDeviceGetMaxClockInfo", self._nvml.NVML_CLOCK_SM),
            slices=tuple(self._slices()) if mig[0] else None,
        )

    def _slices(self) -> Iterable[Slice]:
        """Yield the MIG devices; a slice's share is relative to the GPU's compute slices, 7 on an A100 or H100."""
        most = self._ask(0, "nvmlDeviceGetMaxMigDeviceCount")
        for number in range(min(most, _MOST_SLICES)):
            handle = self._ask(None, "nvmlDeviceGetMigDeviceHandleByIndex", number)
            if handle is not None:
                yield Slice(
                    uuid=self._uuid(handle),
                    gpu_instance=int(self._nvml.nvmlDeviceGetGpuInstanceId(handle)),
                    compute_instance=int(self._nvml.nvmlDeviceGetComputeInstanceId(handle)),
                    share=min(1.0, self._nvml.nvmlDeviceGetAttributes_v2(handle).computeInstanceSliceCount / most),
                    # The end of a name such as "NVIDIA H100 80GB HBM3 MIG 1g.10gb".
                    profile=self._name(handle).rpartition("MIG ")[2],
                )

    def _name(self, handle: Any) -> str:
        """Return the name of a GPU or MIG device; empty if it has none."""
        try:
            return _text(lambda: self._nvml.nvmlDeviceGetName(handle))
        except Exception:  # noqa: BLE001
            return ""

    def _uuid(self, handle: Any) -> str:
        return _text(lambda: self._nvml.nvmlDeviceGetUUID(handle))

    def _ask(self, otherwise: Any, name: str, *arguments: Any) -> Any:
        """Query an attribute that not every GPU or driver supports."""
        try:
            return getattr(self._nvml, name)(self._handle, *arguments)
        except Exception:  # noqa: BLE001
            return otherwise

    def _read(self, function: Callable[[Any], Any]) -> float:
        try:
            value = float(function(self._handle))
        except Exception as error:
            raise self._failure(error) from error
        if not math.isfinite(value):
            raise SourceError(f"NVML: the driver returned {value}")
        return value

    def _failure(self, error: Exception) -> SourceError:
        if is_error(self._nvml, error, "GPU_IS_LOST", "NOT_SUPPORTED", "FUNCTION_NOT_FOUND"):
            return SourceLostError(f"NVML: {error}")
        if is_error(self._nvml, error, "UNINITIALIZED"):
            self._reopen()
        return SourceError(f"NVML: {_said(self._nvml, error)}")

    def _reopen(self) -> None:
        """Initialise NVML again for the next call, after other code has shut it down more often than initialised it."""
        with contextlib.suppress(Exception):
            self._nvml.nvmlInit()
            # Bytes, because pynvml before 11.5 accepts no text.
            self._handle = self._nvml.nvmlDeviceGetHandleByUUID(self.facts.uuid.encode())


def _not_opened(nvml: Nvml, error: Exception, *, driver: bool) -> Missing:
    if is_error(nvml, error, "LIBRARY_NOT_FOUND"):
        if not driver:
            return Missing("gpu", "NVML", "no NVIDIA driver is installed")
        why = "an NVIDIA driver is loaded, but its library libnvidia-ml.so.1 cannot be found"
        remedy = "in a container: docker run --gpus all -e NVIDIA_DRIVER_CAPABILITIES=compute,utility …"
        return Missing("gpu", "NVML", why, remedy, warn=True)
    if is_error(nvml, error, "DRIVER_NOT_LOADED"):
        return Missing("gpu", "NVML", "the NVIDIA driver is not loaded", "sudo modprobe nvidia", warn=driver)
    for name, (why, remedy) in _WHY_NOT.items():
        if is_error(nvml, error, name):
            return Missing("gpu", "NVML", why, remedy, warn=True)
    return Missing("gpu", "NVML", f"the NVIDIA driver fails: {_said(nvml, error)}", warn=True)


def _said(nvml: Nvml, error: Exception) -> str:
    """Return the driver's own words, or the name and text of another error."""
    return str(error) if isinstance(error, nvml.NVMLError) else error_text(error)


def _instances(process: Any) -> tuple[int | None, int | None]:
    """Return the numbers of the MIG instances in which a process runs."""
    return getattr(process, "gpuInstanceId", None), getattr(process, "computeInstanceId", None)


def _text(read: Callable[[], str | bytes]) -> str:
    """Return one of NVML's strings; bytes that are no UTF-8, and characters that are not printed, are replaced.

    pynvml before 11.5, which some packages install over nvidia-ml-py, returns bytes; later versions decode them, and
    raise if they cannot.

    Args:
        read: Returns the string.
    """
    try:
        text = read()
    except UnicodeDecodeError as error:
        text = bytes(error.object)
    text = text.decode(errors="replace") if isinstance(text, bytes) else str(text)
    return "".join(each if each.isprintable() else "\ufffd" for each in text[:_LONGEST])
