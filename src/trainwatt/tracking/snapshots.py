"""The snapshots of a session: one frozen record of what its ledger, its devices and its site know at a moment."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from trainwatt.accounting.attempts import PriorAttempts
from trainwatt.accounting.ledger import Ledger
from trainwatt.accounting.timeline import Phase, Span, SpanKey, merged, total_of
from trainwatt.clock import Since
from trainwatt.power.device import Missing
from trainwatt.projection.projection import Projection
from trainwatt.records.snapshot import RunSnapshot, Status
from trainwatt.sampling.sampler import Subscription
from trainwatt.site import Site
from trainwatt.site.live_intensity import LiveIntensity
from trainwatt.tracking.settings import Settings

_BEFORE = -1  # the epoch of everything that earlier attempts took


class Snapshots:
    """Make the snapshots of one run. The caller holds the session's lock.

    Args:
        run: the run's name.
        settings: the user's.
        ledger: what happened so far.
        subscription: the devices.
        since: when the run began, on both clocks.
        missing: what cannot be read here.
        training_kwh: energy of the training whose model this run uses; None if unknown.

    Attributes:
        status: the run's.
        epochs: number of closed epochs.
        prior: earlier attempts of this training.
        unbooked: spans that were not booked yet at the last snapshot.
    """

    def __init__(
        self,
        run: str,
        settings: Settings,
        ledger: Ledger,
        subscription: Subscription,
        since: Since,
        *,
        missing: Sequence[Missing] = (),
        training_kwh: float | None = None,
    ) -> None:
        self.status: Status = "running"
        self.epochs = 0
        self.prior = PriorAttempts()
        self.unbooked: list[tuple[SpanKey, Span]] = []
        self._run, self._ledger, self._subscription, self._since = run, ledger, subscription, since
        self._missing, self._training_kwh = tuple(missing), training_kwh
        self._expected_requests = settings.expected_requests
        self._live_intensity = LiveIntensity(settings.site)
        self._samples: int | None = 0
        self._last_train = Span()
        self._projection: Projection | None = None
        self._projected_site: Site | None = None

    def count(self, samples: int | None) -> None:
        """Add evaluated or predicted samples; None: their number is unknown, and so is the sum."""
        self._samples = None if samples is None or self._samples is None else self._samples + samples

    def resume(self, prior: PriorAttempts) -> list[tuple[SpanKey, Span]]:
        """Continue a training that was measured before.

        Returns:
            What the earlier attempts took, as the ledger has booked it.
        """
        spans = [(SpanKey(_BEFORE, phase), span) for phase, span in prior.phases.items()]
        self.prior = prior
        for key, span in spans:
            self._ledger.timeline.add(key, span)
        self._live_intensity.before(prior.total_j)
        return spans

    def book(self) -> None:
        """Book the energy whose figures are final."""
        self._ledger.book(self._subscription.settled_s())
        self._subscription.floor_s = self._ledger.booked_s
        self._live_intensity.book(self._since.wall_at(self._ledger.booked_s), self._ledger.booked_j)

    def take(self, now_s: float, closed: int | None = None) -> RunSnapshot:
        """Take a snapshot.

        Args:
            now_s: on the monotonic clock.
            closed: the epoch that has just been closed; None: none.
        """
        now_s = min(now_s, self._ledger.end_s)  # while the last figures are waited for, time goes on
        now_wall_s = self._since.wall_at(now_s)
        rest = self.unbooked = list(self._ledger.unbooked(now_s))
        timeline = self._ledger.timeline
        phases = merged([*timeline.phases(), *rest])
        epoch: dict[Phase, Span] = {}
        if closed is not None:
            epoch = merged([*timeline.epoch(closed), *(each for each in rest if each[0].epoch == closed)])
        return RunSnapshot(
            run=self._run,
            status=self.status,
            began_s=self._since.wall_s,
            now_s=now_wall_s,
            phases=phases,
            epoch=epoch,
            epochs=self.epochs,
            devices=self._subscription.devices,
            site=self._live_intensity.site(now_wall_s, total_of(phases).total_j),
            missing=self._missing,
            gaps_s=self._subscription.gaps_s,
            notes=self._subscription.notes,
            suspended_s=self._since.suspended_s,
            sampler_cpu_s=self._subscription.sampler_cpu_s,
            samples=self._samples or None,
            training_kwh=self._training_kwh,
            expected_requests=self._expected_requests,
            prior=self.prior,
            projection=self._projection,
            projected_site=self._projected_site,
        )

    def take_recent(self, now_s: float) -> RunSnapshot:
        """Take a snapshot that holds the training since this was last called."""
        snapshot = self.take(now_s)
        train = snapshot.phases.get("train", Span())
        recent, self._last_train = train.since(self._last_train), train
        return replace(snapshot, recent=recent)

    def project(self, snapshot: RunSnapshot, projection: Projection) -> RunSnapshot:
        """Put a projection into a snapshot, and into those that follow."""
        rest = 1 - snapshot.energy_kwh.central / (projection.energy_kwh.central or 1.0)
        self._projection = projection
        self._projected_site = self._live_intensity.projected(
            snapshot.site, rest, snapshot.now_s, projection.remaining_s
        )
        return replace(snapshot, projection=projection, projected_site=self._projected_site)

    def close(self) -> None:
        """End the live source, if there is one."""
        self._live_intensity.close()
