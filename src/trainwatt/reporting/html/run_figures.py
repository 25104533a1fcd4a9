"""The pictures of a run's report, each with the words and the table that say the same."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

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
from trainwatt.reporting.html.marginal_cost import point_of, rungs_of
from trainwatt.reporting.html.other_grids import places_of

_LEGEND_PX = 26
_AXIS_PX = 50
_METRICS = 4
_LINES = 40


def power(run: RecordedRun) -> str:
    """Power over time; empty where its folder holds none."""
    slices = run_history.power(run)
    if not slices:
        return ""
    most, least = max(each.watts for each in slices), min(each.watts for each in slices)
    seconds = slices[-1].to_s
    drawn_j = sum(each.watts * (each.to_s - each.from_s) for each in slices)
    mean = drawn_j / seconds if seconds else 0.0
    says = (
        f"Power of all devices over {duration_text(seconds)}: {figures(mean)} W on average, between {figures(least)} "
        f"and {figures(most)} W. The colours under the line are the phases."
    )
    height = power_chart.HEIGHT + _LEGEND_PX + _AXIS_PX
    return Chart("power", power_chart.power(slices), says, says, height).html()


def energy(run: RecordedRun) -> str:
    """Energy by phase and device."""
    summary = run.summary
    if not summary["phases"] or not summary["total_j"]:
        return ""
    height = energy_chart.height(summary) + _LEGEND_PX + _AXIS_PX
    says = "Energy by phase, each bar in the colours of the devices; the tables after it hold the figures."
    return Chart("energy", energy_chart.energy(summary), says, height=height).html()


def projection(run: RecordedRun) -> str:
    """The projections as they came in, against the truth."""
    events = run_history.of_kind(run, "projection")
    if not events:
        return ""
    total = run.summary["total_kwh"]
    stop, finished = run_history.stop_of(run), run.status == "finished"
    took = f"{'took' if finished else 'so far'} {energy_text(total)}"
    first, last = events[0]["total_kwh"], events[-1]["total_kwh"]
    lead = (
        f"After {_done(events[0])} the whole run was projected to take {energy_text(first['central'])} "
        f"({energy_text(first['low'])} to {energy_text(first['high'])}, 90 %), after {_done(events[-1])} "
        f"{energy_text(last['central'])}. It {took}"
    )
    lead += f", since it was stopped at {stop.at} while the projection is of the whole plan." if stop else "."
    spec = projection_chart.projection(events, total, took, f"stopped at {stop.at}" if stop else "")
    height = projection_chart.HEIGHT + _AXIS_PX
    chart = Chart("projection", spec, lead, "The band is the 90 % interval.", height)
    return section(
        "projected", "Projected and true", chart.html(), folded("As a table", _projections(events)), lead=lead
    )


def _done(event: Mapping[str, Any]) -> str:
    if event["epochs"]:
        return f"{event['epochs']} epoch{'s' * (event['epochs'] != 1)}"
    return f"{event['steps']} steps"


def _projections(events: list[dict[str, Any]]) -> str:
    every = -(-len(events) // _LINES)
    kept = events[::every]
    rows = [
        (_done(each), *(energy_text(each["total_kwh"][key]) for key in ("central", "low", "high"))) for each in kept
    ]
    some = f"Every {every}th projection" if every > 1 else "Projections"
    return Grid(f"{some} of the whole run's energy", ("after", "projected", "low", "high"), rows, (1, 2, 3)).html()


def metrics(run: RecordedRun) -> Iterator[str]:
    """Each metric against the energy it took, and what each further point of it took."""
    stop = run_history.stop_of(run)
    for number, course in enumerate(run_history.courses(run)[:_METRICS]):
        yield _metric(run, course, number, stop)


def _metric(run: RecordedRun, course: run_history.Course, number: int, stop: run_history.Stop | None) -> str:
    total = run.summary["total_kwh"]
    best = float(course.best[-1])
    at = energy_text(float(course.kwh[(course.values == best).argmax()]))
    lead = f"The best {course.name} was {best:.4g}, reached after {at}; the run took {energy_text(total)}."
    height = metric_chart.HEIGHT + _AXIS_PX
    says = "Points: evaluations. Line: the best until then."
    blocks = [Chart(f"metric-{number}", metric_chart.metric(course, total, stop), lead, says, height).html()]
    rungs = rungs_of(course)
    if rungs:
        point = point_of(course)[1]
        priced = f"What {point} more of {course.name} took: {energy_text(rungs[0].price_kwh)} in the beginning, "
        priced += f"{energy_text(rungs[-1].price_kwh)} at the end." if len(rungs) > 1 else "and nothing after it."
        spec = metric_chart.price(rungs, total, point, stop)
        blocks.append(Chart(f"price-{number}", spec, priced, priced, metric_chart.PRICE_HEIGHT + _AXIS_PX).html())
        rows = [
            (f"{rung.share:.0%}", f"{rung.value:.4g}", energy_text(rung.to_kwh), energy_text(rung.price_kwh))
            for rung in rungs
        ]
        header = ("gain reached", course.name, "energy until then", f"price of {point} more")
        blocks.append(folded("As a table", Grid(f"Price of further {course.name}", header, rows, (1, 2, 3)).html()))
    return section(f"course-{number}", f"{course.name} for its energy", *blocks, lead=lead)


def elsewhere(run: RecordedRun) -> str:
    """The same run in other regions."""
    places = places_of(run.summary) if run.summary["total_kwh"] else None
    if places is None:
        return ""
    some = places.some()
    least, most = places.ranked[0], places.ranked[-1]
    unit = mass_unit(most[2].central)
    lead = (
        f"By the yearly mean of each grid, machine and building being the same: from {shown(least[2], unit)[0]} CO₂e "
        f"in {least[1]} to {shown(most[2], unit)[0]} in {most[1]}."
    )
    spec = regions_chart.regions(some, places.own)
    height = regions_chart.height(some) + _AXIS_PX
    chart = Chart("regions", spec, lead, f"Lines: the range of each. All by {places.source}.", height)
    rows = [
        (name, zone, Cell(shown(kg, unit)[0], kg.central), shown(kg, unit)[1], Cell(f"{value:.0f}", value))
        for zone, name, kg, value in places.ranked
    ]
    grid = Grid(
        "The same run in every region", ("region", "zone", "CO₂e", "range", "gCO₂e/kWh"), rows, (2, 3, 4), sortable=True
    )
    tall = grid.html().replace('class="scroll"', 'class="scroll tall"', 1)
    return section(
        "elsewhere", "The same run elsewhere", chart.html(), folded(f"All {len(rows)} regions", tall), lead=lead
    )
