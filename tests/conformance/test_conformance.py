"""One promise for all: the same trainings in every framework, held to the same figures."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from importlib.util import find_spec
from typing import Any

import pytest

from standins import nvml as standin
from tests.conformance.cases import CASES, FITTED, INFERRED, PROJECTED
from tests.conformance.driver import STEADY_W, WAVE
from tests.support.side_by_side import Program, side_by_side, wanted

FRAMEWORKS = {
    "lightning": ("lightning", {}),
    "keras on tensorflow": ("keras", {"KERAS_BACKEND": "tensorflow"}),
    "keras on torch": ("keras", {"KERAS_BACKEND": "torch"}),
    "keras on jax": ("keras", {"KERAS_BACKEND": "jax"}),
    "transformers": ("transformers", {}),
}
Outcome = dict[str, Any]
LATE_J = 40.0 * 0.05 + 1.0  # before the first refresh and after the last one a board may draw otherwise than in between
BLUR_J = 1.0  # a busy machine sees a refresh some milliseconds late


@pytest.fixture(scope="module")
def trainings(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, Future[Any]]]:
    """The table's trainings, each framework in a process of its own."""
    library = standin.build(tmp_path_factory.getbasetemp() / "nvml")
    programs = {
        name: Program("tests.conformance.driver", [FRAMEWORKS[name][0], str(library)], FRAMEWORKS[name][1])
        for name in wanted(request, "outcomes")
        if find_spec(name.rpartition(" ")[2])
    }
    with side_by_side(programs, tmp_path_factory) as futures:
        yield futures


@pytest.fixture(scope="module", params=FRAMEWORKS)
def outcomes(request: pytest.FixtureRequest, trainings: dict[str, Future[Any]]) -> Callable[[str], Outcome]:
    """What they came to in one framework."""
    if request.param not in trainings:
        pytest.skip(f"{request.param} is not installed")
    results = trainings[request.param].result()

    def outcome(case: str) -> Outcome:
        assert "error" not in results[case], results[case]["error"]
        return dict(results[case])

    return outcome


