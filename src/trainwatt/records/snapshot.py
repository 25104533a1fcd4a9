"""Immutable snapshot of a run, from which metrics, files and views are made."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime, timezone
from functools import cached_property
from typing import Any, Literal, TypeVar

from trainwatt.accounting.attempts import Attempt, PriorAttempts, identity_of
from trainwatt.accounting.timeline import INFERENCE, Phase, Span, total_of
from trainwatt.containment import Failures
from trainwatt.environment import environment
from trainwatt.footprint.footprint import Footprint, footprint
from trainwatt.footprint.lifetime import Lifetime, lifetime
from trainwatt.footprint.plug import PlugEnergy, plug_energy
from trainwatt.power.device import Device, Missing
from trainwatt.power.host.boot_id import host_id
from trainwatt.power.nvidia.mig import held_gpus, pooled
from trainwatt.projection.projection import Projection
from trainwatt.quantity import Part, Quantity, summed
from trainwatt.records import metrics
from trainwatt.site import Factor, Site
from trainwatt.site.hardware import hardware_of
from trainwatt.units import J_PER_KWH, S_PER_H, kwh_from_j

T = TypeVar("T")

_NO_METRICS: metrics.Metrics = {}

# "stopped" is the end of a trial that a tuner has pruned.
Status = Literal["running", "finished", "stopped", "failed", "interrupted"]

SCHEMA = 1
_ROUNDING_S = 1e-6
# Part of a run of which the power is known at least, where that in its gaps is told from it.
_LEAST_READ = 0.1
_EARLIER = "of an earlier attempt"


@dataclass(frozen=True)
class RunSnapshot:
    """State of a run at one moment.

    Attributes:
        run: name of the run.
        status: ``running``, ``finished``, ``stopped``, ``failed`` or ``interrupted``.
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
        prior_footprint: their footprint, see :func:`prior_footprint`; None if there are none.
        id: unique identifier of the run.
        lost_j: joules of this attempt that the training went back on.
        sequence: number of this snapshot in its run; a later one has a higher number.
        failures: those of the run; a part of the metrics or of the summary that fails is left out.
        projection: projection of the whole run, if available, else None.
        projected_site: site of this attempt up to its end, with forecast carbon intensity; None means the site so far.
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
    prior_footprint: Footprint | None = None
    id: str = ""
    lost_j: float = 0.0
    sequence: int = 0
    failures: Failures = field(default_factory=Failures, compare=False, repr=False)

    def __post_init__(self) -> None:
        """Raise the projection of the whole run to the energy so far, which it cannot be below."""
        if self.projection is not None:
            whole, so_far_kwh = self.projection, kwh_from_j(self.total.total_j)
            projection = self._part("the projection", lambda: whole.at_least(so_far_kwh), None)
            object.__setattr__(self, "projection", projection)

    def _part(self, kind: str, make: Callable[[], T], default: T) -> T:
        """Make a part of what is shown; if that fails, it is left out."""
        return self.failures.result(kind, make, default, "it is left out of the results")

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
        if not before:
            spans = dict(self.phases)
        else:
            ids = {device.id for device in self.devices}
            spans = {phase: _only(span.since(before.get(phase, Span())), ids) for phase, span in self.phases.items()}
        return {phase: span for phase, span in spans.items() if span.entries or span.seconds > _ROUNDING_S}

    @property
    def attempts(self) -> tuple[Attempt, ...]:
        """Attempts of this training run; the current one is last."""
        own = self._own_total
        footprint = self._part("the footprint", lambda: self.own_footprint, None)
        attempt = Attempt(
            self.run,
            _iso(self.began_s),
            self.status,
            own.seconds,
            own.total_j,
            lost_j=min(self.lost_j, own.total_j),
            id=self.id or identity_of({"run": self.run, "began": _iso(self.began_s)}),
            parent=self.prior.parent,
            phases=self.own_phases,
            footprint=footprint.figures() if footprint else None,
            site=_place(self.site),
        )
        return (*self.prior.attempts, attempt)

    @cached_property
    def energy_kwh(self) -> Quantity:
        """Energy of the whole run with its range, in kWh."""
        devices = (*pooled(self.devices), *self.all_devices[len(self.devices) :])
        return energy_range(self.total.joules, devices, self._unread_j)

    @cached_property
    def _unread_j(self) -> Mapping[str, tuple[float, float]]:
        """Joules by which each device may have drawn less or more, because its power was unknown for a time.

        The power in that time may have been anything between none and twice the mean.
        """
        own = self._own_total
        return {
            name: _unread(own.joules[name], min(gap_s, own.seconds), own.seconds)
            for name, gap_s in self.gaps_s.items()
            if own.joules.get(name) and own.seconds > 0
        }

    @cached_property
    def _own_total(self) -> Span:
        return total_of(self.own_phases) if self.prior.attempts else self.total

    @cached_property
    def _own_energy_kwh(self) -> Quantity:
        """Energy of this attempt alone with its range, in kWh."""
        if not self.prior.attempts:
            return self.energy_kwh
        return energy_range(self._own_total.joules, pooled(self.devices), self._unread_j)

    @cached_property
    def own_footprint(self) -> Footprint:
        """Footprint of this attempt alone, with its share of the embodied emissions of its GPUs."""
        embodied = hardware_of(held_gpus(self.devices))
        return footprint(self._own_energy_kwh, self.site, hours=self._own_total.seconds / S_PER_H, embodied=embodied)

    @cached_property
    def footprint(self) -> Footprint:
        """Footprint of the whole run: the sum of its attempts, each priced at the place and time at which it ran."""
        return replace(self._with_prior(self.own_footprint), energy_kwh=self.energy_kwh)

    @cached_property
    def plug(self) -> PlugEnergy:
        """Energy at the plug: by the calibration of this host, else typical of its kind of machine."""
        return plug_energy(self.footprint, self.all_devices, self.missing, self.site)

    def footprint_of(self, kwh: float) -> Footprint:
        """Return the footprint of another amount of energy at the same site, with the same relative range.

        Args:
            kwh: energy, e.g. of the remaining work.
        """
        energy = self.energy_kwh
        scale = kwh / energy.central if energy.central else 0.0
        return footprint(energy.scaled(scale), self.site)

    def footprint_of_whole(self, energy_kwh: Quantity, site: Site | None = None) -> Footprint:
        """Return the footprint of the whole run if it takes some energy in the end.

        Args:
            energy_kwh: energy of the whole run. That of earlier attempts stays as it was priced.
            site: place of the rest; None means the present one.
        """
        before_kwh = kwh_from_j(self.prior.total_j)
        figures = (energy_kwh.low, energy_kwh.central, energy_kwh.high)
        rest = Quantity(*(max(0.0, each - before_kwh) for each in figures))
        own = footprint(rest.widened(self._own_energy_kwh), site or self.site)
        return replace(self._with_prior(own), energy_kwh=energy_kwh)

    def _with_prior(self, own: Footprint) -> Footprint:
        return own.plus(self.prior_footprint) if self.prior_footprint else own

    @property
    def measured_share(self) -> float | None:
        """Measured part of the energy, 0 to 1; the rest is estimated.

        None before any energy, and if a device that the program computes on is not counted.
        """
        total_j = self.total.total_j
        if total_j <= 0 or any(device.method == "not counted" for device in self.all_devices):
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
            **self._part("the energy", lambda: metrics.energy_metrics(self.total, self.measured_share), {}),
            **self._part("the energy of the epoch", lambda: metrics.epoch_metrics(self.epoch), {}),
            **self._part("the footprint", self._footprint_metrics, {}),
            **self._part("the projection", self._projection_metrics, {}),
        }

    def _footprint_metrics(self) -> dict[str, float]:
        return metrics.footprint_metrics(self._own_kwh(self.total.total_j), self.site, self.prior_footprint)

    def step_metrics(self) -> dict[str, float]:
        """Return the metrics to log within an epoch; the rates cover the training since the last step report."""
        if not self.total.total_j:
            return {}
        return {
            **self._part("the energy", lambda: metrics.energy_metrics(self.total), {}),
            **self._part("the power", lambda: metrics.rate_metrics(self.recent), {}),
            **self._part("the projection", self._projection_metrics, {}),
        }

    def _own_kwh(self, total_j: float) -> float:
        return kwh_from_j(max(0.0, total_j - self.prior.total_j))

    def _projection_metrics(self) -> dict[str, float]:
        if self.projection is None:
            return {}
        own_kwh = self._own_kwh(self.projection.energy_kwh.central * J_PER_KWH)
        return metrics.projection_metrics(
            self.projection, own_kwh, self.projected_site or self.site, self.prior_footprint
        )

    def inference_metrics(self, phase: Phase, prefix: str | None = None) -> dict[str, float]:
        """Return the metrics to log after a standalone evaluation, test or prediction.

        Args:
            phase: the phase that it ran in.
            prefix: begin of each name; None: the phase and a slash, as in ``test/energy_kwh``.
        """
        begin = f"{phase}/" if prefix is None else prefix
        rates = self._part("the power", lambda: metrics.rate_metrics(self.phases.get(phase, Span())), _NO_METRICS)
        run = {**self.metrics(), **rates}
        return self._part("the metrics", lambda: metrics.inference_metrics(run, self.sample_j, begin), _NO_METRICS)

    def least_summary(self) -> dict[str, Any]:
        """Return what is known of a run without any calculation, after its summary could not be made."""
        joules = self.total.total_j
        known = {"schema": SCHEMA, "run": self.run, "id": self.id, "status": self.status, "epochs": self.epochs}
        known |= {"began": _iso(self.began_s), "updated": _iso(self.now_s), "seconds": self.total.seconds}
        return {**known, "total_j": joules, "total_kwh": kwh_from_j(joules), "devices": [], "phases": {}}

    def summary(self) -> dict[str, Any]:
        """Return the content of ``summary.json``, JSON-able. It always has these keys; a part that fails is null."""
        so_far_kwh = kwh_from_j(self.total.total_j)
        footprint = self._part("the footprint", lambda: self.footprint, None)
        plug = self._part("the energy at the plug", lambda: self.plug, None)
        use = self._part("the energy of the model's use", lambda: self.lifetime, None)
        energy = self._part("the range", lambda: self.energy_kwh, Quantity(so_far_kwh, so_far_kwh, so_far_kwh))
        return {
            "schema": SCHEMA,
            "run": self.run,
            "id": self.id,
            "training": self.prior.training or self.id,
            "status": self.status,
            "began": _iso(self.began_s),
            "updated": _iso(self.now_s),
            "seconds": self.total.seconds,
            "suspended_s": self.suspended_s,
            "epochs": self.epochs,
            "total_j": self.total.total_j,
            "total_kwh": energy.central,
            "total_kwh_low": energy.low,
            "total_kwh_high": energy.high,
            "measured_share": self._part("the measured share", lambda: self.measured_share, None),
            "phases": {phase: span.to_dict() for phase, span in self.phases.items()},
            "devices": [self._device(device) for device in self.all_devices],
            "attempts": [attempt.to_dict() for attempt in self.attempts],
            "missing": [asdict(missing) for missing in self.missing],
            "host": host_id(),
            "plug": plug.to_dict() if plug else None,
            "footprint": footprint.to_dict() if footprint else None,
            "site": self.site.to_dict(),
            "samples": self.samples,
            "sample_j": self._part("the energy per sample", lambda: self.sample_j, None),
            "lifetime": use.to_dict() if use else None,
            "sampler_cpu_s": self.sampler_cpu_s,
            "about": environment(),
            "projection": self._part("the projection", self.projection_summary, None),
        }

    @cached_property
    def projected_footprint(self) -> Footprint | None:
        """Footprint of the whole run at the site, if a projection is available, else None.

        The projected energy is what the meters will show; the footprint's range includes the error of the meters.
        """
        if self.projection is None:
            return None
        return self.footprint_of_whole(self.projection.energy_kwh, self.projected_site)

    def projection_summary(self) -> dict[str, Any] | None:
        """Return the projected energy and footprint of the whole run, JSON-able; None without a projection."""
        projection, projected = self.projection, self.projected_footprint
        if projection is None or projected is None:
            return None
        figures = {"co2e_kg": projected.co2e_kg, "water_l": projected.water_l, "cost": projected.cost}
        return projection.to_dict() | {name: each.to_dict() for name, each in figures.items() if each is not None}

    def _device(self, device: Device) -> dict[str, Any]:
        joules = self.total.joules.get(device.id, 0.0)
        counted = device.method != "not counted"
        figures: dict[str, Any] = {
            "id": device.id,
            "kind": device.kind,
            "name": device.name,
            "method": device.method,
            "source": device.source,
            "joules": joules if counted or joules else None,
            "low": device.low,
            "high": device.high,
            "cause": device.error_cause,
            "common": device.common,
            "gap_s": self.gaps_s.get(device.id, 0.0),
        }
        if device.share is not None:
            figures["share"] = device.share
        if device.covers:
            figures["covers"] = list(device.covers)
        notes = [note for note in (device.note, self.notes.get(device.id)) if note]
        return figures | ({"note": "; ".join(notes)} if notes else {})


