from __future__ import annotations

import re
from typing import Any

import pytest

import trainwatt.export
from tests.export.runs import summary_at
from trainwatt.export import latex, markdown
from trainwatt.site import Site


def test_the_sentence_has_all_that_is_needed_to_check_it(summary: dict[str, Any]) -> None:
    text = markdown(summary)
    for part in (
        "The run of 2026-09-21 on 8 × NVIDIA H100 80GB HBM3, 1 × AMD EPYC 9654 in France",  # noqa: RUF001
        "took 2 h 0 min and consumed 10.0 kWh (",
        "90% of it measured (GPU: NVML total-energy counter)",
        "10% estimated (CPU: model by CPU utilisation, RAM: model by memory size)",
        "41.79 gCO₂e/kWh (Ember via Our World in Data (May 2026 copy) 2025, lifecycle, production, yearly mean)",
        "PUE of 1.2 (given)",
        "operational, location-based emissions were 500 g (",
        "embodied in its GPUs, not included, is ",
        f"trainwatt {trainwatt.__version__}",
    ):
        assert part in text
    assert "market-based" not in text
    assert "\n" not in text


def test_latex_needs_no_package_and_escapes_what_it_must() -> None:
    summary = summary_at(Site(zone="FR", environ={}))
    summary["devices"][0]["name"] = r"R&D_board #1 {50%} $ ~^\x"
    text = latex(summary)
    assert r"R\&D\_board \#1 \{50\%\} \$ \textasciitilde{}\textasciicircum{}\textbackslash{}x" in text
    assert r"10.0\,kWh" in text
    assert r"CO\textsubscript{2}e" in text
    assert not re.search(r"(?<!\\)[&%#_]", text)
    assert text.isascii()


def test_what_is_measured_is_not_said_to_be_estimated(summary: dict[str, Any]) -> None:
    summary["measured_share"] = 1.0
    assert "100% of it measured" in markdown(summary)
    assert "estimated" not in markdown(summary)
    summary["measured_share"] = 0.0
    assert " measured" not in markdown(summary).replace("(", "")
    summary["measured_share"] = None
    assert "none of which could be measured" in markdown(summary)


def test_a_run_that_was_cut_short_is_not_cited_as_a_whole_one(summary: dict[str, Any]) -> None:
    assert "status" not in markdown(summary)
    assert "(status: interrupted)" in markdown(summary | {"status": "interrupted"})


def test_an_unknown_place_is_said_to_be() -> None:
    text = markdown(summary_at(Site(zone="WORLD", market_intensity=0, environ={})))
    assert "At the world-average carbon intensity (location unknown) of " in text
    assert "Its market-based emissions were 0 g" in text


@pytest.mark.parametrize("names", [trainwatt.export.__all__])
def test_the_public_names_are_sorted_and_there(names: list[str]) -> None:
    assert sorted(names) == names
    assert all(hasattr(trainwatt.export, name) for name in names)
