from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from importlib.util import find_spec
from typing import Any

import pytest

from standins import nvml as standin
from tests.support.side_by_side import Program, side_by_side, wanted

BATCHES, VAL_BATCHES, BATCH = 8, 2, 16
FITTED = {
    "energy/total_kwh",
    "energy/epoch_kwh",
    "energy/train_kwh",
    "energy/validate_kwh",
    "energy/power_w",
    "energy/step_j",
    "energy/measured_share",
    "footprint/co2e_kg",
    "footprint/water_l",
}
PROJECTED = {
    "projection/total_kwh",
    "projection/total_kwh_low",
    "projection/total_kwh_high",
    "projection/co2e_kg",
    "projection/remaining_s",
}
INFERRED = {"energy_kwh", "power_w", "step_j", "sample_j", "measured_share", "co2e_kg", "water_l"}
Results = Callable[[str], Any]

pytestmark = pytest.mark.skipif(find_spec("keras") is None, reason="needs Keras")


@pytest.fixture(scope="session", params=["tensorflow", "torch", "jax"])
def backend(request: pytest.FixtureRequest) -> str:
    if find_spec(request.param) is None:
        pytest.skip(f"{request.param} is not installed")
    return str(request.param)


@pytest.fixture(scope="session")
def scenarios(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, Future[Any]]]:
    """All scenarios; each backend is imported once, in a process of its own."""
    library = standin.build(tmp_path_factory.getbasetemp() / "nvml")
    programs = {
        name: Program("tests.keras.scenarios", [str(library)], {"KERAS_BACKEND": name})
        for name in wanted(request, "backend")
        if find_spec(name)
    }
    with side_by_side(programs, tmp_path_factory) as futures:
        yield futures


@pytest.fixture(scope="session")
def results(backend: str, scenarios: dict[str, Future[Any]]) -> Results:
    """What the scenarios of a backend came to."""
    all_results = scenarios[backend].result()

    def result(name: str) -> Any:
        outcome = all_results[name]
        assert "error" not in outcome, outcome["error"]
        return outcome["result"]

    return result


def entries(summary: dict[str, Any]) -> dict[str, int]:
    return {phase: span["entries"] for phase, span in summary["phases"].items()}


def assert_adds_up(summary: dict[str, Any]) -> None:
    by_phase = sum(sum(span["joules"].values()) for span in summary["phases"].values())
    assert by_phase == pytest.approx(summary["total_j"])
    assert sum(device["joules"] for device in summary["devices"]) == pytest.approx(summary["total_j"])
    assert sum(span["seconds"] for span in summary["phases"].values()) == pytest.approx(summary["seconds"])
    assert summary["total_j"] > 0


def test_importing_the_plugin_imports_no_other_framework(results: Results, backend: str) -> None:
    loaded = results("imports")
    assert loaded["ours"] == loaded["keras"]  # with JAX installed, Keras itself imports it
    assert backend in loaded["ours"]


def test_a_wrong_argument_is_told_at_construction(results: Results) -> None:
    assert "interval" in results("bad_argument")


def test_fit_is_measured_phase_by_phase(results: Results) -> None:
    summary = results("plain_fit")["summary"]
    expected = {"setup": 1, "train": 3, "validate": 3, "checkpoint": 3}
    assert entries(summary) | {"other": 0} == expected | {"other": 0}
    assert summary["phases"]["train"]["steps"] == 3 * BATCHES
    assert summary["phases"]["validate"]["steps"] == 0
    assert summary["status"] == "finished"
    assert summary["epochs"] == 3
    assert_adds_up(summary)


def test_the_run_folder_holds_what_the_summary_holds(results: Results) -> None:
    fit = results("plain_fit")
    assert fit["folder"] == fit["summary"]
    assert [fit["events"][0]["event"], fit["events"][-1]["event"]] == ["start", "end"]
    spans = [event for event in fit["events"] if event["event"] == "span"]
    assert {(each["epoch"], each["phase"]) for each in spans} >= {
        (e, p) for e in range(3) for p in ("train", "validate")
    }
    assert sum(sum(each["joules"].values()) for each in spans) == pytest.approx(fit["summary"]["total_j"])


