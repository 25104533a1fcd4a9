"""One frozen snapshot of a run: what loggers, files and people get."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timezone
from functools import cached_property
from typing import Any, Literal

from trainwatt.accounting.attempts import Attempt, PriorAttempts
from trainwatt.accounting.timeline import INFERENCE, Phase, Span, total_of
from trainwatt.environment import environment
from trainwatt.footprint.footprint import Footprint, central_figures, footprint
from trainwatt.footprint.lifetime import Lifetime, lifetime
from trainwatt.power.device import Device, Missing
from trainwatt.projection.projection import Projection
from trainwatt.quantity import Quantity
from trainwatt.site import Site
from trainwatt.site.hardware import hardware_of
from trainwatt.units import J_PER_KWH, S_PER_H, kwh_from_j

Status = Literal["running", "finished", "failed", "interrupted"]

SCHEMA = 1
_ROUNDING_S = 1e-6


@dataclass(frozen=True)
class RunSnapshot:
    """What is known of a run at one moment.

    Attributes:
        run: its name.
        status: ``running``, ``finished``, ``failed`` or ``interrupted``.
        began_s, now_s: seconds since the epoch, UTC.
        phases: the whole run by phase.
        epoch: the last closed epoch by phase; empty before the first.
        epochs: number of closed epochs.
        recent: the training since the last report that asked for it.
        devices: what was read, as it is read now.
        site: where the run happens.
        missing: what cannot be read here, and why.
        gaps_s: seconds without a figure, by device id.
        notes: what went wrong with a device, by device id.
        suspended_s: seconds that the machine slept, which are no part of the run's.
        sampler_cpu_s: CPU time that measuring took in the background.
        samples: how many were evaluated or predicted outside a training; None where that is not known.
        training_kwh: energy of the training before, where that is known.
        expected_requests: how often the model is going to be asked, where that is known.
        projection: what the whole run will take, once that is known.
        earlier: the attempts before, of a training that was taken up again; `phases` holds theirs, too.
        projected_site: the site of the whole run, where its carbon intensity is forecast; None: that of the run so far.
    """

    run: str
    status: str
    began_s: float
    now_s: float
    phases: Mapping[Phase, Span]
    epoch: Mapping[Phase, Span]
    epochs: int
    devices: tuple[Device, ...]
    site: Site
    recent: Span = field(default_factory=Span)
    missing: tuple[Missing, ...] = ()
    gaps_s: Mapping[str, float] = field(default_factory=dict)
    notes: Mapping[str, str] = field(default_factory=dict)
    suspended_s: float = 0.0
    sampler_cpu_s: float = 0.0
    samples: int | None = None
    training_kwh: float | None = None
    expected_requests: float | None = None
    prior: PriorAttempts = field(default_factory=PriorAttempts)
    projection: Projection | None = None
    projected_site: Site | None = None

    @cached_property
    def total(self) -> Span:
        """The whole run: the sum of its phases."""
        return total_of(self.phases)

    @property
    def all_devices(self) -> tuple[Device, ...]:
        """Those of earlier attempts, too, on whatever machine they were."""
        known = {device.id for device in self.devices}
        return (*self.devices, *(device for device in self.prior.devices if device.id not in known))

    @cached_property
    def own_phases(self) -> Mapping[Phase, Span]:
        """This attempt alone, by phase."""
        before = self.prior.phases
        spans = {phase: span.since(before.get(phase, Span())) for phase, span in self.phases.items()}
        return {phase: span for phase, span in spans.items() if span.entries or span.seconds > _ROUNDING_S}

    @property
    def attempts(self) -> tuple[Attempt, ...]:
        """The runs in which this training was made, this one last."""
        own = total_of(self.own_phases)
        return (
            *self.prior.attempts,
            Attempt(self.run, _iso(self.began_s), self.status, own.seconds, own.total_j),
        )

    @cached_property
    def energy_kwh(self) -> Quantity:
        """Energy of the whole run with its range, in kWh."""
        return energy_range(self.total.joules, self.all_devices)

    @cached_property
    def footprint(self) -> Footprint:
        """What the energy means at the site, and the share of the run in what making its GPUs emitted."""
        boards = (device.name for device in self.devices if device.kind == "gpu" and device.share is None)
        return footprint(self.energy_kwh, self.site, hours=self.total.seconds / S_PER_H, embodied=hardware_of(boards))

    def footprint_of(self, kwh: float) -> Footprint:
        """What another amount of energy means at the same site, with the same relative range.

        Args:
            kwh: in kWh, e.g. what is still to come.
        """
        energy = self.energy_kwh
        scale = kwh / energy.central if energy.central else 0.0
        return footprint(energy.scaled(scale), self.site)

    @property
    def measured_share(self) -> float | None:
        """The part of the energy that was measured rather than estimated, 0 to 1; None before any energy."""
        total_j = self.total.total_j
        if total_j <= 0:
            return None
        measured = {device.id for device in self.all_devices if device.method == "measured"}
        return sum(joules for device, joules in self.total.joules.items() if device in measured) / total_j

    @property
    def sample_j(self) -> float | None:
        """Energy of a sample that was evaluated or predicted; None where their number is not known."""
        inference_j = sum(self.phases[phase].total_j for phase in INFERENCE if phase in self.phases)
        return inference_j / self.samples if self.samples and inference_j else None

    @property
    def lifetime(self) -> Lifetime | None:
        """Training and use of the model, where the energy of both is known."""
        if self.training_kwh is None or self.sample_j is None:
            return None
        return lifetime(self.training_kwh, self.sample_j, self.expected_requests)

    def metrics(self) -> dict[str, float]:
        """What goes to a framework's logger: the names hold in every framework, and what is unknown is absent."""
        if not self.total.total_j:  # nothing has been read yet
            return {}
        metrics: dict[str, float | None] = {"energy/total_kwh": kwh_from_j(self.total.total_j)}
        metrics["energy/measured_share"] = self.measured_share
        if self.epoch:
            metrics |= _epoch_metrics(self.epoch)
        means = central_figures(kwh_from_j(self.total.total_j), self.site)
        metrics["footprint/co2e_kg"] = means.co2e_kg
        metrics["footprint/water_l"] = means.water_l
        metrics["footprint/cost"] = means.cost
        return _known(metrics | self._projected())

    def step_metrics(self) -> dict[str, float]:
        """What goes to a framework's logger within an epoch: the training since these values were last asked for."""
        if not self.total.total_j:
            return {}
        metrics: dict[str, float | None] = {"energy/total_kwh": kwh_from_j(self.total.total_j)}
        return _known(metrics | _rates(self.recent) | self._projected())

    def inference_metrics(self, phase: Phase) -> dict[str, float]:
        """What goes to a framework's logger after an evaluation or a prediction by itself.

        Args:
            phase: which.
        """
        rates = _rates(self.phases.get(phase, Span()))
        return self.metrics() | _known(rates | {"energy/sample_j": self.sample_j})

    def summary(self) -> dict[str, Any]:
        """Everything, JSON-able: what ``summary.json`` holds."""
        return {
            "schema": SCHEMA,
            "run": self.run,
            "status": self.status,
            "began": _iso(self.began_s),
            "updated": _iso(self.now_s),
            "seconds": self.total.seconds,
            "suspended_s": self.suspended_s,
            "epochs": self.epochs,
            "total_j": self.total.total_j,
            "total_kwh": self.energy_kwh.central,
            "total_kwh_low": self.energy_kwh.low,
            "total_kwh_high": self.energy_kwh.high,
            "measured_share": self.measured_share,
            "phases": {phase: span.to_dict() for phase, span in self.phases.items()},
            "devices": [self._device(device) for device in self.all_devices],
            "attempts": [attempt.to_dict() for attempt in self.attempts],
            "missing": [{"kind": m.kind, "source": m.source, "why": m.why, "remedy": m.remedy} for m in self.missing],
            "footprint": self.footprint.to_dict(),
            "site": self.site.to_dict(),
            "samples": self.samples,
            "sample_j": self.sample_j,
            "lifetime": self.lifetime.to_dict() if self.lifetime else None,
            "sampler_cpu_s": self.sampler_cpu_s,
            "about": environment(),
            "projection": self.projection_summary(),
        }

    @cached_property
    def projected_footprint(self) -> Footprint | None:
        """What the whole run will mean at the site, once that is known."""
        return footprint(self.projection.energy_kwh, self.projected_site or self.site) if self.projection else None

    def _projected(self) -> dict[str, float | None]:
        projection = self.projection
        if projection is None:
            return {}
        means = central_figures(projection.energy_kwh.central, self.projected_site or self.site)
        return {
            "projection/total_kwh": projection.energy_kwh.central,
            "projection/total_kwh_low": projection.energy_kwh.low,
            "projection/total_kwh_high": projection.energy_kwh.high,
            "projection/co2e_kg": means.co2e_kg,
            "projection/remaining_s": projection.remaining_s,
        }

    def projection_summary(self) -> dict[str, Any] | None:
        """What the whole run will take and mean, JSON-able; None where that is not known."""
        projection, projected = self.projection, self.projected_footprint
        if projection is None or projected is None:
            return None
        means = {"co2e_kg": projected.co2e_kg, "water_l": projected.water_l, "cost": projected.cost}
        return projection.to_dict() | {name: each.to_dict() for name, each in means.items() if each is not None}

    def _device(self, device: Device) -> dict[str, Any]:
        joules = self.total.joules.get(device.id, 0.0)
        figures: dict[str, Any] = {
            "id": device.id,
            "kind": device.kind,
            "name": device.name,
            "method": device.method,
            "source": device.source,
            "joules": joules,
            "low": device.low,
            "high": device.high,
            "gap_s": self.gaps_s.get(device.id, 0.0),
        }
        if device.share is not None:
            figures |= {"shared": True, "attributed_share": device.share, "attributed_j": joules * device.share}
        notes = [note for note in (device.note, self.notes.get(device.id)) if note]
        return figures | ({"note": "; ".join(notes)} if notes else {})


