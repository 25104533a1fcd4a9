from __future__ import annotations

import pytest

from tests.reporting.html.pages import Page, loads
from tests.reporting.html.runs import killed, trained
from trainwatt import measure, read_run
from trainwatt.errors import ArgumentError
from trainwatt.records.recorded_run import RecordedRun
from trainwatt.reporting.html import comparison_page, report


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[RecordedRun]:
    folder = tmp_path_factory.mktemp("footprint")
    trained(folder, "small", 0.6, work=1_000)
    trained(folder, "large", 0.9, work=300_000)
    trained(folder, "wasteful", 0.7, work=600_000)
    killed(trained(folder, "killed", 0.5, work=700_000))
    with measure(zone="FR", output_dir=folder, run_name="without", verbose=False):
        sum(range(1000))
    return [read_run(each) for each in folder.iterdir()]


def test_runs_that_another_betters_are_not_on_the_front(runs: list[RecordedRun]) -> None:
    page = Page(report(runs))
    assert page.wrong == []
    assert loads(page) == []
    rows = {row["run"]: row for row in page.charts["comparison"]["data"]["values"]}
    assert set(rows) == {"small", "large", "wasteful", "killed"}
    assert {name for name, row in rows.items() if row["front"]} == {"small", "large"}
    assert rows["large"]["value"] == pytest.approx(0.9, abs=0.02)


def test_all_runs_stand_in_a_table_to_sort(runs: list[RecordedRun]) -> None:
    page = Page(report(runs))
    assert any("data-sortable" in table for table in page.of("table"))
    for told in ("Comparison of 5 runs", "without", "killed", "France", "best val_acc"):
        assert told in page.text
    ordered = [float(str(each["data-order"])) for each in page.of("td") if "data-order" in each]
    assert len(ordered) > 20


def test_the_metric_may_be_chosen(runs: list[RecordedRun]) -> None:
    rows = Page(comparison_page(runs, "val_loss")).charts["comparison"]["data"]["values"]
    assert {row["run"] for row in rows if row["front"]} == {"small", "large"}
    with pytest.raises(ArgumentError, match="one of val_acc, val_loss"):
        comparison_page(runs, "f1")


def test_runs_without_a_metric_are_compared_by_what_they_took(runs: list[RecordedRun]) -> None:
    bare = [run for run in runs if run.name == "without"]
    page = Page(comparison_page(bare * 2))
    assert "None of these runs has recorded a metric" in page.text
    assert page.charts == {}
