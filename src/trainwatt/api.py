"""Public functions of the package."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from trainwatt import validation
from trainwatt.reporting import pretraining_estimate
from trainwatt.reporting.run_sinks import run_sinks
from trainwatt.tracking.settings import Settings
from trainwatt.tracking.sinks import Sink
from trainwatt.tracking.tracker import Tracker

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from trainwatt.live import Provider
    from trainwatt.reporting.pretraining_estimate import Estimate
    from trainwatt.site import Site
    from trainwatt.tracking.options import Options


def measure(*, sinks: Iterable[Sink] = (), **options: Unpack[Options]) -> Tracker:
    """Measure a block of code or a custom training loop.

    >>> with measure(zone="FR", output_dir=None, verbose=False) as run:
    ...     for epoch in run.epochs(2):
    ...         run.step()
    ...         with run.phase("validate"):
    ...             pass
    >>> run.summary["phases"]["train"]["steps"]
    2

    Without a ``with`` block, call ``run = measure().start()``, and ``run.stop()`` at the end.

    Args:
        sinks: further destinations of the results; see :class:`trainwatt.Sink`.
        options: location of the run, devices to measure, output folder; see
            :class:`trainwatt.tracking.options.Options`.

    Returns:
        A tracker that starts measuring when it is entered or started.

    Raises:
        ArgumentError: an option is invalid. The message names the option, its value and what is expected.
    """
    settings = Settings.check(**options)
    return Tracker(settings, (*run_sinks(settings), *sinks))


def estimate(
    gpu: str,
    *,
    hours: float,
    count: int = 1,
    watts: float | None = None,
    zone: str | None = None,
    cloud: str | None = None,
    pue: float | None = None,
    wue: float | None = None,
    tariff: float | None = None,
    carbon_intensity: float | str | Provider | None = None,
    site: Site | None = None,
) -> Estimate:
    """Estimate energy, emissions and cost of a training run before it starts.

    The range is wide, because nothing has been measured: the power of a GPU and of its share of the machine is assumed
    to be the GPU's power limit, from 0.4 to 1.82 times of it.

    >>> estimate("H100", count=8, hours=120, zone="FR").footprint.energy_kwh.central
    672.0

    Args:
        gpu: GPU model, such as ``"H100"``, ``"A100 PCIe"`` or ``"RTX 4090"``.
        hours: duration of the run.
        count: number of GPUs.
        watts: mean power of one GPU and of its share of the machine; None: assumed as above.
        zone: location of the run: a country (``"FR"``) or a subdivision (``"US-CA"``). None: see ``cloud``, then the
            environment, then the world average.
        cloud: cloud region, such as ``"gcp/europe-west9"``.
        pue: power usage effectiveness of the data centre, 1 to 5. None: that of the cloud region; else 1.54, of an
            unknown data centre, if the hardware or the environment shows one; else 1.
        wue: water usage effectiveness of the data centre, in litres per kWh.
        tariff: price of electricity per kWh.
        carbon_intensity: carbon intensity of the electricity, in gCO2e per kWh.
        site: a :class:`trainwatt.Site`, instead of all of these.

    Returns:
        The estimate: ``text()`` for people, ``to_dict()`` for programs.

    Raises:
        ArgumentError: an unknown GPU or location, or a duration, number or power that is not above 0.
    """
    validation.positive("hours", hours, "a positive number of hours")
    validation.positive("count", count, "a positive number of GPUs")
    settings = Settings.check(
        zone=zone,
        cloud=cloud,
        pue=pue,
        wue=wue,
        tariff=tariff,
        carbon_intensity=carbon_intensity,
        site=site,
        output_dir=None,
    )
    return pretraining_estimate.estimate(gpu, count, hours, settings.site, watts=watts)
