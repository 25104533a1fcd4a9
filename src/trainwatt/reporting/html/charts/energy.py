"""Chart of energy by phase and device."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from trainwatt.reporting.html.charts.base import SERIES, Spec, mark, number, spec
from trainwatt.reporting.html.charts.power import phase_text
from trainwatt.reporting.html.display_units import energy_unit
from trainwatt.units import kwh_from_j

_ROW = 34


def groups(devices: list[Mapping[str, Any]]) -> dict[str, str]:
    """Map each device id to its label. Devices of the same kind and name share one label."""
    counts = Counter((device["kind"], device["name"]) for device in devices)
    names = {pair: f"{f'{count} x ' if count > 1 else ''}{pair[0].upper()} {pair[1]}" for pair, count in counts.items()}
    if len(names) > len(SERIES):
        names = {pair: pair[0].upper() for pair in names}
    return {device["id"]: names[device["kind"], device["name"]] for device in devices}


def energy(summary: Mapping[str, Any]) -> Spec:
    """Draw a bar for each phase, split by device."""
    unit = energy_unit(summary["total_kwh"])
    named = groups(summary["devices"])
    parts: Counter[tuple[str, str]] = Counter()
    for phase, span in summary["phases"].items():
        for device, joules in span["joules"].items():
            parts[phase, named.get(device, "other device")] += joules
    total_j = summary["total_j"] or 1.0
    rows = [
        {"phase": phase_text(phase), "device": device, "energy": unit.of(kwh_from_j(joules)), "share": joules / total_j}
        for (phase, device), joules in parts.items()
    ]
    devices = list(dict.fromkeys(row["device"] for row in rows))
    bars = {
        "mark": mark("bar", height={"band": 0.68}, cornerRadius=2),
        "encoding": {
            "y": {
                "field": "phase",
                "type": "nominal",
                "sort": [phase_text(phase) for phase in summary["phases"]],
                "axis": {"title": None, "labelLimit": 110},
            },
            "x": number("energy", unit.name, axis={"grid": True, "domain": False}),
            "color": {"field": "device", "scale": {"domain": devices, "range": list(SERIES[: len(devices)])}},
            "order": {"field": "device", "sort": devices},
            "tooltip": [
                {"field": "phase"},
                {"field": "device"},
                {"field": "energy", "title": f"energy, {unit.name}", "format": ".3~g"},
                {"field": "share", "title": "of the run", "format": ".1%"},
            ],
        },
    }
    return spec(rows, height(summary), bars)


def height(summary: Mapping[str, Any]) -> int:
    """Return the height of the chart in pixels."""
    return _ROW * len(summary["phases"])
