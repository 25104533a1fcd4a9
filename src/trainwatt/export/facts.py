"""Parts of a summary that several exports need, as quantities or text."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from trainwatt.accounting.timeline import INFERENCE
from trainwatt.formatting import energy_text
from trainwatt.power.accelerators import noun_of
from trainwatt.quantity import Quantity
from trainwatt.units import kwh_from_j

Summary = Mapping[str, Any]


def quantity(figures: Mapping[str, float] | None) -> Quantity | None:
    """Convert a figure of a summary to a quantity, or None if it is unknown."""
    return None if figures is None else Quantity(figures["low"], figures["central"], figures["high"])


def co2e_kg(summary: Summary) -> Quantity:
    """Return the operational, location-based emissions in kgCO2e."""
    return Quantity(**summary["footprint"]["co2e_kg"])


def energy_kwh(summary: Summary) -> Quantity:
    """Return the energy of the machine in kWh, without the facility's overhead."""
    return Quantity(summary["total_kwh_low"], summary["total_kwh"], summary["total_kwh_high"])


def devices(summary: Summary, kind: str) -> list[Mapping[str, Any]]:
    """Return the devices of a kind."""
    return [device for device in summary["devices"] if device["kind"] == kind]


def hardware_text(summary: Summary, kinds: Iterable[str] = ("gpu", "cpu")) -> str:
    """Describe the hardware, e.g. ``8 x NVIDIA H100 80GB HBM3, 2 x AMD EPYC 9654``."""
    counts = Counter(device["name"] for kind in kinds for device in devices(summary, kind))
    return ", ".join(f"{count} x {name}" for name, count in counts.items())


def uncounted_text(summary: Summary) -> str:
    """Name the devices that the program computes on and that are not counted, e.g. ``without the GPU (AMD …)``.

    Returns:
        The text; empty if there are none.
    """
    left = [device for device in summary.get("devices", ()) if device["method"] == "not counted"]
    if not left:
        return ""
    names = Counter(device["name"] for device in left)
    named = ", ".join(f"{count} x {name}" if count > 1 else name for name, count in names.items())
    nouns = {noun_of(device["source"]) for device in left}
    noun = nouns.pop() if len(nouns) == 1 else "accelerator"
    return f"without the {noun}{'s' * (len(left) > 1)} ({named})"


def place_text(summary: Summary) -> str:
    """Describe the location, marked if it was guessed; empty if it is unknown."""
    site = summary["site"]
    if site["zone"] == "WORLD":
        return ""
    where = ", ".join(filter(None, (site["name"], site["cloud"])))
    return f"{where} ({site['origin']})" if site["origin"].startswith("guessed") else where


def elsewhere_text(summary: Summary) -> str:
    """Describe the earlier attempts that ran at other places, e.g. ``0.42 kWh in Poland at 614 gCO2e/kWh``.

    Returns:
        The text; empty if all ran at the same place.
    """
    here = summary["site"]
    kwh: dict[tuple[str, float], float] = {}
    for attempt in summary.get("attempts", ())[:-1]:
        site = attempt.get("site")
        if site and (site["zone"], site["cloud"]) != (here["zone"], here["cloud"]):
            place = (", ".join(filter(None, (site["name"], site["cloud"]))), site["carbon_intensity"])
            kwh[place] = kwh.get(place, 0.0) + kwh_from_j(attempt["total_j"])
    return " and ".join(f"{energy_text(each)} in {name} at {g:.4g} gCO2e/kWh" for (name, g), each in kwh.items())


def costs(summary: Summary) -> list[tuple[Quantity, str]]:
    """Return the cost of a run in each currency of its attempts; empty if that of one is unknown."""
    whole = summary["footprint"]
    if whole["cost"] is not None:
        return [(Quantity(**whole["cost"]), whole["currency"] or "")]
    parts = [each.get("footprint") for each in summary.get("attempts", ())]
    total: dict[str, Quantity] = {}
    for part in parts:
        if not part or part["cost"] is None:
            return []
        cost, currency = Quantity(**part["cost"]), part["currency"] or ""
        total[currency] = total[currency].plus(cost) if currency in total else cost
    return [(cost, currency) for currency, cost in total.items()]


def factor(summary: Summary, name: str) -> Mapping[str, Any]:
    """Return a factor of the site, e.g. ``carbon_intensity``."""
    found: Mapping[str, Any] = summary["site"]["factors"][name]
    return found


def source_text(each: Mapping[str, Any]) -> str:
    """Describe the source of a factor, with year and basis."""
    return ", ".join(filter(None, (f"{each['source']} {each['year']}".strip(), each["basis"])))


def inference(summary: Summary) -> tuple[float, int | None]:
    """Return the joules of all evaluations, tests and predictions, and their number of samples (None if unknown)."""
    spans = (summary["phases"].get(phase) for phase in INFERENCE)
    return sum(sum(span["joules"].values()) for span in spans if span), summary.get("samples")
