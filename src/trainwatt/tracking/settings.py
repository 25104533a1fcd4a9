"""The user's arguments, checked before training starts: the same in every framework."""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

from trainwatt import validation
from trainwatt.clock import Clock
from trainwatt.errors import ArgumentError
from trainwatt.files.names import fault_of, fault_of_path
from trainwatt.footprint.plug import sources_of, sources_text
from trainwatt.live import Provider
from trainwatt.power.device import KINDS, Found, Kind, Scope
from trainwatt.power.discovery import discover, unknown_gpus
from trainwatt.power.host.boot_id import host_id
from trainwatt.site import Site
from trainwatt.tracking.guard import travels

if TYPE_CHECKING:
    from trainwatt.power.accelerators import Accelerator

_log = logging.getLogger("trainwatt")


@dataclass(frozen=True, slots=True)
class Settings:
    """Checked options of a run.

    Attributes:
        site: location of the run, with its factors.
        expected_requests: number of requests that the trained model will serve; None if unknown.
        devices: kinds of device to measure.
        gpus: the GPUs that the user names; None: none.
        scope: ``"machine"``, or ``"process"`` for our processes' share of a shared machine: of its CPU by CPU time, of
            its GPUs by the utilisation that the driver reports, of its memory by use. Such a share is an estimate.
        interval_s: longest time between two samples. A GPU's counter is read at each of its updates, as long as this
            costs less than 0.1 % of a core.
        idle_w, full_w: power of the CPU at idle and at full load in watts, to calibrate its estimate.
        project_after: when to project the whole run for the first time: ``"epoch"``, a number of steps, or None for
            never.
        verbose: print the projection, and a summary at the end.
        output_dir: folder of the run folders; None: no run folder.
        run_name: name of the run folder; None: the start time.
    """

    site: Site
    expected_requests: float | None
    devices: tuple[Kind, ...]
    gpus: tuple[Accelerator, ...] | None
    scope: Scope
    interval_s: float
    idle_w: float | None
    full_w: float | None
    project_after: int | Literal["epoch"] | None
    verbose: bool
    output_dir: Path | None
    run_name: str | None

    @classmethod
    def check(
        cls,
        *,
        zone: str | None = None,
        cloud: str | None = None,
        pue: float | None = None,
        wue: float | None = None,
        tariff: float | None = None,
        carbon_intensity: float | str | Provider | None = None,
        site: Site | None = None,
        expected_requests: float | None = None,
        devices: Sequence[str] = KINDS,
        gpus: object = None,
        scope: str = "machine",
        interval: float = 1.0,
        idle_w: float | None = None,
        full_w: float | None = None,
        project_after: int | str | None = "epoch",
        verbose: bool = True,
        output_dir: str | os.PathLike[str] | None = "footprint",
        run_name: str | None = None,
    ) -> Settings:
        """Check the options.

        Args: see :class:`trainwatt.tracking.options.Options`.

        Raises:
            ArgumentError: names the argument, what was given, and what would be right.
        """
        validation.calibration(idle_w, full_w)
        return cls(
            site=_check_site(
                site, zone=zone, cloud=cloud, pue=pue, wue=wue, tariff=tariff, carbon_intensity=carbon_intensity
            ),
            expected_requests=_check_requests(expected_requests),
            devices=_check_devices(devices),
            gpus=_check_gpus(gpus, devices),
            scope=_check_scope(scope),
            interval_s=validation.positive("interval", interval, "a positive number of seconds, such as 1.0"),
            idle_w=idle_w,
            full_w=full_w,
            project_after=_check_project_after(project_after),
            verbose=_check_bool("verbose", verbose),
            output_dir=_check_folder(output_dir),
            run_name=_check_name(run_name),
        )

    def discover(self, accelerators: Sequence[Accelerator] | None, clock: Clock) -> Found:
        """Find the meters that these settings ask for.

        Args:
            accelerators: those that the program computes on; None: unknown.
            clock: source of the time.
        """
        return discover(
            self.devices,
            scope=self.scope,
            accelerators=accelerators,
            idle_w=self.idle_w,
            full_w=self.full_w,
            clock=clock,
        )

    def at_plug(self, found: Found) -> Settings:
        """Return the settings with the plug factor of this host, if it was calibrated with the same sources.

        Args:
            found: the meters of the run.
        """
        from trainwatt.site.calibration import load  # noqa: PLC0415

        calibration = load(host_id())
        if calibration is None:
            return self
        sources = sources_of(meter.device for meter in found.meters)
        if sources == calibration.sources:
            return replace(self, site=self.site.calibrated(calibration.factor))
        if sources.keys() & {"cpu", "ram"}:
            _log.warning(
                "trainwatt: the plug factor %s is not used: it holds for other sources (%s); see trainwatt calibrate",
                calibration.factor.source,
                sources_text(calibration.sources),
            )
        return self

    def on_hardware(self, found: Found, *, is_here: bool) -> Settings:
        """Return the settings with the PUE and WUE that the found hardware suggests, unless they are given or known.

        Args:
            found: the meters of the run, and the devices that it uses and that are not counted.
            is_here: True if they were discovered on this machine, False if they were handed in.
        """
        devices = {device.id: device for device in (*(meter.device for meter in found.meters), *found.uncounted)}
        names: dict[Kind, list[str]] = {kind: [] for kind in KINDS}
        for device in devices.values():
            names[device.kind].append(device.name)
        return replace(self, site=self.site.on_hardware(names["gpu"], names["cpu"], is_here=is_here))

    @property
    def portable(self) -> Settings:
        """The settings for another process: without a live source of the user's that cannot be sent there."""
        live = self.site.live
        return self if live is None or travels(live.provider) else replace(self, site=self.site.static())

    def quiet(self) -> Settings:
        """Return the settings for a rank other than 0: it prints and projects nothing."""
        return replace(self, verbose=False, project_after=None)