def prior_footprint(prior: PriorAttempts, site: Site) -> Footprint | None:
    """Return the footprint of earlier attempts, each as it was priced; None if there are none.

    Args:
        prior: the attempts; see :func:`priced`.
        site: place of the current attempt. Factors that are not its own are marked as those of earlier attempts.
    """
    footprints = [Footprint.from_figures(each.footprint) for each in prior.attempts if each.footprint]
    if not footprints:
        return None
    total = footprints[0]
    for each in footprints[1:]:
        total = total.plus(each)
    own = set(site.factors)
    factors = (Factor(**each) for each in prior.factors)
    return replace(total, factors=tuple(each if each in own else _marked(each) for each in factors))


def priced(prior: PriorAttempts, site: Site) -> PriorAttempts:
    """Return the attempts with a footprint for those that have none, priced at a site, with a note.

    Args:
        prior: the attempts. A version before 0.2 wrote no footprint into a checkpoint.
        site: the present place.
    """
    here = site.static()
    return replace(prior, attempts=tuple(_priced(each, prior.devices, here) for each in prior.attempts))


def _priced(attempt: Attempt, devices: tuple[Device, ...], site: Site) -> Attempt:
    if attempt.footprint is not None:
        return attempt
    energy = energy_range(attempt.joules, devices)
    held = hardware_of(held_gpus([each for each in devices if each.id in attempt.joules]))
    figures = footprint(energy, site, hours=attempt.seconds / S_PER_H, embodied=held).figures()
    note = "its place is unknown: priced at that of the attempt that resumed it"
    return replace(attempt, footprint=figures, site=_place(site), note=note)