def test_values_are_in_the_history(results: Results) -> None:
    fit = results("plain_fit")
    assert set(fit["history"]) >= FITTED | {"loss", "accuracy", "val_loss", "val_accuracy"}
    assert {len(values) for values in fit["history"].values()} == {3}
    totals = fit["history"]["energy/total_kwh"]
    assert 0 < totals[0] < totals[1] < totals[2] < 1.2 * fit["summary"]["total_kwh"]


def test_callbacks_listed_before_get_the_values_too(results: Results) -> None:
    outcome = results("last_in_the_list")
    assert all(set(epoch) >= FITTED for epoch in outcome["recorded"])
    assert outcome["best"] == outcome["recorded"][0]["energy/total_kwh"] > 0


def test_csv_columns_hold_in_every_epoch_whichever_are_evaluated(results: Results) -> None:
    rows = results("last_in_the_list")["rows"]
    assert len(rows) == 4
    assert all(float(row[name]) >= 0 for row in rows for name in FITTED)
    validated = [float(row["energy/validate_kwh"]) > 0 for row in rows]
    assert validated == [False, True, False, True]


@pytest.mark.parametrize("backend", ["tensorflow"], indirect=True)  # by which Keras writes for TensorBoard
def test_values_are_in_tensorboard(results: Results) -> None:
    outcome = results("last_in_the_list")
    assert set(outcome["scalars"]) >= {f"epoch_{name}" for name in FITTED}
    written = outcome["scalars"]["epoch_energy/total_kwh"]
    assert written == pytest.approx([epoch["energy/total_kwh"] for epoch in outcome["recorded"]])


def test_all_other_callbacks_keep_their_order(results: Results) -> None:
    outcome = results("other_callbacks_keep_their_order")
    assert outcome["order"] == ["begin a", "begin b", "begin c", "epoch a", "epoch b", "epoch c"]
    assert outcome["list as it was"]


def test_the_progress_bar_ends_an_epoch_with_one_figure_of_ours_if_wanted(results: Results) -> None:
    lines = results("progress_bar")
    assert len(lines["True"]) == len(lines["False"]) == 2
    assert all(
        re.search(r" - (J|Wh): [0-9.]+( of [0-9.]+)?$", line) and "energy/" not in line for line in lines["True"]
    )
    assert not any(
        " - J:" in line or " - Wh:" in line or "energy/" in line or "footprint/" in line for line in lines["False"]
    )


def test_a_progress_bar_of_the_users_is_left_as_it_was(results: Results) -> None:
    outcome = results("the_users_own_bar_is_left_as_it_was")
    assert re.search(" - (J|Wh): ", outcome["text"])
    assert outcome["left"] == []


def test_training_and_inference_are_the_same_with_and_without(results: Results) -> None:
    without, ours = results("the_same_training")
    assert without == ours


def test_asynchronous_dispatch_stays_as_it_is_without_us(results: Results, backend: str) -> None:
    without, ours = results("asynchronous_dispatch")
    assert without == ours == [backend != "tensorflow"] * 3
    fitted = results("asynchronous_fit")
    assert fitted["seen"][0] == fitted["seen"][1] == [backend != "tensorflow"] * 3
    assert fitted["steps"] == BATCHES


@pytest.mark.parametrize("bar", ["no bar", "a bar", "a line an epoch"])
def test_keras_waits_for_the_device_as_often_as_without_us(results: Results, bar: str) -> None:
    found = results("waits_for_the_device_with_bars")[bar]
    assert found["a monitor and a stopper"] == found["bare"]
    assert found["without our figures on the bar"] == found["bare"]


def test_a_callback_that_looks_at_each_batch_is_counted(results: Results, backend: str) -> None:
    found = results("waits_for_the_device")
    assert found["ours"] == found["bare"]
    if backend != "tensorflow":  # with which Keras looks at each batch anyway
        more = found["a look at each batch"]["training thread"] - found["bare"]["training thread"]
        assert more >= 2 * BATCHES


