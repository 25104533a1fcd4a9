"""Citation of a run for a paper, with everything that a reader needs to verify the emissions."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from trainwatt.escaping import documents
from trainwatt.escaping.printable import printable
from trainwatt.export import facts
from trainwatt.formatting import duration_text, energy_range_text, mass_range_text


def markdown(summary: Mapping[str, Any]) -> str:
    """Format the citation of a run as Markdown.

    Args:
        summary: of the run.

    Returns:
        Date, hardware, location, duration, energy and its method, factors with source and year, and emissions with
        their range.
    """
    return documents.markdown(_statement(summary)).replace("CO2e", "CO\u2082e").replace(" x ", " \u00d7 ")


def plain(summary: Mapping[str, Any]) -> str:
    """Return the text of :func:`markdown` without markup."""
    return printable(_statement(summary)).replace("CO2e", "CO\u2082e").replace(" x ", " \u00d7 ")


def latex(summary: Mapping[str, Any]) -> str:
    """Format the citation of a run as LaTeX that needs no package.

    Args:
        summary: of the run.

    Returns:
        The same text as :func:`markdown`.
    """
    escaped = documents.latex(_statement(summary))
    spaced = re.sub(r"(\d) (k?Wh|k?g|J|L|gCO2e/kWh|\\%)(?=[ ,.;()])", r"\1\\,\2", escaped)
    return spaced.replace("CO2e", "CO\\textsubscript{2}e").replace(" x ", r" $\times$ ")


def _statement(summary: Mapping[str, Any]) -> str:
    return " ".join([_energy(summary), _emissions(summary), *_other_emissions(summary), _software(summary)])


def _energy(summary: Mapping[str, Any]) -> str:
    hardware, place = facts.hardware_text(summary), facts.place_text(summary)
    where = f" in {place}" if place else ""
    on = f" on {hardware}" if hardware else ""
    end = "" if summary["status"] == "finished" else f" (status: {summary['status']})"
    return (
        f"The run of {summary['began'][:10]}{on}{where}{end} took {duration_text(summary['seconds'])} and consumed "
        f"{energy_range_text(facts.energy_kwh(summary))}, {_method(summary)}."
    )


def _method(summary: Mapping[str, Any]) -> str:
    """Describe how the energy was obtained, by device."""
    how = {
        method: ", ".join(
            sorted(
                {f"{each['kind'].upper()}: {each['source']}" for each in summary["devices"] if each["method"] == method}
            )
        )
        for method in ("measured", "estimated")
    }
    share = summary["measured_share"]
    if without := facts.uncounted_text(summary):
        return f"{without}, whose energy is not counted"
    if share is None:
        return "none of which could be measured"
    parts = [f"{share:.0%} of it measured ({how['measured']})"] if share > 0 else []
    parts += [f"{1 - share:.0%} estimated ({how['estimated']})"] if share < 1 else []
    return " and ".join(parts)


def _emissions(summary: Mapping[str, Any]) -> str:
    intensity, pue = facts.factor(summary, "carbon_intensity"), facts.factor(summary, "pue")
    grid = (
        "a carbon intensity" if facts.place_text(summary) else "the world-average carbon intensity (location unknown)"
    )
    elsewhere = facts.elsewhere_text(summary)
    others = f", with {elsewhere} in earlier attempts," if elsewhere else ""
    plug = summary["site"]["factors"].get("plug")
    at_plug = f"{plug['value']:.4g} times as much energy at the plug ({facts.source_text(plug)}), " if plug else ""
    return (
        f"At {at_plug}{grid} of {intensity['value']:.4g} gCO2e/kWh ({facts.source_text(intensity)}) and a "
        f"PUE of {pue['value']:.4g} ({facts.source_text(pue)}){others} its operational, location-based emissions were "
        f"{mass_range_text(facts.co2e_kg(summary))} CO2e."
    )


def _other_emissions(summary: Mapping[str, Any]) -> list[str]:
    """Describe market-based and embodied emissions, which are separate from the location-based ones."""
    market = facts.quantity(summary["footprint"]["market_kg"])
    embodied = facts.quantity(summary["footprint"]["embodied_kg"])
    parts = []
    if market is not None:
        parts.append(f"Its market-based emissions were {mass_range_text(market)} CO2e.")
    if embodied is not None:
        parts.append(
            f"The run's share of the emissions embodied in its GPUs, not included, is {mass_range_text(embodied)} CO2e."
        )
    return parts


def _software(summary: Mapping[str, Any]) -> str:
    return f"Figures by trainwatt {summary['about']['trainwatt']}; ranges are given in parentheses."
