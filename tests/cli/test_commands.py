from __future__ import annotations

import csv
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import ModelCard

from tests.export.runs import summary_at
from tests.support.run_folders import written
from trainwatt.cli import COMMANDS, main
from trainwatt.site import Site

Capture = pytest.CaptureFixture[str]
FORMATS = ("model-card", "codecarbon", "sci", "markdown", "latex")


@pytest.fixture
def run(tmp_path: Path) -> str:
    return folder_of(tmp_path, summary_at(Site(zone="FR", environ={})))


def folder_of(tmp_path: Path, summary: dict[str, Any]) -> str:
    return str(written(tmp_path / "footprint/run", summary=summary))


def out(capsys: Capture, *arguments: str, code: int = 0) -> str:
    assert main(arguments) == code
    captured = capsys.readouterr()
    return captured.out if code == 0 else captured.err


# all of them


@pytest.mark.parametrize("name", sorted(module.__name__.rpartition(".")[2] for module in COMMANDS))
def test_every_command_has_help_with_an_example_and_can_print_json(name: str, capsys: Capture) -> None:
    with pytest.raises(SystemExit) as stop:
        main([name, "--help"])
    assert stop.value.code == 0
    told = " ".join(capsys.readouterr().out.split())
    assert re.search(f"examples?: trainwatt {name}", told)
    assert "--json" in told


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["nurse"],
        ["export"],
        ["export", "run", "--format", "pdf"],
        ["regions", "--energy", "3.2"],
        ["regions", "--energy", "3 litres"],
        ["regions", "--energy", "-3kWh"],
        ["estimate", "--gpu", "H100", "--hours", "-5"],
        ["estimate", "--gpu", "H100", "--hours", "long"],
        ["estimate", "--gpu", "H100", "--hours", "5", "--count", "0"],
        ["lifetime", "run", "--request-j", "0"],
    ],
)
def test_a_wrong_command_line_is_told_with_exit_code_2(arguments: list[str], capsys: Capture) -> None:
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    assert stop.value.code == 2
    assert "usage: trainwatt" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["regions", "--energy", "1kWh", "--zone", "Frnace"], "did you mean 'FRANCE'"),
        (["regions", "--energy", "1kWh", "--zone", "FR", "--to", "US-CA"], "zone='US-CA'"),
        (
            ["regions", "--energy", "1kWh", "--zone", "FR", "--carbon-intensity", "50"],
            "cannot be compared with other grids",
        ),
        (["estimate", "--gpu", "H200 XL", "--hours", "1"], "did you mean 'H200"),
        (["estimate", "--gpu", "H100", "--hours", "1", "--pue", "0.5"], "pue=0.5: expected a number of at least 1"),
    ],
)
def test_an_argument_that_cannot_be_is_told_with_exit_code_2(arguments: list[str], told: str, capsys: Capture) -> None:
    assert told in out(capsys, *arguments, code=2)


@pytest.mark.parametrize("text", [None, "", "{", "[]", "{}"])
def test_a_run_that_cannot_be_read_is_told_with_exit_code_1(tmp_path: Path, capsys: Capture, text: str | None) -> None:
    if text is not None:
        (tmp_path / "summary.json").write_text(text)
    assert str(tmp_path) in out(capsys, "export", str(tmp_path), "--format", "sci", code=1)


def test_it_is_a_command() -> None:
    command = [sys.executable, "-m", "trainwatt", "regions", "--energy", "3.2kWh", "--zone", "FR", "--to", "PL"]
    assert "Poland" in subprocess.run(command, capture_output=True, text=True, check=True).stdout


# export


@pytest.mark.parametrize("form", FORMATS)
def test_every_form_is_printed_and_as_json(run: str, form: str, capsys: Capture) -> None:
    assert out(capsys, "export", run, "--format", form).strip()
    assert json.loads(out(capsys, "export", run, "--format", form, "--json"))
    assert out(capsys, "export", run + "/summary.json", "--format", form).strip()


def test_a_model_card_is_added_to(run: str, tmp_path: Path, capsys: Capture) -> None:
    card = tmp_path / "README.md"
    card.write_text("---\nlicense: mit\n---\nText\n")
    arguments = ("export", run, "--format", "model-card", "--training-type", "fine-tuning")
    assert out(capsys, *arguments, "--write", str(card)) == ""
    data = ModelCard.load(card).data
    assert data.license == "mit"
    assert data.co2_eq_emissions["training_type"] == "fine-tuning"
    assert ModelCard(out(capsys, *arguments)).data.co2_eq_emissions == data.co2_eq_emissions


def test_a_card_that_cannot_be_changed_safely_is_told(run: str, tmp_path: Path, capsys: Capture) -> None:
    card = tmp_path / "README.md"
    card.write_text("---\n{a: b}\n---\n")
    assert "by hand" in out(capsys, "export", run, "--format", "model-card", "--write", str(card), code=1)
    assert "--write" in out(capsys, "export", run, "--format", "latex", "--write", str(card), code=2)