@pytest.mark.parametrize(
    ("case", "epochs", "steps", "evaluations"),
    [
        ("steps per execution", 2, 2 * BATCHES, 2),
        ("jit", 2, 2 * BATCHES, 2),
        ("eager", 2, 2 * BATCHES, 2),
        ("generator", 1, BATCHES, 1),
        ("generator with steps", 2, 10, 2),
        ("endless dataset", 2, 10, 2),
        ("initial epoch", 2, 2 * BATCHES, 2),
        ("validation freq", 5, 5 * BATCHES, 2),
        ("validation split", 2, 2 * BATCHES * 3 // 4, 2),
        ("no validation", 2, 2 * BATCHES, 0),
        ("validation steps", 2, 2 * BATCHES, 2),
        ("one step", 2, 2, 2),
        ("stop in an epoch", 1, 5, 1),
        ("stop after an epoch", 1, BATCHES, 1),
    ],
)
def test_the_options_of_fit_are_respected(
    results: Results, case: str, epochs: int, steps: int, evaluations: int
) -> None:
    outcome = results("options")[case]
    assert (outcome["epochs"], outcome["steps"], outcome["evaluations"]) == (epochs, steps, evaluations)
    assert_adds_up(outcome["summary"])


def test_epochs_have_the_numbers_that_keras_gives_them(results: Results) -> None:
    assert [each["epoch"] for each in results("epoch_numbers")] == [3, 4]


def test_parts_of_ones_own_are_counted_in_their_phase(results: Results) -> None:
    summary = results("parts")
    part = summary["phases"]["train"]["labels"]["augmentation"]
    assert part["entries"] == 2 * BATCHES
    assert 0.01 * part["entries"] <= part["seconds"] < summary["phases"]["train"]["seconds"]
    assert_adds_up(summary)


@pytest.mark.parametrize(
    ("case", "error", "status"),
    [
        ("exception", "ZeroDivisionError('in step 7')", "failed"),
        ("interrupt", "KeyboardInterrupt()", "interrupted"),
    ],
)
def test_a_fit_that_is_cut_short_leaves_its_totals_and_the_next_starts_clean(
    results: Results, case: str, error: str, status: str
) -> None:
    outcome = results(case)
    assert outcome["raised"] == error
    assert outcome["while handled"] == status
    assert outcome["summary"] == outcome["folder"]
    assert outcome["summary"]["status"] == status
    assert outcome["summary"]["phases"]["train"]["steps"] == 6
    assert_adds_up(outcome["summary"])
    assert outcome["left on the model"] == []
    assert outcome["next"]["run"] == "run-2"
    assert outcome["next"]["status"] == "finished"
    assert outcome["next"]["phases"]["train"]["steps"] == 2 * BATCHES


@pytest.mark.parametrize("where", ["validation", "evaluate", "predict"])
def test_an_exception_in_an_evaluation_or_a_prediction_ends_the_run(results: Results, where: str) -> None:
    assert results("exceptions_elsewhere")[where] == ["ZeroDivisionError", "failed"]


def test_an_exception_that_a_callback_handles_ends_nothing(results: Results) -> None:
    outcome = results("an_error_that_a_callback_handles_ends_nothing")
    assert outcome["summary"]["status"] == "finished"
    assert (outcome["epochs"], outcome["steps"]) == (2, 2 * BATCHES)


@pytest.mark.parametrize("phase", ["test", "predict"])
def test_inference_by_itself_is_a_run_with_energy_per_step_and_sample(results: Results, phase: str) -> None:
    outcome = results("inference")
    summary = outcome[phase]
    assert summary["run"] == f"run-{phase}"
    assert set(entries(summary)) <= {phase, "other"}
    assert entries(summary)[phase] == 1
    assert summary["phases"][phase]["steps"] == 4
    assert_adds_up(summary)
    logs = outcome["logs"][0 if phase == "test" else 1]
    assert set(logs) >= {f"{phase}/{name}" for name in INFERRED}
    assert not [name for name in logs if name.startswith(("energy/", "footprint/", "projection/"))]
    assert 0 < logs[f"{phase}/energy_kwh"] <= summary["total_kwh"] * 1.05  # the last moments are carried on
    assert logs[f"{phase}/step_j"] == pytest.approx(logs[f"{phase}/sample_j"] * BATCH)


def test_energy_of_a_sample_is_absent_where_their_number_is_not_known(results: Results) -> None:
    logs = results("inference")["logs"][-1]
    assert results("inference")["unknown"]["phases"]["predict"]["steps"] == 3
    assert "predict/step_j" in logs
    assert "predict/sample_j" not in logs


def test_the_summary_of_an_evaluation_comes_after_its_progress_bar(results: Results) -> None:
    bar, summary = results("inference_prints").split("trainwatt: ")
    assert "loss: " in bar
    assert re.search(" - (J|Wh): ", bar)
    assert "loss: " not in summary


def test_checkpoints_are_charged_in_whichever_hook_they_are_written(results: Results) -> None:
    outcome = results("checkpoints")
    by_epoch, by_batch = 2, 2 * BATCHES // 4
    assert entries(outcome["summary"])["checkpoint"] == by_epoch + by_batch
    assert outcome["left"] == []
    assert_adds_up(outcome["summary"])


def test_a_training_that_is_restored_goes_on_with_its_epochs(results: Results) -> None:
    outcome = results("backup_and_restore")
    error, first = outcome["first"]
    assert (error, first["status"], first["epochs"]) == ("ZeroDivisionError", "failed", 2)
    assert outcome["second"]["status"] == "finished"
    assert outcome["epochs"] == [-1, 2, 3]


@pytest.mark.parametrize("crash", [1, 2, 3])
def test_a_crashed_training_goes_on_with_all_that_it_took(results: Results, crash: int) -> None:
    outcome = results("resumed")[crash - 1]
    before, after = outcome["second"]["attempts"]
    assert (before["run"], before["status"], after["run"]) == ("run", "failed", "run-2")
    assert before["total_j"] == pytest.approx(outcome["first"]["total_j"])
    assert outcome["second"]["total_j"] == pytest.approx(before["total_j"] + after["total_j"])
    assert 0 < before["lost_j"] < before["total_j"]
    made = outcome["second"]["phases"]["train"]["steps"] - 4 * BATCHES
    assert made == outcome["first"]["phases"]["train"]["steps"] - crash * BATCHES
    assert 1 <= made <= 3
    assert not outcome["left"]


def test_a_training_of_another_day_may_be_counted_on(results: Results) -> None:
    outcome = results("resumed_by_hand")
    before, after = outcome["second"]["attempts"]
    assert before["total_j"] == outcome["first"]["total_j"]
    assert outcome["second"]["total_j"] == pytest.approx(before["total_j"] + after["total_j"])
    assert outcome["second"]["phases"]["train"]["steps"] == 4 * BATCHES


def test_monitors_measure_each_for_itself_and_can_be_copied(results: Results) -> None:
    outcome = results("several")
    assert [outcome["a"]["run"], outcome["b"]["run"]] == ["a", "b"]
    assert outcome["folders"] == ["a", "a-2", "b"]
    assert_adds_up(outcome["a"])
    assert_adds_up(outcome["b"])
    assert all(set(epoch) >= FITTED for epoch in outcome["logs"])


def test_classes_of_ones_own_work(results: Results) -> None:
    outcome = results("own_classes")
    assert outcome["summary"]["status"] == "finished"
    assert set(outcome["logs"][0]) >= FITTED - {"energy/validate_kwh"}


def test_a_loop_of_ones_own_with_keras_callbacks_is_measured(results: Results) -> None:
    outcome = results("a_loop_of_ones_own")
    assert outcome["summary"]["status"] == "finished"
    assert outcome["summary"]["phases"]["train"]["steps"] == 2
    assert set(outcome["logs"][0]) >= FITTED - {"energy/validate_kwh"}


def test_a_list_that_is_not_keras_own_is_told_that_order_matters(results: Results) -> None:
    assert results("called_by_something_else") == [
        "trainwatt: values reach only the callbacks that are called after FootprintMonitor; call it first"
    ]


def test_keras_methods_are_wrapped_once_and_look_as_they_did(results: Results) -> None:
    outcome = results("wrapped_once")
    assert outcome == {"signature": True, "wraps": 1, "wrong call": "TypeError"}


def test_a_projection_and_a_summary_are_printed_and_a_quiet_monitor_prints_nothing(results: Results) -> None:
    outcome = results("one_summary")
    assert outcome["printed"].count("trainwatt:") == 2
    assert "France" in outcome["printed"]
    assert outcome["quiet"] == ""


def lines_of(printed: str) -> list[str]:
    return [line for line in printed.splitlines() if "whole run" in line]


def test_what_is_planned_is_what_happens(results: Results) -> None:
    outcomes = results("plans")
    assert [outcome["planned"] for outcome in outcomes] == [outcome["made"] for outcome in outcomes]
    assert [outcome["batches"] for outcome in outcomes] == [VAL_BATCHES] * 4 + [1, BATCHES // 4, None]


def test_a_training_is_projected_from_its_first_epoch_on(results: Results) -> None:
    outcome = results("projected")
    assert all(set(row) >= PROJECTED and row["projection/total_kwh"] for row in outcome["rows"])
    for row in outcome["rows"]:
        low, central, high = (float(row[f"projection/total_kwh{end}"]) for end in ("_low", "", "_high"))
        assert float(row["energy/total_kwh"]) <= low * (1 + 1e-6) <= central * (1 + 2e-6) <= high * (1 + 3e-6)
    last = outcome["rows"][-1]
    assert float(last["projection/total_kwh"]) == pytest.approx(float(last["energy/total_kwh"]))
    assert lines_of(outcome["printed"])[0].startswith("trainwatt: epoch 1 of 3; whole run about ")
    assert [event["epochs"] for event in outcome["events"]] == [1, 2, 3]
    assert outcome["summary"]["projection"]["remaining_s"] == 0


def test_a_projection_has_a_line_of_its_own_below_the_progress_bar(results: Results) -> None:
    assert "\ntrainwatt: epoch 1" in results("projected")["printed"]


def test_a_projection_after_some_steps_may_be_asked_for(results: Results, backend: str) -> None:
    outcome = results("projected_by_steps_executed_at_once")
    events = [event["steps"] for event in outcome["events"] if event["event"] == "projection"]
    assert events == [6 if backend == "torch" else 8, 8, 16, 24]
    assert lines_of(outcome["printed"])[0].startswith(f"trainwatt: step {events[0]} of 24; whole run about ")


def test_the_length_of_an_epoch_is_known_after_the_first_and_early_stopping_is_told(results: Results) -> None:
    outcome = results("projected_without_a_known_length")
    assert [event["steps"] for event in outcome["events"] if event["event"] == "projection"] == [8, 16, 24]
    assert lines_of(outcome["printed"])[0].startswith("trainwatt: epoch 1 of 3; whole run about ")
    assert lines_of(outcome["printed"])[0].endswith("; if it runs to the end")


def test_projections_may_be_turned_off(results: Results) -> None:
    outcome = results("projected_never")
    assert lines_of(outcome["printed"]) == []
    assert not PROJECTED & set(outcome["history"])


def test_a_training_on_the_cpu_computes_on_no_accelerator(results: Results) -> None:
    assert not results("devices")["accelerators"]


def test_a_training_takes_what_its_gpu_draws(results: Results) -> None:
    outcome = results("truth")
    summary = outcome["summary"]
    assert summary["total_j"] == pytest.approx(250 * summary["seconds"], rel=0.01)
    assert summary["measured_share"] == 1.0
    assert outcome["history"]["energy/power_w"][1:] == pytest.approx([250.0] * 3, rel=0.03)
