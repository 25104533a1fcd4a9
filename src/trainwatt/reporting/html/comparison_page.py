"""Page that compares several runs."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce

from trainwatt.escaping.markup import Html, element, joined
from trainwatt.export import facts
from trainwatt.formatting import duration_text, energy_range_text, energy_text
from trainwatt.quantity import Quantity
from trainwatt.records.recorded_run import RecordedRun
from trainwatt.reporting.html import pareto
from trainwatt.reporting.html.charts import comparison as chart
from trainwatt.reporting.html.components import Cell, Chart, Grid, Row, paragraph, section, tiles
from trainwatt.reporting.html.display_units import Unit, mass_unit, shown
from trainwatt.reporting.html.page import page
from trainwatt.reporting.html.pareto import Standing
from trainwatt.reporting.html.run_history import stop_of

_AXIS_PX = 60


def comparison_page(runs: Sequence[RecordedRun], metric: str | None = None) -> str:
    """Build the page that compares several runs.

    Args:
        runs: the recorded runs.
        metric: name of the metric to compare them by; None for the one that most of them have.

    Raises:
        ArgumentError: no run has that metric.
    """
    metric = pareto.chosen_metric(runs, metric)
    standings = pareto.standings(runs, metric)
    title = f"Comparison of {len(runs)} runs"
    return page(
        f"{title}: energy and emissions", _header(title, runs, standings, metric), _body(runs, standings, metric)
    )


def _header(title: str, runs: Sequence[RecordedRun], standings: Sequence[Standing], metric: str) -> Html:
    kwh = [run.summary["total_kwh"] for run in runs]
    figures = [
        ("Total energy", energy_text(sum(kwh)), f"{energy_text(min(kwh))} to {energy_text(max(kwh))} per run"),
        ("Total time", duration_text(sum(run.summary["seconds"] for run in runs)), ""),
    ]
    kilograms = [kg for run in runs if (kg := _kg(run))]
    if kilograms:
        total = reduce(Quantity.plus, kilograms)
        figures.insert(1, ("Total CO₂e", *shown(total, mass_unit(total.central))))
    if standings:
        best = [each for each in standings if each.front][-1]
        figures.append((f"Best {metric}", f"{best.value:.4g}", best.name))
    return joined([paragraph("trainwatt comparison", "kicker"), element("h1", title), tiles(figures)])


def _body(runs: Sequence[RecordedRun], standings: Sequence[Standing], metric: str) -> Html:
    parts = [_chart(standings, metric)] if standings else []
    if not standings:
        parts.append(paragraph("None of these runs has recorded a metric to compare by.", "note"))
    return joined([*parts, section("runs", "All runs", _table(runs, standings, metric))])


def _chart(standings: Sequence[Standing], metric: str) -> Html:
    front = [f"{number} {each.name}" for number, each in enumerate(standings, 1) if each.front]
    lead = (
        f"On the Pareto front (no other run reaches a better {metric} with less energy): {'; '.join(front)}."
        if len(standings) > 1
        else f"Only one run has recorded {metric}."
    )
    caption = "Dashed line: Pareto front. Horizontal lines: range of the energy. Numbers: see the table."
    spec = chart.comparison(standings, metric)
    figure = Chart("comparison", spec, lead, caption, chart.HEIGHT + _AXIS_PX).html()
    return section("front", f"{metric} against energy", figure, lead=lead)


def _table(runs: Sequence[RecordedRun], standings: Sequence[Standing], metric: str) -> Html:
    numbered = {each.folder: (number, each) for number, each in enumerate(standings, 1)}
    unit = mass_unit(max((kg.central for run in runs if (kg := _kg(run))), default=1.0))
    rows = [
        _row(run, numbered.get(run.folder), unit)
        for run in sorted(runs, key=lambda run: float(run.summary["total_kwh"]))
    ]
    best = f"best {metric}" if metric else "metric"
    header = ("run", "no.", best, "energy", "CO₂e", "time", "epochs", "stopped at", "Pareto front", "location")
    return Grid("Runs (click a column header to sort)", header, rows, (1, 2, 3, 4, 5, 6), sortable=True).html()


def _kg(run: RecordedRun) -> Quantity | None:
    return facts.co2e_kg(run.summary) if run.summary.get("footprint") else None


def _row(run: RecordedRun, numbered: tuple[int, Standing] | None, unit: Unit) -> Row:
    number, standing = numbered or (None, None)
    summary, stop, kwh, kg = run.summary, stop_of(run), facts.energy_kwh(run.summary), _kg(run)
    mass, mass_range = shown(kg, unit) if kg else ("", "")
    return (
        Cell(run.name, more="" if run.status == "finished" else run.status),
        Cell("" if number is None else str(number), number),
        Cell(f"{standing.value:.4g}", standing.value) if standing else "",
        Cell(energy_text(kwh.central), kwh.central, energy_range_text(kwh).partition("(")[2].rstrip(")")),
        Cell(mass, kg.central if kg else None, mass_range),
        Cell(duration_text(summary["seconds"]), summary["seconds"]),
        Cell(str(summary["epochs"]), summary["epochs"]),
        stop.at if stop else "",
        "yes" if standing and standing.front else "",
        summary["site"]["name"] if summary.get("site") else "",
    )
