"""Every fault in every framework, at moments that differ: the training is as without us, and the record is whole."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from concurrent.futures import Future
from typing import Any

import pytest

from tests.faults.matrix.faults import CASES
from tests.faults.matrix.programs import programs, tried_and_held
from tests.faults.matrix.trainings import FRAMEWORKS
from tests.support.side_by_side import side_by_side, wanted

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the stand-ins are libraries for Linux")


@pytest.fixture(scope="module")
def matrices(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, Future[Any]]]:
    """Results of all frameworks that are tested."""
    asked = wanted(request, "framework")
    found = programs(tmp_path_factory.mktemp("driver"), at_all_moments=False)
    chosen = {name: program for name, program in found.items() if name in asked}
    with side_by_side(chosen, tmp_path_factory) as futures:
        yield futures


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_no_fault_changes_the_training_or_costs_the_record(framework: str, matrices: dict[str, Future[Any]]) -> None:
    if framework not in matrices:
        pytest.skip(f"{framework} is not installed")
    results = matrices[framework].result()
    missed = {
        f"{fault}, {moment}": found
        for fault, by_moment in results.items()
        for moment, found in by_moment.items()
        if found
    }
    tried, held = tried_and_held(results)
    assert not missed, f"{framework}: tried {tried}, held {held}"
    assert len(results) >= len([case for case in CASES.values() if not case.expected.custom_loop])