def test_emissions_are_appended(run: str, tmp_path: Path, capsys: Capture) -> None:
    for project in ("one", "two"):
        out(capsys, "export", run, "--format", "codecarbon", "--project", project, "--write", str(tmp_path / "e.csv"))
    with (tmp_path / "e.csv").open() as lines:
        assert [row["project_name"] for row in csv.DictReader(lines)] == ["one", "two"]


def test_a_score_is_by_what_is_asked_for(run: str, capsys: Capture) -> None:
    score = json.loads(out(capsys, "export", run, "--format", "sci", "--per", "token", "--units", "1e6", "--json"))
    assert (score["unit"], score["units"]) == ("token", 1e6)
    assert "number of tokens" in out(capsys, "export", run, "--format", "sci", "--per", "token", code=2)


# regions


def test_regions_are_ranked_within_one_basis(capsys: Capture) -> None:
    state = json.loads(out(capsys, "regions", "--energy", "3.2kWh", "--zone", "FR", "--json"))
    kg = [region["co2e_kg"]["central"] for region in state["regions"]]
    assert kg == sorted(kg)
    assert {region["factor"]["basis"] for region in state["regions"]} == {
        state["site"]["factors"]["carbon_intensity"]["basis"]
    }
    times = {region["zone"]: region["times"] for region in state["regions"]}
    assert times["FR"] == 1.0
    assert times["PL"] == pytest.approx(592.0 / 41.79, rel=0.01)


def test_the_same_run_in_poland_would_emit_fourteen_times_as_much(capsys: Capture) -> None:
    text = out(capsys, "regions", "--energy", "3200 Wh", "--zone", "FR", "--to", "POL")
    (line,) = [line for line in text.splitlines() if line.startswith("PL")]
    assert " ".join(line.split()).endswith("14 592 2025 Poland")
    assert max(map(len, text.splitlines())) <= 120


@pytest.mark.parametrize("energy", ["3.6MJ", "1kWh", "1000 Wh", "0.001MWh", "1e-6 GWh", "3600kj"])
def test_energy_may_be_in_any_unit(energy: str, capsys: Capture) -> None:
    state = json.loads(out(capsys, "regions", "--energy", energy, "--zone", "FR", "--to", "FR", "--json"))
    assert state["energy_kwh"] == pytest.approx(1.0)


# estimate


def test_an_estimate_says_how_wide_it_is(capsys: Capture) -> None:
    text = out(capsys, "estimate", "--gpu", "H100", "--count", "8", "--hours", "120", "--zone", "FR")
    assert "8 x NVIDIA H100 SXM 80GB" in text
    assert "672 kWh" in text
    assert "before any measurement" in text
    assert "by a factor of" in text
    state = json.loads(out(capsys, "estimate", "--gpu", "H100", "--count", "8", "--hours", "120", "--json"))
    energy = state["energy_kwh"]
    assert energy["high"] / energy["low"] > 4
    assert all(factor["source"] for factor in state["footprint"]["factors"] + state["assumptions"])


def test_known_watts_make_it_exact(capsys: Capture) -> None:
    state = json.loads(out(capsys, "estimate", "--gpu", "any", "--hours", "10", "--watts", "500", "--json"))
    assert state["energy_kwh"] == {"low": 5.0, "central": 5.0, "high": 5.0}


# lifetime


def inference(tmp_path: Path, samples: int | None) -> str:
    summary = summary_at(Site(zone="FR", environ={}))
    summary["phases"] = {"predict": summary["phases"]["train"]}
    return folder_of(tmp_path / "inference", summary | {"samples": samples})


@pytest.mark.parametrize("given", [True, False])
def test_use_takes_as_much_as_training_after_so_many_requests(
    run: str, tmp_path: Path, capsys: Capture, given: bool
) -> None:
    predicted = inference(tmp_path, None if given else 1000)
    arguments = ["lifetime", run, "--inference", predicted, "--expected-requests", "3000"]
    state = json.loads(out(capsys, *arguments, *(["--samples", "1000"] if given else []), "--json"))
    assert state["request_j"] == pytest.approx(36_000_000 / 1000)
    assert state["break_even_requests"] == pytest.approx(1000)
    assert state["training_share"] == pytest.approx(0.25)
    assert "after 1e+03 requests" in out(capsys, "lifetime", run, "--request-j", "36000")


def test_what_a_request_takes_has_to_be_known(run: str, tmp_path: Path, capsys: Capture) -> None:
    assert "--samples" in out(capsys, "lifetime", run, "--inference", inference(tmp_path, None), code=2)
    assert "--inference" in out(capsys, "lifetime", run, code=2)