@pytest.fixture(params=CASES)
def case(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def training(outcome: Outcome) -> Outcome:
    """The run of the (last) training."""
    return [run for run in outcome["runs"] if "train" in run["summary"]["phases"]][-1]


def test_the_phases_are_those_that_there_were(outcomes: Callable[[str], Outcome], case: str) -> None:
    phases = training(outcomes(case))["summary"]["phases"]
    assert set(phases) - {"other", "checkpoint"} == CASES[case].phases
    assert phases["train"]["steps"] == CASES[case].steps
    assert phases.get("validate", {"entries": 0})["entries"] == CASES[case].evaluations


def test_what_follows_a_training_is_a_run_of_its_own(outcomes: Callable[[str], Outcome], case: str) -> None:
    outcome = outcomes(case)
    kinds = [*["run"] * (1 + CASES[case].again), *CASES[case].then]
    assert len(outcome["runs"]) == len(kinds)
    for run, kind in zip(outcome["runs"], kinds, strict=True):
        assert ("train" if kind == "run" else kind) in run["summary"]["phases"]


def test_every_joule_of_the_gpus_is_counted(outcomes: Callable[[str], Outcome], case: str) -> None:
    for run in outcomes(case)["runs"]:
        summary, (true_j, steady_j) = run["summary"], run["truth_j"]
        wave, steady = (device["joules"] for device in summary["devices"])
        assert wave == pytest.approx(true_j, rel=0.01, abs=LATE_J)
        assert steady == pytest.approx(steady_j, rel=0.01, abs=BLUR_J)
        assert summary["total_j"] == pytest.approx(true_j + steady_j, rel=0.01, abs=LATE_J)


def test_every_joule_is_counted_once(outcomes: Callable[[str], Outcome], case: str) -> None:
    for run in outcomes(case)["runs"]:
        summary = run["summary"]
        by_phase = [sum(span["joules"].values()) for span in summary["phases"].values()]
        assert sum(by_phase) == pytest.approx(summary["total_j"], rel=1e-9)
        assert sum(device["joules"] for device in summary["devices"]) == pytest.approx(summary["total_j"], rel=1e-9)
        by_span = [sum(event["joules"].values()) for event in run["events"] if event["event"] == "span"]
        assert sum(by_span) == pytest.approx(summary["total_j"], rel=1e-9)


def test_each_phase_is_charged_for_its_own_time(outcomes: Callable[[str], Outcome], case: str) -> None:
    for run in outcomes(case)["runs"]:
        steady = run["summary"]["devices"][1]["id"]
        for span in run["summary"]["phases"].values():
            expected_j = STEADY_W * span["seconds"]
            assert span["joules"].get(steady, 0.0) == pytest.approx(expected_j, rel=0.01, abs=BLUR_J)


def test_the_names_in_the_log_are_the_same_everywhere(outcomes: Callable[[str], Outcome], case: str) -> None:
    logged, row = outcomes(case)["measured"]["logged"], CASES[case]
    whole_epoch = row.error is None
    expected = FITTED | PROJECTED | ({"energy/validate_kwh"} if row.evaluations else set())
    if whole_epoch:
        assert set(logged["fit"]) == expected
    else:
        assert set(logged["fit"]) <= expected
    for kind in row.then:
        # none of them is called as one of the training's
        assert INFERRED <= set(logged[kind]) <= INFERRED | {"sample_j"}


def test_logged_values_never_contradict_each_other(outcomes: Callable[[str], Outcome], case: str) -> None:
    """Counters are updated each 100 ms, and steps that are logged take half as long."""
    rows = outcomes(case)["measured"]["rows"]
    if not CASES[case].again:
        totals = [row["energy/total_kwh"] for row in rows if "energy/total_kwh" in row]
        assert totals == sorted(totals)
        assert totals[-1:] <= [training(outcomes(case))["summary"]["total_kwh"]]
    for row in rows:
        if "projection/total_kwh" in row:
            ends = [row["projection/total_kwh_low"], row["projection/total_kwh"], row["projection/total_kwh_high"]]
            assert [row["energy/total_kwh"], *ends] == sorted([row["energy/total_kwh"], *ends])
        # A counter's update is located within some per cent of its interval.
        power_w = row.get("energy/power_w", STEADY_W + WAVE.low_w)
        assert 0.9 * (STEADY_W + WAVE.low_w) <= power_w <= 1.1 * (STEADY_W + WAVE.high_w)


def test_after_every_epoch_the_whole_run_is_projected_and_at_its_end_that_is_what_it_took(
    outcomes: Callable[[str], Outcome], case: str
) -> None:
    run, row = training(outcomes(case)), CASES[case]
    projections = [event for event in run["events"] if event["event"] == "projection"]
    made = run["summary"]["epochs"]
    assert list(dict.fromkeys(each["epochs"] for each in projections)) == list(range(1, made + 1))  # news between, too
    assert all(
        each["total_kwh"]["low"] <= each["total_kwh"]["central"] <= each["total_kwh"]["high"] for each in projections
    )
    if made == row.epochs:
        until_then = [each for each in run["events"] if each["event"] == "span" and each["epoch"] < made]
        spent_j = sum(sum(each["joules"].values()) for each in until_then)
        assert projections[-1]["total_kwh"]["central"] * 3.6e6 == pytest.approx(spent_j, rel=0.05, abs=2 * LATE_J)
        assert projections[-1]["remaining_s"] == 0


def test_the_run_folder_is_complete(outcomes: Callable[[str], Outcome], case: str) -> None:
    outcome = outcomes(case)
    assert [run["summary"] for run in outcome["runs"]] == json.loads(json.dumps(outcome["measured"]["summaries"]))
    for run in outcome["runs"]:
        first, *_, last = run["events"]
        expected = CASES[case].status if "train" in run["summary"]["phases"] else "finished"
        assert first["event"] == "start"
        assert (last["event"], last["status"], run["summary"]["status"]) == ("end", expected, expected)
        assert last["total_j"] == run["summary"]["total_j"]


def test_the_training_is_the_same_with_us_and_without(outcomes: Callable[[str], Outcome], case: str) -> None:
    bare, measured = outcomes(case)["bare"], outcomes(case)["measured"]
    assert measured["losses"] == bare["losses"]
    assert measured["weights"] == bare["weights"]
    assert measured["raised"] == bare["raised"]
    assert (bare["raised"] is None) == (CASES[case].error is None)


def test_one_site_serves_every_plugin_and_a_live_source_that_hangs_changes_nothing(
    outcomes: Callable[[str], Outcome],
) -> None:
    placed, plain = outcomes("placed"), outcomes("plain fit")
    site = placed["summary"]["site"]
    assert (site["zone"], site["factors"]["pue"]["value"], site["live"]["share"]) == ("GB", 1.3, 0.0)
    assert "static" in site["factors"]["carbon_intensity"]["note"]
    assert placed["measured"]["losses"] == plain["bare"]["losses"]
    assert placed["measured"]["weights"] == plain["bare"]["weights"]
    assert placed["summary"]["seconds"] < plain["runs"][0]["summary"]["seconds"] + 10
    assert "nothing beside site=" in placed["refused"]
