"""Page with the report of one run."""

from __future__ import annotations

from collections.abc import Iterator

from trainwatt.escaping.markup import Html, element, joined
from trainwatt.export import facts
from trainwatt.formatting import duration_text, energy_range_text, energy_text
from trainwatt.quantity import Quantity
from trainwatt.records.recorded_run import RecordedRun
from trainwatt.records.summary_view import status_text
from trainwatt.reporting.html import run_figures, run_tables
from trainwatt.reporting.html.components import paragraph, section, tiles
from trainwatt.reporting.html.display_units import mass_unit, money, shown, volume_unit
from trainwatt.reporting.html.page import page
from trainwatt.reporting.html.run_history import stop_of

_CUT_SHORT = {
    "killed": "This run was killed. The figures cover the time until its last record.",
    "stopped": "This run was stopped early, on purpose. The figures cover the time until the stop.",
    "running": "This run is in progress. The figures cover the time so far.",
    "failed": "This run failed. The figures cover the time until the failure.",
    "interrupted": "This run was interrupted. The figures cover the time until the interruption.",
}


def run_page(run: RecordedRun) -> str:
    """Build the report of a run.

    Args:
        run: the recorded run.
    """
    body = joined(_sections(run))
    return page(f"{run.name}: energy and emissions", _header(run), body)


def _header(run: RecordedRun) -> Html:
    summary, stop = run.summary, stop_of(run)
    parts = [
        f"{_capitalized(status_text(summary))} after {duration_text(summary['seconds'])}",
        f"started {summary['began'][:16].replace('T', ' ')} UTC",
        facts.hardware_text(summary),
        facts.place_text(summary) if summary.get("site") else "",
    ]
    green = f"Stopped at {stop.at}: {stop.reason}." if stop else ""
    return joined(
        [
            paragraph("trainwatt report", "kicker"),
            element("h1", run.name),
            paragraph(" · ".join(filter(None, parts)), "about"),
            paragraph(_CUT_SHORT.get(run.status, ""), "note"),
            paragraph(green, "note good"),
            tiles(_tiles(run)),
        ]
    )


def _capitalized(text: str) -> str:
    return text[:1].upper() + text[1:]


def _tiles(run: RecordedRun) -> Iterator[tuple[str, str, str]]:
    summary = run.summary
    energy = facts.energy_kwh(summary)
    yield "Energy", energy_text(energy.central), _ends(energy)
    plug = summary.get("plug")
    if plug and plug["kwh"]:
        at_plug = Quantity(**plug["kwh"])
        yield f"At the plug, {plug['basis']}", energy_text(at_plug.central), _ends(at_plug)
    footprint = summary.get("footprint")
    if footprint:
        kg, water = facts.co2e_kg(summary), Quantity(**footprint["water_l"])
        yield "CO₂e", *shown(kg, mass_unit(kg.central))
        yield "Water", *shown(water, volume_unit(water.central))
        if footprint["cost"]:
            yield "Cost", *money(Quantity(**footprint["cost"]), footprint["currency"] or "")
    yield "Time", duration_text(summary["seconds"]), f"{summary['epochs']} epochs" if summary["epochs"] > 1 else ""
    share, without = summary.get("measured_share"), facts.uncounted_text(summary)
    if without:
        yield "Not counted", "Incomplete", without
    if share is not None:
        yield "Measured", f"{share:.0%}", "the rest is estimated" if share < 1 else "of the energy"


def _ends(energy: Quantity) -> str:
    return energy_range_text(energy).partition("(")[2].rstrip(")")


def _sections(run: RecordedRun) -> Iterator[Html]:
    yield section("time", "Power over time", run_figures.power(run))
    yield section(
        "where", "Energy by phase and device", run_figures.energy(run), run_tables.phases(run), run_tables.devices(run)
    )
    yield run_figures.projection(run)
    yield from run_figures.metrics(run)
    yield section("footprint", "Footprint", run_tables.footprint(run), lead=run_tables.footprint_lead(run))
    yield run_figures.elsewhere(run)
    yield section(
        "factors", "Factors", run_tables.factors(run), lead="All factors from which the footprint is calculated."
    )
    yield section("missing", "Missing measurements", run_tables.missing(run))
    yield section("citation", "How to cite this run", run_tables.citation(run))
