"""``trainwatt calibrate``: measure how much more this machine draws at the plug than its devices report."""

from __future__ import annotations

import argparse
import getpass
import os
import re
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any, NamedTuple

from trainwatt.accounting.attempts import devices_of
from trainwatt.cli.shared import command, show
from trainwatt.errors import ArgumentError, SourceError
from trainwatt.footprint.plug import calibrate, hosts_of, sources_of, sources_text
from trainwatt.formatting import duration_text, energy_text
from trainwatt.power.device import Device
from trainwatt.power.discovery import discover
from trainwatt.power.host.boot_id import boot_id, host_id
from trainwatt.power.plug.meter_log import ARGUMENT as WALL_CSV
from trainwatt.power.plug.meter_log import EnergyLog, overlap, read_log
from trainwatt.power.plug.node_meter import PlugMeter, ipmi, own_meter
from trainwatt.quantity import Quantity
from trainwatt.records.job_reader import read_run
from trainwatt.records.recorded_run import RecordedRun
from trainwatt.records.snapshot import energy_range
from trainwatt.reporting.html import run_history
from trainwatt.sampling.sampler import Sampler
from trainwatt.site.calibration import Calibration, save
from trainwatt.units import J_PER_KWH, WH_PER_KWH

if TYPE_CHECKING:
    from trainwatt.cli.shared import Commands

_PASSWORD = "TRAINWATT_BMC_PASSWORD"  # noqa: S105
_READ_EACH_S = 1.0
_PROCESS = re.compile("/process-")


class Measurement(NamedTuple):
    """Energy at the plug and energy read by the devices, in the same time.

    Attributes:
        plug_kwh: energy at the plug; its range is the resolution of the meter.
        read_kwh: energy read, with its range.
        devices: the devices that were read.
        host: identity of the host.
        date: day, ISO 8601.
        meter: e.g. ``a wall meter``.
        given: the user's argument and its value, for error messages.
        seconds: duration.
        run: name of the run; empty for a live measurement.
        note: remark for the user.
    """

    plug_kwh: Quantity
    read_kwh: Quantity
    devices: tuple[Device, ...]
    host: str
    date: str
    meter: str
    given: tuple[str, object]
    seconds: float
    run: str = ""
    note: str = ""


def add(commands: Commands) -> None:
    """Add the command."""
    parser = command(
        commands,
        "calibrate",
        run,
        "measure how much more this host draws at the plug than its devices report, for later runs on it",
        "trainwatt calibrate footprint/2026-11-25T08-49-46 --wall-wh 512",
        "trainwatt calibrate footprint/2026-11-25T08-49-46 --wall-csv meter.csv",
        "trainwatt calibrate --ipmi --seconds 300",
        "trainwatt calibrate --redfish https://10.0.0.5 --bmc-user admin",
    )
    parser.add_argument(
        "folder", nargs="?", metavar="RUN", help="with --wall-wh or --wall-csv: folder of a run on the host"
    )
    source = parser.add_argument_group("meter (one of them)").add_mutually_exclusive_group(required=True)
    source.add_argument("--wall-wh", type=_watt_hours, metavar="WH", help="energy of a wall meter over the whole run")
    source.add_argument(
        WALL_CSV, metavar="FILE", help="log of a wall meter: CSV with columns such as time,watts or time,Wh"
    )
    source.add_argument(
        "--node-meter", action="store_true", help="the node's own meter: Cray counters, ACPI power meter"
    )
    source.add_argument("--ipmi", action="store_true", help="the server's IPMI: ipmitool dcmi power reading")
    source.add_argument("--redfish", metavar="URL", help="address of the server's controller, or of its power resource")
    parser.add_argument(
        "--bmc-user", default="", metavar="NAME", help=f"--redfish: user; the password is in {_PASSWORD}"
    )
    parser.add_argument("--insecure", action="store_true", help="--redfish: accept any certificate")
    parser.add_argument(
        "--seconds", type=_seconds, default=60.0, help="how long to read a server's meter, during a load (default: 60)"
    )
    parser.add_argument("--dry-run", action="store_true", help="print the factor without storing it")


