"""A thousand random trainings agree with an accounting of its own: devices, faults, processes, folds, resumed runs."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest

from tests.mixed.accounts import Outcome, train

SEEDS = 1000
PARTS = 20


def check(outcome: Outcome) -> None:
    """Compare all figures of a training with the accounts."""
    summary, truth_j = outcome.summary, outcome.truth_j()
    # each total lies in its range
    assert summary["total_kwh_low"] * 3.6e6 <= truth_j <= summary["total_kwh_high"] * 3.6e6
    # phases, devices and attempts add up to it
    assert sum(sum(span["joules"].values()) for span in summary["phases"].values()) == pytest.approx(summary["total_j"])
    assert sum(device["joules"] for device in summary["devices"]) == pytest.approx(summary["total_j"])
    assert sum(attempt["total_j"] for attempt in summary["attempts"]) == pytest.approx(summary["total_j"])
    # each attempt counts once, with what it took, at the place where it ran
    assert len(summary["attempts"]) == len(outcome.attempts)
    for told, attempt in zip(summary["attempts"], outcome.attempts, strict=True):
        drawn_j = outcome.of_attempt_j(attempt)
        assert told["total_j"] == pytest.approx(drawn_j, rel=0.02, abs=120 + outcome.unknown_j(attempt))
        assert 0 <= told["lost_j"] <= told["total_j"]
        # all processes were in the same phases
        for phase, stretches in attempt.phases_s.items():
            phase_j = sum(outcome.gpus[name].truth_j([stretch]) for name in attempt.readers for stretch in stretches)
            expected = pytest.approx(phase_j, rel=0.02, abs=60 * len(stretches) + outcome.unknown_j(attempt))
            assert sum(told["phases"][phase]["joules"].values()) == expected
    co2e = summary["footprint"]["co2e_kg"]
    assert co2e["low"] <= outcome.co2e_kg(1.2) <= co2e["high"]
    assert co2e["central"] == pytest.approx(
        sum(
            told["total_j"] / 3.6e6 * 1.2 * attempt.g_per_kwh / 1000
            for told, attempt in zip(summary["attempts"], outcome.attempts, strict=True)
        )
    )
    # each epoch of the last attempt has its own energy in the events, of the devices that this process read
    last = outcome.attempts[-1]
    spans = [event for event in outcome.events if event["event"] == "span" and event["phase"] == "train"]
    by_epoch: dict[int, float] = {}
    for span in spans:
        by_epoch[span["index"]] = by_epoch.get(span["index"], 0.0) + sum(span["joules"].values())
    for index, stretch in enumerate(last.phases_s["train"]):
        drawn_j = sum(outcome.gpus[name].truth_j([stretch]) for name in last.lead)
        assert by_epoch[index] == pytest.approx(drawn_j, rel=0.1, abs=60 + outcome.unknown_j(last))
    assert summary["epochs"] == outcome.epochs
    # what is shown never falls
    assert all(later >= earlier * (1 - 1e-12) for earlier, later in pairwise(outcome.totals_j))


@pytest.mark.slow
@pytest.mark.parametrize("part", range(PARTS))
def test_every_figure_agrees_with_the_accounts(part: int, tmp_path: Path) -> None:
    for seed in range(part, SEEDS, PARTS):
        outcome = train(seed, tmp_path / str(seed))
        outcome.summary["seed"] = seed
        check(outcome)