def energy_range(joules: Mapping[str, float], devices: tuple[Device, ...]) -> Quantity:
    """Energy of several devices in kWh, with a range.

    The devices' errors are independent of each other: their distances to the ends of the range add up in quadrature.
    """
    bounds = {device.id: (device.low, device.high) for device in devices}
    central_j = sum(joules.values())
    below = above = 0.0
    for device, device_j in joules.items():
        low, high = bounds.get(device, (1.0, 1.0))
        below += (device_j * (1 - low)) ** 2
        above += (device_j * (high - 1)) ** 2
    return Quantity((central_j - below**0.5) / J_PER_KWH, central_j / J_PER_KWH, (central_j + above**0.5) / J_PER_KWH)


def _epoch_metrics(epoch: Mapping[Phase, Span]) -> dict[str, float | None]:
    whole, train, validate = total_of(epoch), epoch.get("train", Span()), epoch.get("validate")
    return {
        "energy/epoch_kwh": kwh_from_j(whole.total_j),
        "energy/train_kwh": kwh_from_j(train.total_j),
        "energy/validate_kwh": kwh_from_j(validate.total_j) if validate else None,
        **_rates(train),
    }


def _rates(train: Span) -> dict[str, float | None]:
    return {
        "energy/power_w": train.total_j / train.seconds if train.seconds > 0 else None,
        "energy/step_j": train.total_j / train.steps if train.steps else None,
    }


def _known(metrics: Mapping[str, float | None]) -> dict[str, float]:
    return {name: value for name, value in metrics.items() if value is not None}


def _iso(wall_s: float) -> str:
    return datetime.fromtimestamp(wall_s, timezone.utc).isoformat(timespec="milliseconds")