def _check_site(site: Site | None, **arguments: Any) -> Site:
    """Return the given site, or make one of its arguments."""
    if site is None:
        return Site(**arguments)
    if not isinstance(site, Site):
        raise ArgumentError("site", site, "a trainwatt.Site, such as Site(zone='FR', pue=1.2)")
    for name, value in arguments.items():
        if value is not None:
            raise ArgumentError(name, value, f"nothing beside site=, which may hold it: Site({name}=...)")
    return site


def _check_requests(requests: float | None) -> float | None:
    return (
        None
        if requests is None
        else validation.positive("expected_requests", requests, "a positive number of requests")
    )


def _check_devices(devices: Sequence[str]) -> tuple[Kind, ...]:
    given = (devices,) if isinstance(devices, str) else devices
    expected = f"one or more of {', '.join(map(repr, KINDS))}"
    try:
        names = tuple(given)
    except TypeError:
        raise ArgumentError("devices", devices, expected) from None
    if not names or any(name not in KINDS for name in names):
        raise ArgumentError("devices", devices, expected)
    return tuple(kind for kind in KINDS if kind in names)


def _check_gpus(gpus: object, devices: Sequence[str]) -> tuple[Accelerator, ...] | None:
    if gpus is None:
        return None
    if "gpu" not in _check_devices(devices):
        raise ArgumentError("gpus", gpus, f"None, because devices={devices!r} leaves GPUs out")
    from trainwatt.power.accelerators import named_accelerators  # noqa: PLC0415

    named = named_accelerators(gpus)
    if expected := unknown_gpus(named):
        raise ArgumentError("gpus", gpus, expected)
    return named


def _check_scope(scope: str) -> Scope:
    for known in get_args(Scope):
        if scope == known:
            return known  # type: ignore[no-any-return]
    raise ArgumentError("scope", scope, '"machine" or "process"')


def _check_project_after(project_after: int | str | None) -> int | Literal["epoch"] | None:
    if project_after is None or project_after == "epoch":
        return project_after  # type: ignore[return-value]  # mypy does not narrow by ==
    if isinstance(project_after, int) and not isinstance(project_after, bool) and project_after > 0:
        return project_after
    raise ArgumentError("project_after", project_after, '"epoch", a positive number of steps, or None')


def _check_bool(argument: str, value: bool) -> bool:
    if not isinstance(value, bool):
        raise ArgumentError(argument, value, "True or False")
    return value


def _check_folder(output_dir: str | os.PathLike[str] | None) -> Path | None:
    """Return the folder as an absolute path, which holds wherever the program changes to; no disk is asked.

    A folder that cannot be written costs the record only, so it is no bad argument: the disk may be full now, and not
    at the end.
    """
    if output_dir is None:
        return None
    expected = "a folder, or None for no run folder"
    if not isinstance(output_dir, (str, os.PathLike)) or not isinstance(os.fspath(output_dir), str):
        raise ArgumentError("output_dir", output_dir, expected)
    if not os.fspath(output_dir).strip():
        raise ArgumentError("output_dir", output_dir, expected)
    folder = Path(output_dir)
    with contextlib.suppress(RuntimeError):
        # There may be no home folder.
        folder = folder.expanduser()
    if fault := fault_of_path(folder):
        raise ArgumentError("output_dir", str(output_dir), f"{expected}; {fault}")
    with contextlib.suppress(OSError):
        # The working directory may be gone.
        folder = Path(os.path.abspath(folder))  # noqa: PTH100  # resolves "..", without asking the disk for links
    return folder


def _check_name(run_name: str | None) -> str | None:
    if run_name is None:
        return None
    expected = "a folder name without slashes, or None for the start time"
    if not isinstance(run_name, str):
        raise ArgumentError("run_name", run_name, expected)
    if fault := fault_of(run_name):
        raise ArgumentError("run_name", run_name, f"{expected}; {fault}")
    return run_name
