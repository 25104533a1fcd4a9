"""What is attached to experiment trackers, and that none of them can do harm."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest

from trainwatt import Tracker, measure
from trainwatt.records.recorded_run import Summary
from trainwatt.reporting.artifacts import Attachment, ExperimentTracker, attach, attachment, config_of, found
from trainwatt.reporting.experiment_trackers import comet_takes


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Tracker:
    run = measure(zone="FR", tariff=0.2, output_dir=tmp_path_factory.mktemp("runs"), run_name="run", verbose=False)
    with run:
        sum(range(100_000))
    return run


def test_the_summary_and_where_it_is_written_the_report_are_attached(run: Tracker) -> None:
    folder = run.summary.folder
    assert folder is not None
    (folder / "report.html").unlink(missing_ok=True)
    assert attachment(run.summary).files == (folder / "summary.json",)
    (folder / "report.html").write_text("<html></html>")
    assert attachment(run.summary).files == (folder / "summary.json", folder / "report.html")
    assert "trainwatt: run finished" in attachment(run.summary).text


def test_every_factor_is_told_with_its_source(run: Tracker) -> None:
    config = config_of(run.summary)
    assert (config["zone"], config["place"], config["currency"]) == ("FR", "France", "EUR")
    for name in ("carbon_intensity_g_per_kwh", "pue", "wue_l_per_kwh", "water_of_the_grid_l_per_kwh", "price_per_kwh"):
        assert isinstance(config[name], float)
    sources = [name for name in config if name.endswith("_source")]
    assert len(sources) == 5
    assert all(config[name] for name in sources)
    assert config["price_source"] == "given"
    assert "CPU" not in str(config["hardware"])


def test_a_tracker_that_fails_costs_one_warning(run: Tracker, caplog: pytest.LogCaptureFixture) -> None:
    taken: list[Attachment] = []

    def fails(made: Attachment) -> None:
        raise ConnectionError("no route to the server")

    with caplog.at_level(logging.WARNING, "trainwatt"):
        attach(run.summary, [ExperimentTracker("Nobody", fails), ExperimentTracker("Somebody", taken.append)])
    assert [made.name for made in taken] == ["run"]
    (record,) = caplog.records
    assert "Nobody: no route to the server" in record.getMessage()


def test_looking_for_trackers_cannot_fail(caplog: pytest.LogCaptureFixture) -> None:
    def fails() -> list[ExperimentTracker]:
        raise AttributeError("a version that nobody knows")

    assert found(fails) == []
    assert "a version that nobody knows" in caplog.text


def test_without_a_run_nothing_is_attached() -> None:
    def fails(made: Attachment) -> None:
        raise AssertionError

    attach(Summary(), [ExperimentTracker("Nobody", fails)])


class Experiment:
    """As much of Comet's as is used; its own offline one waits for the network."""

    def __init__(self) -> None:
        self.parameters: dict[str, Any] = {}
        self.assets: dict[str, str] = {}

    def log_parameters(self, parameters: dict[str, Any], prefix: str | None = None, step: int | None = None) -> None:
        self.parameters |= parameters

    def log_asset(self, file_data: str, file_name: str | None = None) -> None:
        self.assets[file_name or ""] = Path(file_data).read_text()


def test_comet_gets_parameters_and_assets(run: Tracker) -> None:
    experiment = Experiment()
    comet_takes(experiment, attachment(run.summary))
    assert experiment.parameters["trainwatt/zone"] == "FR"
    assert '"run": "run"' in experiment.assets["trainwatt/run/summary.json"]
