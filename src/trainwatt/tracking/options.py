"""Keyword arguments of every monitor and of every green stopper, declared once."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Literal, TypedDict

from trainwatt.live import Provider
from trainwatt.site import Site


class MeasurementOptions(TypedDict, total=False):
    """Location of a run, and the devices that are measured.

    Args:
        zone: location of the run: a country (``"FR"``) or a subdivision (``"US-CA"``). None: see ``cloud``, then the
            environment, then the world average.
        cloud: cloud region, such as ``"gcp/europe-west9"``.
        pue: power usage effectiveness of the data centre, 1 to 5. None: that of the cloud region; else 1.54, of an
            unknown data centre, if the hardware or the environment shows one; else 1.
        wue: water usage effectiveness of the data centre, in litres per kWh.
        tariff: price of electricity per kWh.
        carbon_intensity: carbon intensity of the electricity, in gCO2e per kWh; or a live source: one of
            :mod:`trainwatt.live`, or its short name ``"electricitymaps"``, ``"gb"``, ``"dk"``.
        site: a :class:`trainwatt.Site`, instead of all of these.
        expected_requests: number of requests that the trained model will serve, for the share of training in its
            lifetime energy. It is reported after a standalone evaluation, test or prediction that follows a training
            with the same object.
        devices: kinds of device to measure: any of ``"gpu"``, ``"cpu"``, ``"ram"``.
        gpus: GPUs to measure, one or several: numbers as CUDA and PyTorch count them (``[2]``), devices
            (``torch.device("cuda:2")``, ``"cuda:2"``, ``jax.devices()[2]``), or UUIDs or prefixes of them
            (``"GPU-5f1c2a"``). None: those that the framework uses; in a custom loop, all that
            ``CUDA_VISIBLE_DEVICES`` selects.
        scope: ``"machine"``, or ``"process"`` for the share of this process and its children in a shared machine.
        interval: longest time between two samples, in seconds.
        idle_w: idle power of the CPU in watts, used if it can only be estimated.
        full_w: power of the CPU at full load in watts, used if it can only be estimated.
    """

    zone: str | None
    cloud: str | None
    pue: float | None
    wue: float | None
    tariff: float | None
    carbon_intensity: float | str | Provider | None
    site: Site | None
    expected_requests: float | None
    devices: Sequence[str]
    gpus: object
    scope: str
    interval: float
    idle_w: float | None
    full_w: float | None


class Options(MeasurementOptions, total=False):
    """Options of a run.

    Args:
        project_after: when to project the whole run for the first time: ``"epoch"``, after the first epoch, or if the
            run may have only one, after 50 steps or 1 %; a number of steps; None: never.
        verbose: print the projection, and a summary at the end of a run.
        output_dir: folder of the run folders; None: no run folder.
        run_name: name of the run folder; None: the start time.
    """

    project_after: int | str | None
    verbose: bool
    output_dir: str | os.PathLike[str] | None
    run_name: str | None


class MonitorOptions(Options, total=False):
    """Options of a monitor.

    Args:
        prog_bar: show energy, so far and of the whole run, and emissions if there is room, on the progress bar.
        attachments: attach summary, report and factors to the runs of experiment trackers, such as W&B and MLflow; the
            logged values go there in any case.
    """

    prog_bar: bool
    attachments: bool


class StoppingOptions(MeasurementOptions, total=False):
    """Options of green early stopping.

    Args:
        min_gain_per_kwh: threshold in metric units per kWh; ``"auto"``: see ``min_gain_per_percent``; None: no
            threshold, the training is only observed.
        min_gain_per_percent: threshold in metric units per 1 % of the energy of the whole training. If neither is
            given: 0.1 points of an accuracy, or 0.1 % of a loss's first value.
        patience: number of further evaluations in a row that must agree before the training is stopped.
        warmup: number of evaluations at the beginning after which the training is never stopped.
        ideal: best possible value of the metric; None: 0 for ``"min"``, 1 or 100 for ``"max"``.
        max_kwh: energy budget in kWh.
        max_co2e_kg: emissions budget in kgCO2e.
        max_cost: cost budget, in the currency of the tariff.
        over_budget: ``"stop"``, or only ``"warn"``, when a budget is reached.
        predictive: count a budget as reached as soon as the projection of the whole training exceeds it.
        check_finite: True to stop at the first value of the metric that is not finite, False to never stop for that;
            None to stop after several in a row.
        stopping_threshold: value of the metric that is good enough: the training is stopped once it is reached.
        divergence_threshold: value of the metric that shows a divergence: the training is stopped once it is worse.
        baseline: value of the metric that must be passed. As long as no evaluation has passed it, the training is
            stopped by an evaluation that does not improve, as soon as there have been ``patience`` evaluations.
    """

    min_gain_per_kwh: float | Literal["auto"] | None
    min_gain_per_percent: float | None
    patience: int
    warmup: int
    ideal: float | None
    max_kwh: float | None
    max_co2e_kg: float | None
    max_cost: float | None
    over_budget: str
    predictive: bool
    check_finite: bool | None
    stopping_threshold: float | None
    divergence_threshold: float | None
    baseline: float | None