def run(options: argparse.Namespace) -> int:
    """Measure, store and print the factor of the host."""
    measured = _of_run(options) if options.wall_wh or options.wall_csv else _live(options)
    factor = calibrate(
        measured.read_kwh, measured.plug_kwh, date=measured.date, meter=measured.meter, given=measured.given
    )
    calibration = Calibration(factor, sources_of(measured.devices), measured.run)
    file = None if options.dry_run else save(measured.host, calibration)
    stored = f"Stored in {file}: later runs on this host use it, before the PUE." if file else "Not stored."
    span, compared = f"({factor.low:.3g} to {factor.high:.3g})", duration_text(measured.seconds)
    text = [
        f"{factor.value:.3g} times the energy that the devices report {span}, {factor.source}",
        f"{_energy(measured.plug_kwh)} at the plug, {_energy(measured.read_kwh)} read in {compared}",
        f"It holds for runs that read the same sources: {sources_text(calibration.sources)}",
        stored,
        measured.note,
    ]
    figures: dict[str, Any] = {
        **calibration.to_dict(),
        "host": measured.host,
        "plug_kwh": measured.plug_kwh.to_dict(),
        "read_kwh": measured.read_kwh.to_dict(),
        "seconds": measured.seconds,
        "file": str(file) if file else None,
    }
    return show(options, "\n".join(filter(None, text)), figures)


# with a run


def _of_run(options: argparse.Namespace) -> Measurement:
    """Compare a wall meter with a run."""
    given: tuple[str, object] = (WALL_CSV, options.wall_csv)
    if options.wall_wh:
        given = ("--wall-wh", options.wall_wh.central * WH_PER_KWH)
    if options.folder is None:
        raise ArgumentError("RUN", None, f"the folder of the run that {given[0]} is about")
    recorded = read_run(options.folder)
    summary = recorded.summary
    devices, host = _checked_devices(options.folder, summary), _host_of(options.folder, summary)
    joules = {each["id"]: float(each["joules"] or 0.0) for each in summary["devices"]}
    whole_kwh = energy_range(joules, devices)
    whole = Measurement(
        options.wall_wh or whole_kwh,
        whole_kwh,
        devices,
        host,
        str(summary["updated"])[:10],
        "a wall meter",
        given,
        summary["seconds"],
        str(summary["run"]),
    )
    return whole if options.wall_wh else _in_the_log(whole, options.wall_csv, _energy_of(recorded))


def _in_the_log(whole: Measurement, path: str, ours: EnergyLog) -> Measurement:
    """Return the part of a run that the log of a wall meter covers.

    Args:
        whole: the run.
        path: file of the log.
        ours: energy of the run over time.
    """
    log = read_log(path, ours.times_s[0])
    same = overlap(log, ours, path)
    return whole._replace(
        plug_kwh=_with_resolution(same.meter_j / J_PER_KWH, log.resolution_j / J_PER_KWH),
        read_kwh=whole.read_kwh.scaled(same.run_j / ours.joules[-1]),
        seconds=same.seconds,
        note=f"The meter's clock is {same.shift_s:+.0f} s ahead; this is corrected." if same.shift_s else "",
    )


def _checked_devices(folder: str, summary: Mapping[str, Any]) -> tuple[Device, ...]:
    """Return the devices of a run that a plug can be compared with.

    Raises:
        ArgumentError: if the run was resumed, counted only a share of the machine, or ran on several hosts.
    """
    if "site" not in summary or not summary["total_j"]:
        raise ArgumentError("RUN", folder, "a run that has measured energy")
    if len(summary.get("attempts", ())) > 1:
        raise ArgumentError(
            "RUN", folder, "a run without earlier attempts, so that the meter and the run cover the same"
        )
    devices = devices_of(summary)
    if any(_PROCESS.search(device.id) for device in devices):
        raise ArgumentError("RUN", folder, 'a run with scope="machine": a plug is that of the whole machine')
    if len(hosts_of(devices)) > 1:
        raise ArgumentError("RUN", folder, f"a run on one host; this one ran on {len(hosts_of(devices))}")
    return devices


def _host_of(folder: str, summary: Mapping[str, Any]) -> str:
    if known := summary.get("host"):
        return str(known)
    # Older summaries do not state the host, but the ids of their devices its boot.
    if hosts_of(devices_of(summary)) == {boot_id()}:
        return host_id()
    raise ArgumentError("RUN", folder, "a run that was measured on this host with this version of trainwatt")


def _energy_of(recorded: RecordedRun) -> EnergyLog:
    """Return the energy of a run over time, from its power history."""
    slices = run_history.power(recorded)
    if not slices:
        raise ArgumentError("RUN", str(recorded.folder), "a run with its power over time in events.jsonl")
    began_s = datetime.fromisoformat(recorded.summary["began"]).timestamp()
    times_s, joules = [began_s], [0.0]
    for each in slices:
        times_s.append(began_s + each.to_s)
        joules.append(joules[-1] + each.watts * (each.to_s - each.from_s))
    # The history has six figures, and lacks what its last moments were corrected by.
    scale = recorded.summary["total_j"] / joules[-1] if joules[-1] else 1.0
    return EnergyLog(times_s, [scale * each for each in joules])


