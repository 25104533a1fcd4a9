"""View model of a run's summary, shared by text, notebook and HTML output."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from trainwatt.accounting.timeline import Span, total_of
from trainwatt.escaping.printable import printable
from trainwatt.export import facts
from trainwatt.footprint.lifetime import Lifetime
from trainwatt.formatting import duration_text, energy_range_text, energy_text, mass_range_text, table
from trainwatt.power.device import Device
from trainwatt.quantity import Quantity
from trainwatt.site import Factor
from trainwatt.site.site import site_text
from trainwatt.units import kwh_from_j

_INDENT = "  "
_WIDTH = 120
# Rows for the parts of one phase.
_PARTS = 6

Summary = Mapping[str, Any]


@dataclass(frozen=True)
class Table:
    """Rows of formatted text.

    Attributes:
        header: column names; the first and last columns hold text, the others figures.
        rows: the cells.
        summed: True if the last row is the sum of the others.
    """

    header: Sequence[str]
    rows: tuple[Sequence[str], ...]
    summed: bool = False


@dataclass(frozen=True)
class SummaryView:
    """Formatted content of a summary.

    Attributes:
        headline: run, time and energy.
        tables: phases and devices; empty tables are left out.
        meaning: emissions, water, cost and site.
        factors: the factors used, each with its source.
        folder: run folder; empty if there is none.
    """

    headline: str
    tables: tuple[Table, ...]
    meaning: tuple[str, ...]
    factors: tuple[str, ...]
    folder: str = ""

    def printable(self) -> SummaryView:
        """Return the same view in which no name acts on a terminal, or makes a line of its own."""
        tables = (
            replace(each, header=_printable(each.header), rows=tuple(_printable(row) for row in each.rows))
            for each in self.tables
        )
        return SummaryView(
            printable(self.headline),
            tuple(tables),
            _printable(self.meaning),
            _printable(self.factors),
            printable(self.folder),
        )

    def text(self) -> str:
        """Return the view as plain text."""
        blocks = [self.headline, *(table([each.header, *each.rows]) for each in self.tables), _lines_text(self)]
        return "\n\n".join(filter(None, [*blocks, self.folder and f"run folder: {self.folder}"]))

    def line(self) -> str:
        """Return the view in one line."""
        return ", ".join(filter(None, [self.headline, *self.meaning[:1], self.folder and f"run folder: {self.folder}"]))


def _printable(texts: Iterable[str]) -> tuple[str, ...]:
    return tuple(printable(each) for each in texts)


def summary_view(summary: Summary, folder: Path | None = None) -> SummaryView:
    """Return the view of a summary.

    Args:
        summary: content of ``summary.json``, or the partial one of a killed run.
        folder: the run folder, if available, else None.
    """
    meaning, factors = _meaning(summary)
    tables = (_phases(summary), _devices(summary))
    where = "" if folder is None else _from_here(folder)
    return SummaryView(_headline(summary), tuple(t for t in tables if t.rows), meaning, factors, where).printable()


def footprint_text(footprint: Mapping[str, Any], site: Mapping[str, Any]) -> str:
    """Format a footprint at a site, and every factor behind it with source and year."""
    return _lines_text(SummaryView("", (), tuple(_footprint(footprint, site)), _factors(footprint)))


def status_text(summary: Summary) -> str:
    """Return the status; of a run of another machine that may have ended since, when it was last seen."""
    seen = summary.get("last_seen")
    return f"{summary['status']} (last seen {seen[:19].replace('T', ' ')} UTC)" if seen else str(summary["status"])


def _headline(summary: Summary) -> str:
    what = f"trainwatt: {summary['run']} {status_text(summary)} after {duration_text(summary['seconds'])}"
    energy = Quantity(summary["total_kwh_low"], summary["total_kwh"], summary["total_kwh_high"])
    parts = (what, energy_range_text(energy), _counted_text(summary), _attempts_text(summary))
    return ", ".join(filter(None, parts))


def _attempts_text(summary: Summary) -> str:
    prior = summary.get("attempts", [])[:-1]
    if not prior:
        return ""
    before = energy_text(kwh_from_j(sum(attempt["total_j"] for attempt in prior)))
    lost_j = sum(attempt["lost_j"] for attempt in prior)
    lost = f" ({energy_text(kwh_from_j(lost_j))} of it lost work that was repeated)" if lost_j else ""
    return f"{before} in {len(prior)} earlier attempt{'s' * (len(prior) > 1)}{lost}"


def _counted_text(summary: Summary) -> str:
    measured, without = summary.get("measured_share"), facts.uncounted_text(summary)
    if without or measured is None:
        return without
    if measured in (0, 1):
        return "all of it measured" if measured else "all of it estimated"
    return f"{measured:.0%} of it measured"


def _phases(summary: Summary) -> Table:
    total_j = summary["total_j"] or 1.0
    spans = [
        (name, each.seconds, each.total_j)
        for phase, span in summary["phases"].items()
        for name, each in _with_parts(phase, Span.from_dict(span))
    ]
    total = [("total", summary["seconds"], summary["total_j"])] if spans else []
    rows = tuple(
        (
            name,
            duration_text(seconds),
            energy_text(kwh_from_j(joules)),
            f"{joules / total_j:.1%}",
            f"{joules / seconds:.0f} W" if seconds > 0 else "",
        )
        for name, seconds, joules in [*spans, *total]
    )
    return Table(("phase", "time", "energy", "share", "mean power"), rows, summed=True)


def _with_parts(phase: str, span: Span) -> Iterator[tuple[str, Span]]:
    """Yield a phase, then the parts of it that the user has named: the largest ones, and the others as one."""
    yield phase, span
    parts = sorted(span.labels.items(), key=lambda item: -item[1].total_j)
    kept = parts[: _PARTS if len(parts) <= _PARTS else _PARTS - 1]
    yield from ((f"{phase}: {label}", part) for label, part in kept)
    if rest := parts[len(kept) :]:
        yield f"{phase}: {len(rest)} more parts", total_of(dict(rest))


def _devices(summary: Summary) -> Table:
    rows = tuple(
        (
            f"{each['kind'].upper()} {each['name']}",
            "" if each["joules"] is None else energy_text(kwh_from_j(each["joules"])),
            _how(each),
        )
        for each in summary["devices"]
    )
    return Table(("device", "energy", "how"), rows)


def _how(device: Mapping[str, Any]) -> str:
    return how_text(Device.from_dict(device))


def projection_line(summary: Summary) -> str:
    """Format the projection of a running run; empty if there is none."""
    projection = summary.get("projection")
    if summary["status"] != "running" or not projection or projection["remaining_s"] <= 0:
        return ""
    left = duration_text(projection["remaining_s"])
    energy, mass = energy_range_text(Quantity(**projection["total_kwh"])), _mass(projection["co2e_kg"], "CO2e")
    end = "; if it runs to the end" if projection["may_stop"] else ""
    return f"whole run about {energy}, {mass}, {left} left{end}"


def how_text(device: Device) -> str:
    """Describe the source and uncertainty of a device's figure."""
    if device.method == "not counted":
        return f"{device.method}: {device.note}"
    spread = "" if device.method == "measured" else f" ({device.low:.2g} to {device.high:.2g} times)"
    share = "" if device.share is None else f", {device.share:.0%} of its GPU by MIG slice"
    return f"{device.method}{spread}: {device.source}{share}"


