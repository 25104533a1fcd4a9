"""Lines printed during a training run."""

from __future__ import annotations

from trainwatt.formatting import duration_text, energy_range_text, mass_text
from trainwatt.projection.projection import Projection
from trainwatt.records.snapshot import RunSnapshot


def projection_text(snapshot: RunSnapshot, *, again: bool = False) -> str:
    """Format the projection of the whole run in one line, or return an empty string if it is unknown.

    Args:
        snapshot: with a projection.
        again: True if an earlier projection was printed and this one differs.
    """
    projection, footprint = snapshot.projection, snapshot.projected_footprint
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
    if projection.done_epochs and plan.epochs:
        return f"epoch {projection.done_epochs + plan.first_epoch} of {plan.epochs + plan.first_epoch}"
    return f"step {projection.done_steps + plan.first_step}" + (f" of {total + plan.first_step}" if total else "")
