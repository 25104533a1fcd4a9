"""The snapshots of a session: one frozen record of what its ledger, its devices and its site know at a moment."""

from __future__ import annotations

import itertools
import logging
from dataclasses import replace

from trainwatt.accounting.attempts import PriorAttempts, Resumption
from trainwatt.accounting.ledger import Ledger
from trainwatt.accounting.timeline import Phase, Span, SpanKey, merged, total_of
from trainwatt.clock import Since
from trainwatt.containment import Failures
from trainwatt.footprint.footprint import Footprint
from trainwatt.power.device import Found
from trainwatt.projection.projection import Projection
from trainwatt.records.snapshot import RunSnapshot, Status, priced, prior_footprint
from trainwatt.sampling.sampler import Subscription
from trainwatt.site import Site
from trainwatt.site.live_intensity import LiveIntensity
from trainwatt.tracking.settings import Settings
from trainwatt.units import kwh_from_j

_log = logging.getLogger("trainwatt")

_BEFORE = -1  # the epoch of everything that earlier attempts took
# Updates of each meter, and seconds, that a power within an epoch covers at least. The value of a counter that counts
# as current may be 15 ms old.
_UPDATES, _SHORTEST_S = 2, 0.2


class Snapshots:
    """Make the snapshots of one run. The caller holds the session's lock.

    Args:
        run: the run's name.
        settings: the user's.
        ledger: what happened so far.
        subscription: the devices.
        since: when the run began, on both clocks.
        found: the sources that cannot be read here, and the devices that are not counted.
        training_kwh: energy of the training whose model this run uses; None if unknown.
        run_id: unique identifier of the run.
        failures: those of the run.

    Attributes:
        run: as given.
        status: the run's.
        found: as given; the devices that are not counted may become known later.
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
        found: Found = Found(),  # noqa: B008  # immutable
        training_kwh: float | None = None,
        run_id: str = "",
        failures: Failures | None = None,
    ) -> None:
        self._failures = failures or Failures()
        self.status: Status = "running"
        self.epochs = 0
        self.prior = PriorAttempts()
        self.unbooked: list[tuple[SpanKey, Span]] = []
        self._sequence = itertools.count(1)
        self.run, self._ledger, self._subscription, self._since = run, ledger, subscription, since
        self.found, self._training_kwh = found, training_kwh
        self._expected_requests = settings.expected_requests
        self._run_id, self._site = run_id, settings.site
        self._prior_footprint: Footprint | None = None
        self._lost_j = 0.0
        self._live_intensity = LiveIntensity(settings.site)
        self._samples: int | None = 0
        self._projection: Projection | None = None
        self._projected_site: Site | None = None

    def count(self, samples: int | None) -> None:
        """Add evaluated or predicted samples; None: their number is unknown, and so is the sum."""
        self._samples = None if samples is None or self._samples is None else self._samples + samples

    def resume(self, resumption: Resumption) -> list[tuple[SpanKey, Span]]:
        """Continue a training that was measured before, or a checkpoint of this run.

        Returns:
            What attempts that were not known before took, as the ledger has booked it.

        Raises:
            KeyError, TypeError, ValueError: if an attempt is not valid; nothing has changed then.
        """
        prior = priced(resumption.prior, self._site)
        self._prior_footprint = prior_footprint(prior, self._site)
        before, self.prior, self._lost_j = self.prior.phases, prior, resumption.lost_j
        self._warn_of_currencies()
        parts = ((phase, span.since(before.get(phase, Span()))) for phase, span in self.prior.phases.items())
        added = [
            (SpanKey(_BEFORE, phase), span) for phase, span in parts if span.entries or span.seconds or span.joules
        ]
        for key, span in added:
            self._ledger.add_before(key, span)
        return added

    def _warn_of_currencies(self) -> None:
        before, here = self._prior_footprint, self._site
        if before and before.cost and here.price and before.currency != here.currency:
            currencies = before.currency, here.currency
            _log.warning("trainwatt: costs in %s (earlier attempts) and %s do not add up: no total cost", *currencies)

    def book(self) -> None:
        """Book the energy whose figures are final."""
        self._ledger.book(self._subscription.settled_s())
        self._subscription.floor_s = self._ledger.booked_s
        own_j = self._ledger.booked_j - self.prior.total_j
        try:
            self._live_intensity.book(self._since.wall_at(self._ledger.booked_s), own_j)
        except Exception:  # noqa: BLE001  # prices come from elsewhere, and must not cost the energy
            self._use_yearly_mean()

    def take(self, now_s: float, closed: int | None = None) -> RunSnapshot:
        """Take a snapshot.

        Args:
            now_s: on the monotonic clock.
            closed: the epoch that has just been closed; None: none.
        """
        now_s = min(now_s, self._ledger.end_s)  # while the last figures are waited for, time goes on
        now_wall_s = self._since.wall_at(now_s)
        self.unbooked = list(self._ledger.unbooked(now_s))
        phases = self._ledger.shown(self.unbooked)
        epoch: dict[Phase, Span] = {}
        if closed is not None:
            rest = (each for each in self.unbooked if each[0].epoch == closed)
            epoch = merged([*self._ledger.timeline.epoch(closed), *rest])
        return RunSnapshot(
            run=self.run,
            status=self.status,
            began_s=self._since.wall_s,
            now_s=now_wall_s,
            phases=phases,
            epoch=epoch,
            epochs=self.epochs,
            devices=(*self._subscription.devices, *self.found.uncounted),
            site=self._site_now(now_wall_s, total_of(phases).total_j - self.prior.total_j),
            missing=self.found.missing,
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
            prior_footprint=self._prior_footprint,
            id=self._run_id,
            lost_j=self._lost_j,
            failures=self._failures,
            sequence=next(self._sequence),
        )

    def bare(self, now_s: float) -> RunSnapshot:
        """Take a snapshot without energy, after nothing else could be taken."""
        return bare_snapshot(
            self.run,
            self.status,
            self._site.static(),
            self._since.wall_s,
            now_s=self._since.wall_at(now_s),
            run_id=self._run_id,
        )

    def _site_now(self, now_wall_s: float, own_j: float) -> Site:
        try:
            return self._live_intensity.site(now_wall_s, own_j)
        except Exception:  # noqa: BLE001  # prices come from elsewhere, and must not cost the energy
            return self._use_yearly_mean()

    def _use_yearly_mean(self) -> Site:
        """Do without a live carbon intensity from now on, and return the site."""
        self._failures.failed("the live carbon intensity", "the yearly mean is used for the whole run")
        with self._failures.contained("the end of the live source"):
            self._live_intensity.close()
        self._site = self._site.static()
        self._live_intensity = LiveIntensity(self._site)
        return self._site

    def take_recent(self, now_s: float) -> RunSnapshot:
        """Take a snapshot that holds the training since the last one of these that did.

        If this is a moment ago, or a meter has not been updated twice since then, the power is not known well enough
        yet: the snapshot holds none, and the next one covers this time too.
        """
        snapshot = self.take(now_s)
        began_s = self._ledger.bookmark_s
        if now_s - began_s < _SHORTEST_S or not self._subscription.updated_since(began_s, _UPDATES):
            return snapshot
        recent = self._ledger.since_bookmark("train", self.unbooked)
        self._ledger.bookmark(now_s)
        # The updates of an irregular counter are dated only roughly.
        for device in self._subscription.devices:
            if device.id in recent.joules:
                recent.joules[device.id] = min(recent.joules[device.id], device.bound_w * recent.seconds)
        return replace(snapshot, recent=recent)

    def project(self, snapshot: RunSnapshot, projection: Projection) -> RunSnapshot:
        """Put a projection into a snapshot, and into those that follow."""
        # Both without earlier attempts, which have their own sites.
        before_kwh = kwh_from_j(self.prior.total_j)
        own_kwh = projection.energy_kwh.central - before_kwh
        rest = 1 - (snapshot.energy_kwh.central - before_kwh) / own_kwh if own_kwh > 0 else 0.0
        self._projection = projection
        self._projected_site = self._live_intensity.projected(
            snapshot.site, rest, snapshot.now_s, projection.remaining_s
        )
        return replace(snapshot, projection=projection, projected_site=self._projected_site)

    def drop_projection(self) -> None:
        """Leave the projection out of the snapshots that follow."""
        self._projection = self._projected_site = None

    def close(self) -> None:
        """End the live source, if there is one."""
        self._live_intensity.close()


def bare_snapshot(
    run: str, status: Status, site: Site, began_s: float, *, now_s: float | None = None, run_id: str = ""
) -> RunSnapshot:
    """Return the snapshot of a run of which nothing is known but that it was meant to be.

    Args:
        run: its name.
        status: how it ended.
        site: its place.
        began_s: its beginning, in seconds since the Unix epoch.
        now_s: its end; None if it ended at once.
        run_id: its identifier.
    """
    return RunSnapshot(
        run,
        status,
        began_s,
        began_s if now_s is None else now_s,
        phases={},
        epoch={},
        epochs=0,
        devices=(),
        site=site,
        id=run_id,
    )
