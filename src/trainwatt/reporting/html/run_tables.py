"""Tables of a run's report."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from html import escape
from typing import Any

from trainwatt.export import citation as cite
from trainwatt.export import facts
from trainwatt.footprint.lifetime import Lifetime
from trainwatt.formatting import duration_text, energy_text, figures
from trainwatt.quantity import Quantity
from trainwatt.records.recorded_run import RecordedRun
from trainwatt.records.summary_view import projection_line
from trainwatt.reporting.html.charts.power import phase_text
from trainwatt.reporting.html.components import Cell, Grid, Row, folded, paragraph
from trainwatt.reporting.html.display_units import Unit, brief_text, energy_unit, mass_unit, volume_unit
from trainwatt.site.site import site_text
from trainwatt.units import kwh_from_j


def phases(run: RecordedRun) -> str:
    """Render time, energy, share and power of each phase."""
    summary = run.summary
    if not summary["phases"]:
        return ""
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
    return Grid("Energy by phase", header, rows, (1, 2, 3, 4), total=True).html()


def devices(run: RecordedRun) -> str:
    """Render the energy of each device, and whether it was measured or estimated."""
    total_j = run.summary["total_j"] or 1.0
    rows = [
        (
            f"{each['kind'].upper()} {each['name']}",
            energy_text(kwh_from_j(each["joules"])),
            f"{each['joules'] / total_j:.1%}",
            f"{each['method']}{_share(each)}",
            f"{each['low']:.2g} to {each['high']:.2g} times",
            "; ".join(filter(None, (each["source"], each.get("note", "")))),
        )
        for each in run.summary["devices"]
    ]
    header = ("device", "energy", "share", "method", "range", "source")
    return Grid("Energy by device", header, rows, (1, 2), stacked=True).html() if rows else ""


def _share(device: Mapping[str, Any]) -> str:
    share = device.get("attributed_share")
    return "" if share is None else f"; shared GPU, {share:.0%} of it attributed to this run by its MIG slices"


def footprint_lead(run: RecordedRun) -> str:
    """Describe the location and the ranges."""
    site = run.summary.get("site")
    return f"Location: {site_text(site)}. Each figure has a range, from low to high." if site else ""


def footprint(run: RecordedRun) -> str:
    """Render the footprint of the run: emissions, water and cost."""
    summary = run.summary
    if not summary.get("footprint"):
        return ""
    rows = list(_footprint_rows(summary))
    table = Grid(
        "Footprint of the run", ("quantity", "central", "low", "high", "factors"), rows, (1, 2, 3), stacked=True
    ).html()
    lifetime = summary.get("lifetime")
    leads = [projection_line(summary), Lifetime(**lifetime).text() if lifetime else ""]
    return table + "".join(paragraph(each, "lead") for each in leads)


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
    yield _ranged("energy of the machine", energy, energy_unit(energy.central), "")
    for key, (name, unit_for) in named.items():
        quantity = facts.quantity(recorded[key])
        if quantity is not None:
            yield _ranged(name, quantity, unit_for(quantity.central), ", ".join(recorded["derivation"].get(key, ())))


def _ranged(name: str, quantity: Quantity, unit: Unit, made_with: str) -> Row:
    low, central, high = (
        f"{figures(value * unit.per_base, 2)} {unit.name}" for value in (quantity.low, quantity.central, quantity.high)
    )
    return name, central, low, high, made_with


def factors(run: RecordedRun) -> str:
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
    return Grid("Factors and their sources", header, rows, (1, 2), stacked=True).html() if rows else ""


def missing(run: RecordedRun) -> str:
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
    return Grid("Missing measurements", header, rows, stacked=True).html() if rows else ""


def citation(run: RecordedRun) -> str:
    """Render the citation for a paper, as text and LaTeX."""
    if not run.summary.get("footprint"):
        return ""
    words = f"<blockquote>{escape(cite.markdown(run.summary))}</blockquote>"
    return words + folded("For LaTeX", f'<pre tabindex="0">{escape(cite.latex(run.summary))}</pre>')
