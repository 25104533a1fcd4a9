"""A report as a person reads it in a terminal."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Iterable, Sequence
from pathlib import Path

from trainwatt.attempt import Earlier
from trainwatt.footprint import Footprint, Quantity
from trainwatt.power.device import Device
from trainwatt.projection import Projection
from trainwatt.report import Report
from trainwatt.site import Site
from trainwatt.units import G_PER_KG, J_PER_KWH, J_PER_WH, S_PER_H, WH_PER_KWH, j_from_kwh

_GAP = "  "
_WIDTH = 120


def energy_text(kwh: float) -> str:
    """Energy in the unit that reads best, with three significant figures."""
    joules = j_from_kwh(kwh)
    if joules < J_PER_WH / 10:
        return f"{_figures(joules)} J"
    if joules < J_PER_KWH:
        return f"{_figures(joules / J_PER_WH)} Wh"
    return f"{_figures(kwh)} kWh"


def energy_range_text(kwh: Quantity) -> str:
    """Energy with its range, in one unit."""
    factor, unit = (WH_PER_KWH, "Wh") if kwh.central < 1 else (1.0, "kWh")
    if kwh.central * WH_PER_KWH < 0.1:
        factor, unit = J_PER_KWH, "J"
    return (
        f"{_figures(kwh.central * factor)} {unit} ({_figures(kwh.low * factor, 2)} to {_figures(kwh.high * factor, 2)})"
    )


def mass_range_text(kg: Quantity) -> str:
    """A mass with its range, in one unit, with two significant figures."""
    factor, unit = (G_PER_KG, "g") if kg.central < 1 else (1.0, "kg")
    return (
        f"{_figures(kg.central * factor, 2)} {unit} ({_figures(kg.low * factor, 2)} to {_figures(kg.high * factor, 2)})"
    )


def mass_text(kg: float) -> str:
    """A mass in the unit that reads best, with two significant figures."""
    return f"{_figures(kg * G_PER_KG, 2)} g" if kg < 1 else f"{_figures(kg, 2)} kg"


def duration_text(seconds: float) -> str:
    """A duration in its two largest units."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    if seconds < S_PER_H:
        return f"{seconds // 60:.0f} min {seconds % 60:.0f} s"
    return f"{seconds // S_PER_H:.0f} h {seconds % S_PER_H // 60:.0f} min"


def projection_text(report: Report, *, again: bool = False) -> str:
    """What the whole run will take, in a line; empty where that is not known.

    Args:
        report: with a projection.
        again: it was said before, and has changed.
    """
    projection, footprint = report.projection, report.projected_footprint
    if projection is None or footprint is None:
        return ""
    parts = [
        f"whole run {'now ' if again else ''}about {energy_range_text(projection.energy_kwh)}",
        f"{mass_text(footprint.co2e_kg.central)} CO2e",
        f"{duration_text(projection.remaining_s)} left",
    ]
    end = "; if it runs to the end" if projection.plan.may_stop else ""
    return f"trainwatt: {_progress_text(projection)}; {', '.join(parts)}{end}"


def _progress_text(projection: Projection) -> str:
    plan, total = projection.plan, projection.plan.total_steps()
    if projection.epochs and plan.epochs:
        return f"epoch {projection.epochs + plan.first_epoch} of {plan.epochs + plan.first_epoch}"
    return f"step {projection.steps + plan.first_step}" + (f" of {total + plan.first_step}" if total else "")


def summary_text(report: Report, folder: Path | None = None) -> str:
    """The table at the end of a run."""
    blocks = [_headline(report), table(_phase_rows(report)), table(_device_rows(report)), _meaning(report)]
    if folder:
        blocks.append(f"run folder: {folder}")
    return "\n\n".join(blocks)


def _headline(report: Report) -> str:
    what = f"trainwatt: {report.run} {report.status} after {duration_text(report.total.seconds)}"
    whole = filter(None, (what, energy_range_text(report.energy_kwh), _share_text(report.measured_share)))
    return "\n".join([", ".join(whole), *_attempts_text(report.earlier)])


