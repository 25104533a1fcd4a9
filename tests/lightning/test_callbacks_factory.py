from __future__ import annotations

from pathlib import Path

import pytest

from tests.lightning.training import Classifier, Data, trainer_with
from trainwatt_lightning import FootprintMonitor
from trainwatt_lightning.callbacks_factory import AutoFootprintMonitor


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_without_the_switch_no_trainer_is_touched() -> None:
    assert not [callback for callback in trainer_with().callbacks if isinstance(callback, FootprintMonitor)]


@pytest.mark.parametrize("value", ["1", "true", "ON"])
def test_with_the_switch_every_trainer_is_measured(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, value: str) -> None:
    monkeypatch.setenv("TRAINWATT_LIGHTNING", value)
    trainer_with(max_epochs=1).fit(Classifier(), datamodule=Data())
    assert len(list((tmp_path / "footprint").glob("*/summary.json"))) == 1


@pytest.mark.parametrize(
    ("name", "value"), [("TRAINWATT_ZONE", "XX"), ("TRAINWATT_PUE", "much"), ("TRAINWATT_CARBON_INTENSITY", "-1")]
)
def test_a_mistyped_variable_stops_no_training_that_knows_nothing_of_it(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, name: str, value: str
) -> None:
    monkeypatch.setenv("TRAINWATT_LIGHTNING", "1")
    monkeypatch.setenv(name, value)
    module = Classifier()
    trainer_with(max_epochs=1).fit(module, datamodule=Data())
    assert len(module.losses) == 8
    assert caplog.text.count(name) == 1


def test_a_monitor_of_the_users_own_takes_precedence(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TRAINWATT_LIGHTNING", "1")
    trainer = trainer_with(FootprintMonitor(output_dir="mine", verbose=False), max_epochs=1)
    assert [callback for callback in trainer.callbacks if isinstance(callback, AutoFootprintMonitor)]
    trainer.fit(Classifier(), datamodule=Data())
    assert not (tmp_path / "footprint").exists()
    assert len(list((tmp_path / "mine").glob("*/summary.json"))) == 1
