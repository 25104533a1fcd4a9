"""A run's carbon intensity by the hours that it ran in: each part of its energy at the intensity of its own time."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timezone
from typing import TYPE_CHECKING, NamedTuple

from trainwatt.site import Factor, Site, grid_factors
from trainwatt.site.place import Place

if TYPE_CHECKING:
    from collections.abc import Sequence

    from trainwatt.live.feed import Feed

_SLOT_S = 300.0  # the finest that a source tells


class LiveIntensity:
    """The site of a run whose carbon intensity may be a live one; without a live source it does nothing.

    Args:
        site: where the run happens.
    """

    def __init__(self, site: Site) -> None:
        self._site = site
        self._feed = _feed_of(site)
        self._slots: dict[int, float] = {}  # joules by time
        self._total_j = self._earlier_j = 0.0
        self._past: tuple[tuple[int, int], _Told] | None = None

    def before(self, total_j: float) -> None:
        """So much had been drawn before this process took the run up, at times of which nothing is known any more."""
        self._earlier_j += total_j
        self._total_j += total_j

    def book(self, wall_s: float, total_j: float) -> None:
        """The run has drawn so much in all by that time.

        Args:
            wall_s: seconds since the Unix epoch.
            total_j: since the run began.
        """
        if self._feed:
            slot = int(wall_s // _SLOT_S)
            self._slots[slot] = self._slots.get(slot, 0.0) + total_j - self._total_j
            self._total_j = total_j

    def site(self, wall_s: float, total_j: float) -> Site:
        """The site with the mean carbon intensity of all energy so far: ``sum of E(t) * CI(t) / sum of E(t)``."""
        if not self._feed:
            return self._site
        slot = int(wall_s // _SLOT_S)
        now_j = self._slots.get(slot, 0.0) + total_j - self._total_j
        told = self._told_before(slot, self._feed).plus(now_j, self._feed.at((slot + 0.5) * _SLOT_S))
        return _metered(self._site, told, self._feed, _years([*self._slots, slot]))

    def _told_before(self, slot: int, feed: Feed) -> _Told:
        """What is told of all time before; counted anew only where the source has told more since."""
        key = (feed.version, slot)
        if self._past is None or self._past[0] != key:
            told = _Told(self._earlier_j)
            for each, joules in self._slots.items():
                if each != slot:
                    told = told.plus(joules, feed.at((each + 0.5) * _SLOT_S))
            self._past = key, told
        return self._past[1]

    def forecast(self, begin_s: float, end_s: float) -> float | None:
        """The mean carbon intensity that is expected, gCO2e/kWh, for a projection; None where there is no forecast.

        What the forecast does not cover is taken at the yearly mean.

        Args:
            begin_s: seconds since the Unix epoch.
            end_s: the same, later.
        """
        told = self._feed.forecast(begin_s, end_s) if self._feed and end_s > begin_s else None
        if told is None:
            return None
        mean, share = told
        return mean * share + self._site.carbon_intensity.value * (1 - share)

    def projected(self, site: Site, rest: float, now_s: float, remaining_s: float) -> Site | None:
        """The site of a whole run with what is forecast for the rest of it; None where there is no forecast.

        Args:
            site: of the run so far.
            rest: the part of the whole run's energy that is still to come.
            now_s: seconds since the Unix epoch.
            remaining_s: until the run ends.
        """
        expected = self.forecast(now_s, now_s + remaining_s)
        if expected is None or site.live is None:
            return None
        so_far = site.carbon_intensity
        value = so_far.value * (1 - rest) + expected * rest
        ratio = value / so_far.value if so_far.value else 1.0
        mean = replace(so_far, value=value, low=so_far.low * ratio, high=so_far.high * ratio)
        return site.metered(mean, site.live.share, site.live.problem)

    def close(self) -> None:
        """The run has ended."""
        if self._feed:
            self._feed.close()


def _feed_of(site: Site) -> Feed | None:
    if site.live is None:
        return None
    from trainwatt.live.cache import cache_folder  # noqa: PLC0415  # few need it, and importing it takes milliseconds
    from trainwatt.live.feed import Feed  # noqa: PLC0415

    return Feed(site.live.provider, cache_folder())


class _Told(NamedTuple):
    """Joules, those of them whose carbon intensity is known, and their product with it."""

    total_j: float = 0.0
    live_j: float = 0.0
    weighed: float = 0.0

    def plus(self, joules: float, g_per_kwh: float | None) -> _Told:
        """With some more."""
        if g_per_kwh is None:
            return self._replace(total_j=self.total_j + joules)
        return _Told(self.total_j + joules, self.live_j + joules, self.weighed + joules * g_per_kwh)


def _metered(site: Site, told: _Told, feed: Feed, years: str) -> Site:
    """A site with a carbon intensity that is weighed by energy, the static one where none is known."""
    static, name = site.carbon_intensity, feed.provider.name
    if told.live_j <= 0:
        note = f"static: {name} told nothing of this time ({feed.problem or 'none of its figures is recent'})"
        return site.metered(replace(static, note="; ".join(filter(None, (static.note, note)))), 0.0, feed.problem)
    share, live = told.live_j / told.total_j, told.weighed / told.live_j
    rest = 1 - share
    low, high = grid_factors.source_spread(Place(site.zone, site.cloud, site.origin))
    mean = Factor(
        "carbon intensity",
        live * share + static.value * rest,
        live * share * low + static.low * rest,
        live * share * high + static.high * rest,
        grid_factors.GRID_UNIT,
        name,
        years,
        f"{feed.provider.basis}, by the hour, weighed by energy",
        f"the rest of the energy, {rest:.0%}, at the static {static.text()}" if rest > 0.0005 else "",
    )
    return site.metered(mean, share, feed.problem)


def _years(slots: Sequence[int]) -> str:
    first, last = (datetime.fromtimestamp(slot * _SLOT_S, timezone.utc).year for slot in (min(slots), max(slots)))
    return str(first) if first == last else f"{first} to {last}"
