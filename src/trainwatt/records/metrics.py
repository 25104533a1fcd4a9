"""Metrics of a run for a framework's logger.

The keys are the same in every framework. A metric without a value is left out.

==================================  ======  ==========================================================================
key                                 unit    meaning
==================================  ======  ==========================================================================
``energy/total_kwh``                kWh     energy since the run began, all phases and devices
``energy/epoch_kwh``                kWh     energy of the last closed epoch, all phases
``energy/train_kwh``                kWh     training part of ``energy/epoch_kwh``
``energy/validate_kwh``             kWh     evaluation part of ``energy/epoch_kwh``
``energy/power_w``                  W       mean power while training
``energy/step_j``                   J       energy per training step
``energy/token_j``                  J       energy per training token; added by the Hugging Face Trainer callback
``energy/measured_share``           0 to 1  measured part of ``energy/total_kwh``; absent if a GPU is not counted
``footprint/co2e_kg``               kg      emissions of ``energy/total_kwh``, location-based
``footprint/water_l``               L       water for ``energy/total_kwh`` at the site
``footprint/cost``                  price   cost of ``energy/total_kwh`` at the site, in the currency of its price
``projection/total_kwh``            kWh     projected energy of the whole run
``projection/total_kwh_low``        kWh     lower end of its 90% interval
``projection/total_kwh_high``       kWh     upper end of its 90% interval
``projection/co2e_kg``              kg      projected emissions of the whole run
``projection/remaining_s``          s       projected time until the run ends
``stopping/gain_per_kwh``           1/kWh   recent gain of the metric per kWh; added by green early stopping
``stopping/expected_gain_per_kwh``  1/kWh   expected gain of the metric per kWh; added by green early stopping
==================================  ======  ==========================================================================

A standalone evaluation, test or prediction has names of its own, so that the last value of ``energy/total_kwh`` stays
the training's. They begin with ``validate/``, ``test/`` or ``predict/``; the Hugging Face Trainer writes its own prefix
(``eval_energy_kwh``), which its reporters show as ``eval/energy_kwh``.

===========================  ======  =================================================================================
key                          unit    meaning
===========================  ======  =================================================================================
``test/energy_kwh``          kWh     energy of this run, all phases and devices
``test/power_w``             W       mean power in its phase
``test/step_j``              J       energy per batch
``test/sample_j``            J       energy per sample, if their number is known
``test/measured_share``      0 to 1  measured part of ``test/energy_kwh``
``test/co2e_kg``             kg      emissions of ``test/energy_kwh``, location-based
``test/water_l``             L       water for ``test/energy_kwh`` at the site
``test/cost``                price   cost of ``test/energy_kwh`` at the site, in the currency of its price
===========================  ======  =================================================================================
"""

from __future__ import annotations

from collections.abc import Mapping

from trainwatt.accounting.timeline import Phase, Span, total_of
from trainwatt.footprint.footprint import Footprint, central_figures
from trainwatt.projection.projection import Projection
from trainwatt.site import Site
from trainwatt.units import kwh_from_j

Metrics = dict[str, float]

# The metrics that a standalone evaluation, test or prediction has as well, and their names after its prefix.
_INFERENCE = {
    "energy/total_kwh": "energy_kwh",
    "energy/power_w": "power_w",
    "energy/step_j": "step_j",
    "energy/measured_share": "measured_share",
    "footprint/co2e_kg": "co2e_kg",
    "footprint/water_l": "water_l",
    "footprint/cost": "cost",
}


def energy_metrics(total: Span, measured_share: float | None = None) -> Metrics:
    """Return the metrics of the energy so far.

    Args:
        total: the run so far.
        measured_share: measured part of its energy, 0 to 1; None leaves the metric out.
    """
    return _known({"energy/total_kwh": kwh_from_j(total.total_j), "energy/measured_share": measured_share})


def epoch_metrics(epoch: Mapping[Phase, Span]) -> Metrics:
    """Return the metrics of the last closed epoch; empty if there is none.

    Args:
        epoch: its phases.
    """
    if not epoch:
        return {}
    train, validate = epoch.get("train", Span()), epoch.get("validate")
    energy = {
        "energy/epoch_kwh": kwh_from_j(total_of(epoch).total_j),
        "energy/train_kwh": kwh_from_j(train.total_j),
        "energy/validate_kwh": kwh_from_j(validate.total_j) if validate else None,
    }
    return _known(energy) | rate_metrics(train)


def rate_metrics(span: Span) -> Metrics:
    """Return mean power and energy per step of a phase."""
    return _known(
        {
            "energy/power_w": span.total_j / span.seconds if span.seconds > 0 else None,
            "energy/step_j": span.total_j / span.steps if span.steps else None,
        }
    )


def inference_metrics(run: Metrics, sample_j: float | None, prefix: str) -> Metrics:
    """Return the metrics of a standalone evaluation, test or prediction, under names that no training has.

    Args:
        run: its energy, rates and footprint, as for a training.
        sample_j: joules per sample; None if unknown.
        prefix: begin of each name, e.g. ``"test/"``.
    """
    values = {short: run.get(name) for name, short in _INFERENCE.items()}
    return {prefix + short: value for short, value in _known({**values, "sample_j": sample_j}).items()}


def footprint_metrics(own_kwh: float, site: Site, before: Footprint | None = None) -> Metrics:
    """Return emissions, water and cost of the run so far.

    Args:
        own_kwh: energy of the current attempt.
        site: the place where it runs.
        before: footprint of earlier attempts, if there are any.
    """
    figures = central_figures(own_kwh, site, before)
    return _known(
        {
            "footprint/co2e_kg": figures.co2e_kg,
            "footprint/water_l": figures.water_l,
            "footprint/cost": figures.cost,
        }
    )


def projection_metrics(projection: Projection, own_kwh: float, site: Site, before: Footprint | None = None) -> Metrics:
    """Return energy, emissions and remaining time of the whole run.

    Args:
        projection: the latest one.
        own_kwh: the part of its energy that is not of earlier attempts.
        site: place of this part, with its forecast carbon intensity if available.
        before: footprint of earlier attempts, if there are any.
    """
    return {
        "projection/total_kwh": projection.energy_kwh.central,
        "projection/total_kwh_low": projection.energy_kwh.low,
        "projection/total_kwh_high": projection.energy_kwh.high,
        "projection/co2e_kg": central_figures(own_kwh, site, before).co2e_kg,
        "projection/remaining_s": projection.remaining_s,
    }


def _known(metrics: Mapping[str, float | None]) -> Metrics:
    return {name: value for name, value in metrics.items() if value is not None}