def _marked(factor: Factor) -> Factor:
    if _EARLIER in factor.note or factor.unit == "kgCO2e":
        return factor
    return replace(factor, note="; ".join(filter(None, (factor.note, _EARLIER))))


def _place(site: Site) -> dict[str, Any]:
    """Return the place of an attempt in a few words and figures."""
    names = {name: getattr(site, name) for name in ("zone", "name", "cloud", "origin", "currency")}
    return names | {"carbon_intensity": site.carbon_intensity.value, "pue": site.pue.value}


def _only(span: Span, devices: set[str]) -> Span:
    """Return a difference of spans with the devices of one attempt, without negative rounding errors."""
    joules = {name: max(0.0, value) for name, value in span.joules.items() if name in devices}
    return replace(span, joules=joules)


def energy_range(
    joules: Mapping[str, float],
    devices: tuple[Device, ...],
    unread_j: Mapping[str, tuple[float, float]] | None = None,
) -> Quantity:
    """Return the energy of several devices in kWh, with a range; see :func:`trainwatt.quantity.summed`.

    Devices whose errors have the same cause, such as one model or one type of sensor, err alike. Energy of an unknown
    device counts without a range.

    Args:
        joules: energy by device id.
        devices: the devices.
        unread_j: joules by which a device may have drawn less or more in times in which it was not read, by device id.
    """
    known = {device.id: device for device in devices}
    gaps = (Part(Quantity(-less_j, 0.0, more_j), name, 0.0) for name, (less_j, more_j) in (unread_j or {}).items())
    total_j = summed((*(_part(device_j, known.get(name)) for name, device_j in joules.items()), *gaps))
    return Quantity(max(0.0, total_j.low) / J_PER_KWH, total_j.central / J_PER_KWH, total_j.high / J_PER_KWH)


def _unread(joules: float, gap_s: float, seconds: float) -> tuple[float, float]:
    """Return the joules by which a device may have drawn less or more, with a gap that may be filled or not."""
    return joules * gap_s / seconds, joules * gap_s / max(seconds - gap_s, _LEAST_READ * seconds)


def _part(joules: float, device: Device | None) -> Part:
    if device is None:
        return Part(Quantity(joules, joules, joules), "")
    return Part(Quantity(joules * device.low, joules, joules * device.high), device.error_cause, device.common)


def _iso(wall_s: float) -> str:
    return datetime.fromtimestamp(wall_s, timezone.utc).isoformat(timespec="milliseconds")
