"""Charts of a run's report, each with a text alternative and a table."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from trainwatt.escaping.markup import Html
from trainwatt.formatting import duration_text, energy_text, figures
from trainwatt.records.recorded_run import RecordedRun
from trainwatt.reporting.html import run_history
from trainwatt.reporting.html.charts import energy as energy_chart
from trainwatt.reporting.html.charts import metric as metric_chart
from trainwatt.reporting.html.charts import power as power_chart
from trainwatt.reporting.html.charts import projection as projection_chart
from trainwatt.reporting.html.charts import regions as regions_chart
from trainwatt.reporting.html.components import Cell, Chart, Grid, folded, section
from trainwatt.reporting.html.display_units import mass_unit, shown
from trainwatt.reporting.html.marginal_cost import gain_steps_of, point_of
from trainwatt.reporting.html.other_grids import places_of

_LEGEND_PX = 26
_AXIS_PX = 50
_METRICS = 4
_LINES = 40


def power(run: RecordedRun) -> Html:
    """Render power over time, or an empty string if none was recorded."""
    slices = run_history.power(run)
    if not slices:
        return Html()
    most, least = max(each.watts for each in slices), min(each.watts for each in slices)
    seconds = slices[-1].to_s
    drawn_j = sum(each.watts * (each.to_s - each.from_s) for each in slices)
    mean = drawn_j / seconds if seconds else 0.0
    description = (
        f"Power of all devices over {duration_text(seconds)}: {figures(mean)} W on average, between {figures(least)} "
        f"and {figures(most)} W. Colours below the line: phases."
    )
    height = power_chart.HEIGHT + _LEGEND_PX + _AXIS_PX
    return Chart("power", power_chart.power(slices), description, description, height).html()


def energy(run: RecordedRun) -> Html:
    """Render energy by phase and device."""
    summary = run.summary
    if not summary["phases"] or not summary["total_j"]:
        return Html()
    height = energy_chart.height(summary) + _LEGEND_PX + _AXIS_PX
    description = "Energy by phase, with each bar split by device. The tables below contain the figures."
    return Chart("energy", energy_chart.energy(summary), description, height=height).html()


def projection(run: RecordedRun) -> Html:
    """Render the projections over time, against the actual energy."""
    events = run.log.of_kind("projection")
    if not events:
        return Html()
    total = run.summary["total_kwh"]
    stop, finished = run_history.stop_of(run), run.status == "finished"
    actual = f"{'actual' if finished else 'so far'}: {energy_text(total)}"
    first, last = events[0]["total_kwh"], events[-1]["total_kwh"]
    lead = (
        f"After {_progress(events[0])}, the projection for the whole run was {energy_text(first['central'])} "
        f"({energy_text(first['low'])} to {energy_text(first['high'])}, 90 % interval). "
        f"After {_progress(events[-1])}, it was {energy_text(last['central'])}. "
        f"The run used {energy_text(total)}{'' if finished else ' so far'}"
    )
    lead += f"; it was stopped at {stop.at}, while the projection covers the whole plan." if stop else "."
    spec = projection_chart.projection(events, total, actual, f"stopped at {stop.at}" if stop else "")
    height = projection_chart.HEIGHT + _AXIS_PX
    chart = Chart("projection", spec, lead, "Band: 90 % interval.", height)
    return section(
        "projected", "Projected and actual energy", chart.html(), folded("As a table", _projections(events)), lead=lead
    )


def _progress(event: Mapping[str, Any]) -> str:
    if event["epochs"]:
        return f"{event['epochs']} epoch{'s' * (event['epochs'] != 1)}"
    return f"{event['steps']} steps"


def _projections(events: list[dict[str, Any]]) -> Html:
    every = -(-len(events) // _LINES)
    kept = events[::every]
    rows = [
        (_progress(each), *(energy_text(each["total_kwh"][key]) for key in ("central", "low", "high"))) for each in kept
    ]
    interval = f", one row per {every} projections" if every > 1 else ""
    return Grid(
        f"Projected energy of the whole run{interval}", ("after", "projected", "low", "high"), rows, (1, 2, 3)
    ).html()


def metrics(run: RecordedRun) -> Iterator[Html]:
    """Render each metric against energy, and the energy per further point."""
    stop = run_history.stop_of(run)
    for number, curve in enumerate(run_history.learning_curves(run)[:_METRICS]):
        yield _metric(run, curve, number, stop)


def _metric(run: RecordedRun, curve: run_history.LearningCurve, number: int, stop: run_history.Stop | None) -> Html:
    total = run.summary["total_kwh"]
    best = float(curve.best[-1])
    at = energy_text(float(curve.kwh[(curve.values == best).argmax()]))
    lead = f"The best {curve.name} was {best:.4g}, reached after {at}. The whole run used {energy_text(total)}."
    height = metric_chart.HEIGHT + _AXIS_PX
    caption = "Points: evaluations. Line: best value so far."
    blocks = [Chart(f"metric-{number}", metric_chart.metric(curve, total, stop), lead, caption, height).html()]
    steps = gain_steps_of(curve)
    if steps:
        point = point_of(curve)[1]
        text = f"Energy per further {point} of {curve.name}: {energy_text(steps[0].cost_kwh)} at the beginning, "
        text += f"{energy_text(steps[-1].cost_kwh)} at the end." if len(steps) > 1 else "without any gain after that."
        spec = metric_chart.marginal_cost(steps, total, point, stop)
        blocks.append(
            Chart(f"marginal-cost-{number}", spec, text, text, metric_chart.MARGINAL_COST_HEIGHT + _AXIS_PX).html()
        )
        rows = [
            (f"{step.share:.0%}", f"{step.value:.4g}", energy_text(step.to_kwh), energy_text(step.cost_kwh))
            for step in steps
        ]
        header = ("share of the gain", curve.name, "energy so far", f"energy per {point}")
        blocks.append(
            folded("As a table", Grid(f"Energy per further {point} of {curve.name}", header, rows, (1, 2, 3)).html())
        )
    return section(f"curve-{number}", f"{curve.name} against energy", *blocks, lead=lead)


def elsewhere(run: RecordedRun) -> Html:
    """Render the emissions of the same run on other grids."""
    places = places_of(run.summary) if run.summary["total_kwh"] else None
    if places is None:
        return Html()
    some = places.some()
    least, most = places.ranked[0], places.ranked[-1]
    unit = mass_unit(most[2].central)
    lead = (
        f"Yearly mean of each grid, with the same machine and PUE: from {shown(least[2], unit)[0]} CO₂e "
        f"in {least[1]} to {shown(most[2], unit)[0]} in {most[1]}."
    )
    spec = regions_chart.regions(some, places.own)
    height = regions_chart.height(some) + _AXIS_PX
    chart = Chart("regions", spec, lead, f"Lines: range. Source: {places.source}.", height)
    rows = [
        (name, zone, Cell(shown(kg, unit)[0], kg.central), shown(kg, unit)[1], Cell(f"{value:.0f}", value))
        for zone, name, kg, value in places.ranked
    ]
    grid = Grid(
        "The same run in all regions",
        ("region", "zone", "CO₂e", "range", "gCO₂e/kWh"),
        rows,
        (2, 3, 4),
        sortable=True,
        tall=True,
    )
    return section(
        "elsewhere",
        "The same run on other grids",
        chart.html(),
        folded(f"All {len(rows)} regions", grid.html()),
        lead=lead,
    )
