"""Hourly carbon intensity of a run: each part of its energy is weighted by the intensity at its own time."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timezone
from typing import TYPE_CHECKING, NamedTuple

from trainwatt.site import Factor, Site, grid_factors
from trainwatt.site.place import Place

if TYPE_CHECKING:
    from collections.abc import Sequence

    from trainwatt.live.feed import Feed

# Finest resolution of any source.
_SLOT_S = 300.0


class LiveIntensity:
    """Site of a run with live carbon intensity; without a live source the site stays as it is.

    Args:
        site: the place of the run.
    """

    def __init__(self, site: Site) -> None:
        self._site = site
        self._feed = _feed_of(site)
        # Joules by time slot.
        self._slots: dict[int, float] = {}
        self._total_j = 0.0
        self._past: tuple[tuple[int, int], _Weighted] | None = None

    def book(self, wall_s: float, total_j: float) -> None:
        """Record the total energy at a time.

        Args:
            wall_s: seconds since the Unix epoch.
            total_j: joules since the run began.
        """
        if self._feed:
            slot = int(wall_s // _SLOT_S)
            self._slots[slot] = self._slots.get(slot, 0.0) + total_j - self._total_j
            self._total_j = total_j

    def site(self, wall_s: float, total_j: float) -> Site:
        """Return the site with the energy-weighted mean intensity so far: ``sum of E(t) * CI(t) / sum of E(t)``."""
        if not self._feed:
            return self._site
        slot = int(wall_s // _SLOT_S)
        now_j = self._slots.get(slot, 0.0) + total_j - self._total_j
        weighted = self._weighted_before(slot, self._feed).plus(now_j, self._feed.at((slot + 0.5) * _SLOT_S))
        return _metered(self._site, weighted, self._feed, _years([*self._slots, slot]))

    def _weighted_before(self, slot: int, feed: Feed) -> _Weighted:
        """Return the weighted sum of all earlier slots; recomputed only if the source has new figures."""
        key = (feed.version, slot)
        if self._past is None or self._past[0] != key:
            weighted = _Weighted()
            for each, joules in self._slots.items():
                if each != slot:
                    weighted = weighted.plus(joules, feed.at((each + 0.5) * _SLOT_S))
            self._past = key, weighted
        return self._past[1]

    def forecast(self, begin_s: float, end_s: float) -> float | None:
        """Return the forecast mean carbon intensity for a projection, gCO2e/kWh; None without a forecast.

        Times that the forecast does not cover use the yearly mean.

        Args:
            begin_s: seconds since the Unix epoch.
            end_s: the same, later.
        """
        expected = self._feed.forecast(begin_s, end_s) if self._feed and end_s > begin_s else None
        if expected is None:
            return None
        mean, share = expected
        return mean * share + self._site.carbon_intensity.value * (1 - share)

    def projected(self, site: Site, rest: float, now_s: float, remaining_s: float) -> Site | None:
        """Return the site of the whole run, with the forecast for its remaining work; None without a forecast.

        Args:
            site: site of the run so far.
            rest: remaining part of the whole run's energy, 0 to 1.
            now_s: seconds since the Unix epoch.
            remaining_s: seconds until the run ends.
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
        """Stop the requests at the end of the run."""
        if self._feed:
            self._feed.close()


def _feed_of(site: Site) -> Feed | None:
    if site.live is None:
        return None
    # Rarely used, and importing it takes milliseconds.
    from trainwatt.live.cache import cache_folder  # noqa: PLC0415
    from trainwatt.live.feed import Feed  # noqa: PLC0415

    return Feed(site.live.provider, cache_folder())


class _Weighted(NamedTuple):
    """Joules, the part of them with a known carbon intensity, and the product of that part with it."""

    total_j: float = 0.0
    live_j: float = 0.0
    product: float = 0.0

    def plus(self, joules: float, g_per_kwh: float | None) -> _Weighted:
        """Return the sum with more energy."""
        if g_per_kwh is None:
            return self._replace(total_j=self.total_j + joules)
        return _Weighted(self.total_j + joules, self.live_j + joules, self.product + joules * g_per_kwh)


def _metered(site: Site, weighted: _Weighted, feed: Feed, years: str) -> Site:
    """Return the site with an energy-weighted carbon intensity; static if no live figure is known."""
    static, name = site.carbon_intensity, feed.name
    if weighted.live_j <= 0:
        note = f"static: {name} has no figures for this time ({feed.problem or 'none of them is recent'})"
        return site.metered(replace(static, note="; ".join(filter(None, (static.note, note)))), 0.0, feed.problem)
    share, live = weighted.live_j / weighted.total_j, weighted.product / weighted.live_j
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
        f"{feed.basis}, hourly, weighted by energy",
        f"the remaining {rest:.0%} of the energy uses the static {static.text()}" if rest > 0.0005 else "",
    )
    return site.metered(mean, share, feed.problem)


def _years(slots: Sequence[int]) -> str:
    first, last = (datetime.fromtimestamp(slot * _SLOT_S, timezone.utc).year for slot in (min(slots), max(slots)))
    return str(first) if first == last else f"{first} to {last}"