def _meaning(summary: Summary) -> tuple[tuple[str, ...], tuple[str, ...]]:
    if not summary.get("footprint") or not summary.get("site"):
        return (), ()
    lines = [projection_line(summary)] if projection_line(summary) else []
    emissions, *others = _footprint(summary["footprint"], summary["site"])
    lines += [emissions, *filter(None, [plug_line(summary)]), *others, *_elsewhere(summary)]
    if summary.get("lifetime"):
        lines.append(Lifetime(**summary["lifetime"]).text())
    return tuple(lines), _factors(summary["footprint"])


def _elsewhere(summary: Summary) -> Iterator[str]:
    """Yield the places of earlier attempts, and the costs that do not add up because of their currencies."""
    if elsewhere := facts.elsewhere_text(summary):
        yield f"in earlier attempts: {elsewhere}, which the figures include"
    costs = facts.costs(summary)
    if len(costs) > 1:
        yield f"cost by currency: {', '.join(cost.text(currency) for cost, currency in costs)}"


def plug_line(summary: Summary) -> str:
    """Format the energy at the plug, or why it is unknown; empty for summaries of older versions."""
    plug = summary.get("plug")
    if not plug:
        return ""
    if plug["kwh"] is None:
        kinds = " and ".join(kind.upper() for kind in plug["uncounted"])
        return f"at the plug: unknown, as {kinds} {'is' if len(plug['uncounted']) == 1 else 'are'} not counted"
    energy = energy_range_text(Quantity(**plug["kwh"]))
    if plug["basis"] == "calibrated":
        where = f" of one of {plug['hosts']} hosts" if plug["hosts"] > 1 else ""
        return f"at the plug about {energy}, {plug['factor']['source']}{where}"
    typical = f"{plug['factor']['value']:g} times the readings, as on a typical {plug['machine']}"
    return f"at the plug about {energy}: {typical}; not in the CO2e"


def _footprint(footprint: Mapping[str, Any], site: Mapping[str, Any]) -> Iterator[str]:
    parts = [_mass(footprint["co2e_kg"], "CO2e"), f"{Quantity(**footprint['water_l']).text('L')} of water"]
    if footprint["cost"] is not None:
        parts.append(Quantity(**footprint["cost"]).text(footprint["currency"] or "in the tariff's currency"))
    yield ", ".join(parts)
    yield from _alongside(footprint)
    yield f"in {site_text(site)}{_live_text(site)}"


def _alongside(footprint: Mapping[str, Any]) -> Iterator[str]:
    """Yield figures that are reported alongside the location-based emissions and never added to them."""
    if footprint["market_kg"] is not None:
        yield _mass(footprint["market_kg"], "CO2e by contract (market-based)")
    if footprint["embodied_kg"] is not None:
        yield _mass(footprint["embodied_kg"], "CO2e embodied in its GPUs, without the servers around them")


def _mass(kg: Mapping[str, float], of: str) -> str:
    return f"{mass_range_text(Quantity(**kg))} {of}"


def _live_text(site: Mapping[str, Any]) -> str:
    live = site["live"]
    if live is None:
        return ""
    problem = f"; {live['problem']}" if live["problem"] else ""
    return f", {live['share']:.0%} of the energy by {live['provider']}{problem}"


def _factors(footprint: Mapping[str, Any]) -> tuple[str, ...]:
    return tuple(Factor(**factor).text() for factor in footprint["factors"])


def _lines_text(shown: SummaryView) -> str:
    factors: Iterable[str] = ("factors:", *map(_folded, shown.factors)) if shown.factors else ()
    return "\n".join([*shown.meaning, *factors])


def _folded(text: str) -> str:
    return textwrap.fill(text, _WIDTH, initial_indent=_INDENT, subsequent_indent=2 * _INDENT, break_on_hyphens=False)


def _from_here(folder: Path) -> str:
    """Return a path as a person at the prompt would type it: without the working directory, if it is below that."""
    try:
        return str(folder.relative_to(Path.cwd()))
    # It is elsewhere, or the working directory is gone.
    except (OSError, ValueError):
        return str(folder)
