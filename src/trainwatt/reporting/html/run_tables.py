"""Tables of a run's report."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from trainwatt.accounting.timeline import Span
from trainwatt.escaping.markup import Html, element, joined
from trainwatt.export import citation as cite
from trainwatt.export import facts
from trainwatt.footprint.lifetime import Lifetime
from trainwatt.formatting import duration_text, energy_text, figures
from trainwatt.quantity import Quantity
from trainwatt.records.recorded_run import RecordedRun
from trainwatt.records.summary_view import plug_line, projection_line
from trainwatt.reporting.html.charts.power import phase_text
from trainwatt.reporting.html.components import Cell, Grid, Row, folded, paragraph
from trainwatt.reporting.html.display_units import Unit, brief_text, energy_unit, mass_unit, volume_unit
from trainwatt.site.site import site_text
from trainwatt.units import kwh_from_j


def phases(run: RecordedRun) -> Html:
    """Render time, energy, share and power of each phase."""
    summary = run.summary
    if not summary["phases"]:
        return Html()
    total_j = summary["total_j"] or 1.0
    spans = [(name, span["seconds"], sum(span["joules"].values())) for name, span in summary["phases"].items()]
    rows = [
        (
            phase_text(name),
            brief_text(seconds),
            energy_text(kwh_from_j(joules)),
            f"{joules / total_j:.1%}",
            f"{figures(joules / seconds)} W" if seconds > 0 else "",
        )
        for name, seconds, joules in [*spans, ("total", summary["seconds"], summary["total_j"])]
    ]
    header = ("phase", "time", "energy", "share", "mean power")
    grid = Grid("Energy by phase", header, rows, (1, 2, 3, 4), total=True).html()
    return joined([grid, _parts(summary)])


def _parts(summary: Mapping[str, Any]) -> Html:
    """Render the parts of phases that the user has named, the largest first."""
    spans = {phase: Span.from_dict(span) for phase, span in summary["phases"].items()}
    named = [(phase, label, part) for phase, span in spans.items() for label, part in span.labels.items()]
    rows = [
        (
            label,
            phase_text(phase),
            Cell(str(part.entries), part.entries),
            Cell(brief_text(part.seconds), part.seconds),
            Cell(energy_text(kwh_from_j(part.total_j)), part.total_j),
            Cell(f"{part.total_j / (spans[phase].total_j or 1.0):.1%}", part.total_j / (spans[phase].total_j or 1.0)),
        )
        for phase, label, part in sorted(named, key=lambda each: -each[2].total_j)
    ]
    header = ("part", "phase", "times", "time", "energy", "share of the phase")
    grid = Grid("Energy by part, included in its phase", header, rows, (2, 3, 4, 5), sortable=True)
    return grid.html() if rows else Html()


def devices(run: RecordedRun) -> Html:
    """Render the energy of each device, and whether it was measured or estimated."""
    total_j = run.summary["total_j"] or 1.0
    rows = [
        (
            f"{each['kind'].upper()} {each['name']}",
            *_energy_cells(each, total_j),
            "; ".join(filter(None, (each["source"], each.get("note", "")))),
        )
        for each in run.summary["devices"]
    ]
    header = ("device", "energy", "share", "method", "range", "source")
    return Grid("Energy by device", header, rows, (1, 2), stacked=True).html() if rows else Html()


def _energy_cells(device: Mapping[str, Any], total_j: float) -> tuple[str, str, str, str]:
    """Return energy, share, method and range of a device; only the method of one that is not counted."""
    if device["joules"] is None:
        return "", "", device["method"], ""
    return (
        energy_text(kwh_from_j(device["joules"])),
        f"{device['joules'] / total_j:.1%}",
        device["method"],
        f"{device['low']:.2g} to {device['high']:.2g} times",
    )


def footprint_lead(run: RecordedRun) -> str:
    """Describe the location and the ranges."""
    site = run.summary.get("site")
    if not site:
        return Html()
    elsewhere = facts.elsewhere_text(run.summary)
    earlier = f" The figures include earlier attempts: {elsewhere}." if elsewhere else ""
    return f"Location: {site_text(site)}.{earlier} Each figure has a range, from low to high."


def footprint(run: RecordedRun) -> Html:
    """Render the footprint of the run: emissions, water and cost."""
    summary = run.summary
    if not summary.get("footprint"):
        return Html()
    rows = list(_footprint_rows(summary))
    table = Grid(
        "Footprint of the run", ("quantity", "central", "low", "high", "factors"), rows, (1, 2, 3), stacked=True
    ).html()
    lifetime = summary.get("lifetime")
    unknown = plug_line(summary) if summary.get("plug") and not summary["plug"]["kwh"] else ""
    leads = [projection_line(summary), unknown, Lifetime(**lifetime).text() if lifetime else ""]
    return joined([table, *(paragraph(each, "lead") for each in leads)])


def _footprint_rows(summary: Mapping[str, Any]) -> Iterator[Row]:
    recorded = summary["footprint"]
    named = {
        "facility_kwh": ("energy of the facility (with PUE)", energy_unit),
        "co2e_kg": ("CO₂e, operational, location-based", mass_unit),
        "market_kg": ("CO₂e, operational, market-based", mass_unit),
        "embodied_kg": ("CO₂e embodied in the GPUs, not included", mass_unit),
        "water_l": ("water", volume_unit),
        "cost": ("electricity cost", lambda _: Unit(recorded["currency"] or "", 1.0)),
    }
    energy = facts.energy_kwh(summary)
    yield _ranged("energy read by the devices", energy, energy_unit(energy.central), "")
    plug = summary.get("plug")
    if plug and plug["kwh"]:
        at_plug, factor = Quantity(**plug["kwh"]), plug["factor"]
        included = "" if plug["basis"] == "calibrated" else ", not included below"
        made_with = f"{factor['name']} {factor['value']:.3g} ({facts.source_text(factor)})"
        yield _ranged(f"energy at the plug{included}", at_plug, energy_unit(at_plug.central), made_with)
    for key, (name, unit_for) in named.items():
        quantity = facts.quantity(recorded[key])
        if quantity is not None:
            yield _ranged(name, quantity, unit_for(quantity.central), ", ".join(recorded["derivation"].get(key, ())))


def _ranged(name: str, quantity: Quantity, unit: Unit, made_with: str) -> Row:
    low, central, high = (
        f"{figures(value * unit.per_base, 2)} {unit.name}" for value in (quantity.low, quantity.central, quantity.high)
    )
    return name, central, low, high, made_with


def factors(run: RecordedRun) -> Html:
    """Render each factor with source, year and basis."""
    recorded = run.summary.get("footprint")
    rows = [
        (
            each["name"],
            Cell(f"{each['value']:.4g} {each['unit']}".strip(), each["value"]),
            "" if each["low"] == each["high"] else f"{each['low']:.3g} to {each['high']:.3g}",
            each["source"],
            each["year"],
            "; ".join(filter(None, (each["basis"], each["note"]))),
        )
        for each in (recorded["factors"] if recorded else ())
    ]
    header = ("factor", "value", "range", "source", "year", "basis")
    return Grid("Factors and their sources", header, rows, (1, 2), stacked=True).html() if rows else Html()


def missing(run: RecordedRun) -> Html:
    """Render the sources that could not be read, with the fix, and gaps in the readings of devices."""
    rows: list[Row] = [
        (f"{each['kind'].upper()}: {each['source']}", each["why"], each["remedy"])
        for each in run.summary.get("missing", ())
    ]
    rows += [
        (f"{each['kind'].upper()} {each['name']}", f"no readings for {duration_text(each['gap_s'])}", "")
        for each in run.summary["devices"]
        if each["gap_s"] > 0
    ]
    header = ("source", "reason", "fix")
    return Grid("Sources that could not be read", header, rows, stacked=True).html() if rows else Html()


def citation(run: RecordedRun) -> Html:
    """Render the citation for a paper, as text and LaTeX."""
    if not run.summary.get("footprint"):
        return Html()
    latex = element("pre", cite.latex(run.summary), tabindex=0)
    return joined([element("blockquote", cite.plain(run.summary)), folded("For LaTeX", latex)])