def _attempts_text(earlier: Earlier) -> Iterable[str]:
    if earlier.attempts:
        lost_j = sum(attempt.lost_j for attempt in earlier.attempts)
        lost = f", {energy_text(lost_j / J_PER_KWH)} of it lost work that was made again" if lost_j else ""
        count = len(earlier.attempts)
        what = f"{count} earlier attempt{'s' * (count > 1)}"
        yield f"of that {energy_text(earlier.total_j / J_PER_KWH)} in {what}{lost}"


def _share_text(measured: float | None) -> str:
    if measured is None:
        return ""
    if measured in (0, 1):
        return "all of it measured" if measured else "all of it estimated"
    return f"{measured:.0%} of it measured"


def _phase_rows(report: Report) -> Iterable[Sequence[str]]:
    total_j = report.total.total_j or 1.0
    yield "phase", "time", "energy", "share", "mean power"
    for phase, span in [*report.phases.items(), ("total", report.total)]:
        power = f"{span.total_j / span.seconds:.0f} W" if span.seconds > 0 else ""
        energy = energy_text(span.total_j / J_PER_KWH)
        yield phase, duration_text(span.seconds), energy, f"{span.total_j / total_j:.1%}", power


def _device_rows(report: Report) -> Iterable[Sequence[str]]:
    yield "device", "energy", "how"
    for device in report.devices:
        joules = report.total.joules.get(device.id, 0.0)
        yield f"{device.kind.upper()} {device.name}", energy_text(joules / J_PER_KWH), how_text(device)


def how_text(device: Device) -> str:
    """How a device's figure is obtained."""
    spread = "" if device.method == "measured" else f" ({device.low:.2g} to {device.high:.2g} times)"
    share = "" if device.share is None else f"; shared board, {device.share:.0%} of it ours by its slices"
    return f"{device.method}{spread}: {device.source}{share}"


def _meaning(report: Report) -> str:
    meaning = footprint_text(report.footprint, report.site)
    return f"{meaning}\n\n{report.lifetime.text()}" if report.lifetime else meaning


def footprint_text(footprint: Footprint, site: Site) -> str:
    """What some energy means at a site, and every factor behind it with source and year."""
    parts = [f"{mass_range_text(footprint.co2e_kg)} CO2e", f"{footprint.water_l.text('L')} of water"]
    if footprint.cost is not None:
        parts.append(footprint.cost.text(footprint.currency or "in the tariff's currency"))
    lines = [", ".join(parts), *_beside(footprint), f"in {site.text()}{_live_text(site)}"]
    return "\n".join([*lines, "factors:", *(_folded(factor.text()) for factor in footprint.factors)])


def _folded(text: str) -> str:
    return textwrap.fill(text, _WIDTH, initial_indent=_GAP, subsequent_indent=2 * _GAP, break_on_hyphens=False)


def _beside(footprint: Footprint) -> Iterable[str]:
    """What is never added to the location-based emissions."""
    if footprint.market_kg is not None:
        yield f"{mass_range_text(footprint.market_kg)} CO2e by contract (market-based)"
    if footprint.embodied_kg is not None:
        yield f"{mass_range_text(footprint.embodied_kg)} CO2e embodied in its GPUs, without the servers around them"


def _live_text(site: Site) -> str:
    if site.live is None:
        return ""
    trouble = f"; {site.live.problem}" if site.live.problem else ""
    return f", {site.live.share:.0%} of the energy by {site.live.provider.name}{trouble}"


def table(rows: Iterable[Sequence[str]]) -> str:
    """Columns as wide as their widest cell: the first and the last to the left, the rest to the right."""
    cells = [list(row) for row in rows]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = []
    for row in cells:
        inner = [cell.rjust(width) for cell, width in zip(row[1:-1], widths[1:-1], strict=True)]
        lines.append(_GAP.join([row[0].ljust(widths[0]), *inner, row[-1]]).rstrip())
    return "\n".join([lines[0], "-" * max(map(len, lines)), *lines[1:]])


def _figures(value: float, digits: int = 3) -> str:
    """A number with so many significant figures and no exponent."""
    if value == 0:
        return "0"
    value = float(f"{value:.{digits}g}")
    decimals = digits - 1 - math.floor(math.log10(abs(value)))
    return f"{value:.{max(0, decimals)}f}"
