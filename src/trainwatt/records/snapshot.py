"""Immutable snapshot of a run, from which metrics, files and views are made."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timezone
from functools import cached_property
from typing import Any, Literal

from trainwatt.accounting.attempts import Attempt, PriorAttempts
from trainwatt.accounting.timeline import INFERENCE, Phase, Span, total_of
from trainwatt.environment import environment
from trainwatt.footprint.footprint import Footprint, footprint
from trainwatt.footprint.lifetime import Lifetime, lifetime
from trainwatt.power.device import Device, Missing
from trainwatt.projection.projection import Projection
from trainwatt.quantity import Quantity
from trainwatt.records import metrics
from trainwatt.site import Site
from trainwatt.site.hardware import hardware_of
from trainwatt.units import J_PER_KWH, S_PER_H

Status = Literal["running", "finished", "failed", "interrupted"]

SCHEMA = 1
_ROUNDING_S = 1e-6


@dataclass(frozen=True)
class RunSnapshot:
    """State of a run at one moment.

    Attributes:
        run: name of the run.
        status: ``running``, ``finished``, ``failed`` or ``interrupted``.
        began_s, now_s: seconds since the Unix epoch, UTC.
        phases: the whole run by phase, including earlier attempts.
        epoch: the last closed epoch by phase; empty before the first.
        epochs: number of closed epochs.
        devices: devices that are read, in their present state.
        site: place of the run.
        recent: training since the last step report.
        missing: power sources that cannot be read here, and the reasons.
        gaps_s: seconds without a reading, by device id.
        notes: errors of a device, by device id.
        suspended_s: seconds of machine suspension, not part of the run.
        sampler_cpu_s: CPU time of background measuring.
        samples: number of samples evaluated or predicted outside training; None if unknown.
        training_kwh: energy of the preceding training run, if known, else None.
        expected_requests: expected number of requests to the model, if known, else None.
        prior: earlier attempts of a resumed training run; ``phases`` includes them.
        projection: projection of the whole run, if available, else None.
        projected_site: site of the whole run with forecast carbon intensity; None means the site of the run so far.
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
        """Sum of all phases."""
        return total_of(self.phases)

    @property
    def all_devices(self) -> tuple[Device, ...]:
        """Devices of this attempt and of earlier ones, on any machine."""
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
        """Attempts of this training run; the current one is last."""
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
        """Footprint of the energy at the site, with the run's share of the embodied emissions of its GPUs."""
        gpus = (device.name for device in self.devices if device.kind == "gpu" and device.share is None)
        return footprint(self.energy_kwh, self.site, hours=self.total.seconds / S_PER_H, embodied=hardware_of(gpus))

    def footprint_of(self, kwh: float) -> Footprint:
        """Return the footprint of another amount of energy at the same site, with the same relative range.

        Args:
            kwh: energy, e.g. of the remaining work.
        """
        energy = self.energy_kwh
        scale = kwh / energy.central if energy.central else 0.0
        return footprint(energy.scaled(scale), self.site)

    @property
    def measured_share(self) -> float | None:
        """Measured part of the energy, 0 to 1; the rest is estimated. None before any energy."""
        total_j = self.total.total_j
        if total_j <= 0:
            return None
        measured = {device.id for device in self.all_devices if device.method == "measured"}
        return sum(joules for device, joules in self.total.joules.items() if device in measured) / total_j

    @property
    def sample_j(self) -> float | None:
        """Joules per evaluated or predicted sample; None if the number of samples is unknown."""
        inference_j = sum(self.phases[phase].total_j for phase in INFERENCE if phase in self.phases)
        return inference_j / self.samples if self.samples and inference_j else None

    @property
    def lifetime(self) -> Lifetime | None:
        """Energy of training and use of the model, if both are known, else None."""
        if self.training_kwh is None or self.sample_j is None:
            return None
        return lifetime(self.training_kwh, self.sample_j, self.expected_requests)

    def metrics(self) -> dict[str, float]:
        """Return the metrics to log after an epoch; see :mod:`trainwatt.records.metrics` for the keys."""
        if not self.total.total_j:
            return {}
        return {
            **metrics.energy_metrics(self.total, self.measured_share),
            **metrics.epoch_metrics(self.epoch),
            **metrics.footprint_metrics(self.total, self.site),
            **metrics.projection_metrics(self.projection, self.projected_site or self.site),
        }

    def step_metrics(self) -> dict[str, float]:
        """Return the metrics to log within an epoch; the rates cover the training since the last step report."""
        if not self.total.total_j:
            return {}
        return {
            **metrics.energy_metrics(self.total),
            **metrics.rate_metrics(self.recent),
            **metrics.projection_metrics(self.projection, self.projected_site or self.site),
        }

    def inference_metrics(self, phase: Phase) -> dict[str, float]:
        """Return the metrics to log after a standalone evaluation, test or prediction.

        Args:
            phase: the phase that it ran in.
        """
        rates = metrics.rate_metrics(self.phases.get(phase, Span()))
        return self.metrics() | rates | metrics.sample_metrics(self.sample_j)

    def summary(self) -> dict[str, Any]:
        """Return the content of ``summary.json``, JSON-able."""
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
        """Footprint of the whole run at the site, if a projection is available, else None."""
        return footprint(self.projection.energy_kwh, self.projected_site or self.site) if self.projection else None

    def projection_summary(self) -> dict[str, Any] | None:
        """Return the projected energy and footprint of the whole run, JSON-able; None without a projection."""
        projection, projected = self.projection, self.projected_footprint
        if projection is None or projected is None:
            return None
        figures = {"co2e_kg": projected.co2e_kg, "water_l": projected.water_l, "cost": projected.cost}
        return projection.to_dict() | {name: each.to_dict() for name, each in figures.items() if each is not None}

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
    """Return the energy of several devices in kWh, with a range.

    The errors of the devices are independent: their distances to the ends of the range add up in quadrature.
    """
    bounds = {device.id: (device.low, device.high) for device in devices}
    central_j = sum(joules.values())
    below = above = 0.0
    for device, device_j in joules.items():
        low, high = bounds.get(device, (1.0, 1.0))
        below += (device_j * (1 - low)) ** 2
        above += (device_j * (high - 1)) ** 2
    return Quantity((central_j - below**0.5) / J_PER_KWH, central_j / J_PER_KWH, (central_j + above**0.5) / J_PER_KWH)


def _iso(wall_s: float) -> str:
    return datetime.fromtimestamp(wall_s, timezone.utc).isoformat(timespec="milliseconds")
