"""The card that the Trainer writes says what the training emitted."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import ModelCard
from transformers import Trainer

from tests.transformers.training import BATCH, trainer_with
from trainwatt_transformers import FootprintCallback


@pytest.fixture
def callback() -> FootprintCallback:
    return FootprintCallback(output_dir=None, zone="FR", verbose=False)


def card_of(trainer: Trainer) -> ModelCard:
    return ModelCard.load(Path(trainer.args.output_dir or "") / "README.md")


def test_a_card_gets_the_emissions_of_the_training_even_after_an_evaluation(
    callback: FootprintCallback, tmp_path: Path
) -> None:
    trainer = trainer_with(tmp_path, callback)
    trainer.train()
    trained = callback.summary
    trainer.evaluate()
    trainer.create_model_card(license="mit", tags=["tiny"])
    card = card_of(trainer)
    emissions = card.data.co2_eq_emissions
    grams = trained["footprint"]["co2e_kg"]["central"] * 1000
    assert emissions["emissions"] == pytest.approx(grams, rel=1e-4)
    assert emissions["geographical_location"] == "France"
    assert "1 x " in emissions["hardware_used"]
    assert "training_type" not in emissions
    assert (card.data.license, "tiny" in card.data.tags) == ("mit", True)


def test_all_else_in_the_card_is_as_without_it(callback: FootprintCallback, tmp_path: Path) -> None:
    with_ours, without = trainer_with(tmp_path / "a", callback), trainer_with(tmp_path / "b")
    for trainer in (with_ours, without):
        trainer.train()
        trainer.create_model_card(model_name="tiny", license="mit")
    ours, theirs = card_of(with_ours), card_of(without)
    data = ours.data.to_dict()
    data.pop("co2_eq_emissions")
    assert data == theirs.data.to_dict()
    assert ours.text.splitlines()[:6] == theirs.text.splitlines()[:6]


def test_a_model_of_the_hub_was_fine_tuned(callback: FootprintCallback, tmp_path: Path) -> None:
    trainer: Any = trainer_with(tmp_path, callback)
    trainer.model.config._name_or_path = "somebody/tiny"
    trainer.train()
    trainer.create_model_card(finetuned_from="somebody/tiny", license="mit")
    assert card_of(trainer).data.co2_eq_emissions["training_type"] == "fine-tuning"


def test_without_a_training_nothing_is_added(callback: FootprintCallback, tmp_path: Path) -> None:
    trainer = trainer_with(tmp_path, callback)
    trainer.evaluate()
    trainer.create_model_card(license="mit")
    assert "co2_eq_emissions" not in card_of(trainer).data.to_dict()


def test_a_card_that_cannot_be_changed_is_left_and_told(
    callback: FootprintCallback, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    class Odd(Trainer):
        def create_model_card(self, *args: Any, **kwargs: Any) -> None:
            (Path(self.args.output_dir or "") / "README.md").write_text("---\n{a: b}\n---\n")

    trainer = trainer_with(tmp_path, callback, cls=Odd)
    trainer.train()
    with caplog.at_level(logging.WARNING, "trainwatt"):
        trainer.create_model_card()
    assert (Path(trainer.args.output_dir or "") / "README.md").read_text() == "---\n{a: b}\n---\n"
    assert any("could not be added" in record.getMessage() for record in caplog.records)


@pytest.mark.parametrize("call", ["evaluate", "predict"])
def test_an_evaluation_by_itself_tells_the_energy_of_a_sample(
    callback: FootprintCallback, tmp_path: Path, call: str
) -> None:
    trainer = trainer_with(tmp_path, callback)
    trainer.evaluate() if call == "evaluate" else trainer.predict(trainer.eval_dataset)  # type: ignore[arg-type]
    summary = callback.summary
    phase = summary["phases"]["validate" if call == "evaluate" else "predict"]
    assert summary["samples"] == 2 * BATCH
    assert summary["sample_j"] == pytest.approx(sum(phase["joules"].values()) / (2 * BATCH))
    prefix = "eval" if call == "evaluate" else "test"
    assert trainer.state.log_history[-1][f"{prefix}_sample_j"] == summary["sample_j"]


def test_an_evaluation_within_a_training_is_none_by_itself(callback: FootprintCallback, tmp_path: Path) -> None:
    trainer_with(tmp_path, callback, eval_strategy="epoch").train()
    assert callback.summary["samples"] is None