# live


def _live(options: argparse.Namespace) -> Measurement:
    """Read a server's own meter and the devices at the same time."""
    if options.folder is not None:
        raise ArgumentError(
            "RUN", options.folder, "no run: a server's own meter is read now; start a training meanwhile"
        )
    meter, given = _meter(options)
    found = discover()
    sampler = Sampler()
    subscription = sampler.subscribe(found.meters, interval_s=min(_READ_EACH_S, options.seconds / 4))
    try:
        times_s, watts = _readings(meter, sampler.clock.monotonic, options.seconds)
        subscription.wait_until_settled(times_s[-1], timeout_s=1.0)
        after, before = subscription.joules_at(times_s[-1]), subscription.joules_at(times_s[0])
        devices = subscription.devices
    finally:
        subscription.close()
    joules = {name: after[name] - before.get(name, 0.0) for name in after}
    pairs = zip(times_s, times_s[1:], watts, watts[1:], strict=False)
    plug_kwh = sum((to_s - from_s) * (a_w + b_w) / 2 for from_s, to_s, a_w, b_w in pairs) / J_PER_KWH
    return Measurement(
        Quantity(plug_kwh, plug_kwh, plug_kwh),
        energy_range(joules, devices),
        devices,
        host_id(),
        datetime.now(timezone.utc).date().isoformat(),
        meter.name,
        given,
        times_s[-1] - times_s[0],
    )


def _meter(options: argparse.Namespace) -> tuple[PlugMeter, tuple[str, object]]:
    """Return the meter that the user asks for, and the argument with its value.

    Raises:
        ArgumentError: if it cannot be read.
    """
    if options.redfish:
        return _redfish(options), ("--redfish", options.redfish)
    argument, find = ("--ipmi", ipmi) if options.ipmi else ("--node-meter", own_meter)
    try:
        return find(), (argument, True)
    except SourceError as error:
        raise ArgumentError(argument, True, f"a meter of this server that can be read; {error}") from None


def _redfish(options: argparse.Namespace) -> PlugMeter:
    # The network is used only if asked for.
    from trainwatt.live.fetch import FetchError  # noqa: PLC0415
    from trainwatt.live.redfish import Redfish  # noqa: PLC0415

    try:
        server = Redfish(options.redfish, options.bmc_user, _password(options.bmc_user), verify=not options.insecure)
    except (FetchError, ValueError) as error:
        expected = f"the address of a controller that reports the power of this server; {error}"
        raise ArgumentError("--redfish", options.redfish, expected) from None

    def watts() -> float:
        try:
            return server.watts()
        except FetchError as error:
            raise SourceError(str(error)) from None

    return PlugMeter("the server's Redfish power meter", watts)


def _password(user: str) -> str:
    known = os.environ.get(_PASSWORD, "")
    return getpass.getpass(f"Password of {user}: ") if user and not known and sys.stdin.isatty() else known


def _readings(meter: PlugMeter, now: Callable[[], float], seconds: float) -> tuple[Sequence[float], Sequence[float]]:
    """Read a meter for some time; a failed reading is left out.

    Returns:
        Times, monotonic seconds, and watts.

    Raises:
        ValueError: if fewer than two readings succeeded.
    """
    times_s: list[float] = []
    watts: list[float] = []
    end_s, problem = now() + seconds, ""
    while True:
        before_s = now()
        try:
            watts.append(meter.watts())
            times_s.append((before_s + now()) / 2)
        except SourceError as error:
            problem = str(error)
        rest_s = end_s - now()
        if rest_s <= 0:
            break
        time.sleep(min(_READ_EACH_S, rest_s))
    if len(times_s) < 2:
        raise ValueError(f"{meter.name} could not be read: {problem or 'too short a time; see --seconds'}")
    return times_s, watts


# arguments


def _watt_hours(text: str) -> Quantity:
    """Parse watt hours; the last digit that is written is the meter's resolution."""
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r}: expected watt hours above 0, such as 512")
    decimals = len(text.partition(".")[2]) if "e" not in text.lower() else 0
    return _with_resolution(value / WH_PER_KWH, 10**-decimals / WH_PER_KWH)


def _with_resolution(kwh: float, step_kwh: float) -> Quantity:
    return Quantity(max(0.0, kwh - step_kwh / 2), kwh, kwh + step_kwh / 2)


def _seconds(text: str) -> float:
    seconds = float(text)
    if not 1 <= seconds <= 86_400:
        raise argparse.ArgumentTypeError(f"{text}: expected a number of seconds from 1 to 86400")
    return seconds


def _energy(kwh: Quantity) -> str:
    return energy_text(kwh.central)
