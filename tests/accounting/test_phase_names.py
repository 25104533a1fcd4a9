from __future__ import annotations

from enum import Enum

import numpy as np
import pytest

from trainwatt.accounting.phase_names import checked_epoch, checked_label, checked_phase
from trainwatt.accounting.timeline import PHASES
from trainwatt.errors import ArgumentError


class Stage(str, Enum):
    """Stages as a framework names them."""

    TRAINING = "train"


@pytest.mark.parametrize("phase", PHASES)
def test_every_phase_has_its_own_name(phase: str) -> None:
    assert checked_phase(phase) == phase


def test_a_member_of_an_enumeration_is_the_phase_that_it_names() -> None:
    phase = checked_phase(Stage.TRAINING)
    assert type(phase) is str
    assert {"train": 1}[phase] == 1


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("eval", "validate"),
        ("Evaluation", "validate"),
        ("val", "validate"),
        ("validation", "validate"),
        ("vaildate", "validate"),
        ("training", "train"),
        ("TRAIN", "train"),
        ("fit", "train"),
        ("inference", "predict"),
        ("testing", "test"),
        ("save", "checkpoint"),
        ("sanity check", "sanity_check"),
    ],
)
def test_another_name_of_a_phase_is_told_with_the_right_one(given: str, meant: str) -> None:
    with pytest.raises(ArgumentError, match=f'did you mean "{meant}"') as error:
        checked_phase(given)
    assert (error.value.argument, error.value.given) == ("phase", given)
    assert all(f'"{phase}"' in str(error.value) for phase in PHASES)


@pytest.mark.parametrize("given", ["load data", "", None, 3, ["train"], np.zeros(2)])
def test_what_is_no_phase_is_told_with_how_to_name_a_part(given: object) -> None:
    with pytest.raises(ArgumentError, match=r"use run\.part\('") as error:
        checked_phase(given)
    assert "did you mean" not in str(error.value)


def test_the_number_of_an_epoch_is_a_whole_number_of_any_library() -> None:
    assert [checked_epoch(each) for each in (None, 0, 7, -1, np.int64(3))] == [None, 0, 7, -1, 3]
    for given in (1.5, "1", [1]):
        with pytest.raises(ArgumentError, match=r"epoch=.*whole number"):
            checked_epoch(given)


def test_the_name_of_a_part_is_one_short_line() -> None:
    assert checked_label("data loading") == "data loading"
    assert checked_label(" a\n\tb\x1b[31m ") == "a b [31m"
    long = checked_label("x" * 1000)
    assert (len(long), long[-4:]) == (64, "x...")
    for given in (None, "", " \n", 3):
        with pytest.raises(ArgumentError, match="name="):
            checked_label(given)
