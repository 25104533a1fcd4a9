from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.run_folders import written
from trainwatt import compare, measure, read_run
from trainwatt.errors import ArgumentError


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two runs, the second of which takes more; and one that was killed at once."""
    folder = tmp_path_factory.mktemp("runs")
    for name, work, score in (("short", 10**5, 0.8), ("long", 10**7, 0.9)):
        with measure(zone="FR", output_dir=folder, run_name=name, verbose=False) as run:
            for _ in run.epochs(1):
                sum(range(work))
            run.metric("val_acc", score / 2)
            run.metric("val_acc", score)
    written(folder / "killed", [{"event": "start", "run": "killed", "began_unix_s": 1.7e9, "pid": -1}])
    return folder


def test_runs_stand_beside_each_other_least_energy_first(folder: Path) -> None:
    comparison = compare([folder / "long", read_run(folder / "short")])
    assert [run.name for run in comparison.runs] == ["short", "long"]
    text = comparison.text()
    for told in ("CO2e", "val_acc", "0.9", "0.8", "France", "finished"):
        assert told in text


def test_a_notebook_shows_them_and_a_frame_holds_them(folder: Path) -> None:
    comparison = compare(folder.iterdir())
    html = comparison._repr_html_()
    assert html.count("<tr>") == 4
    assert "killed" in html
    pytest.importorskip("pandas")
    frame = comparison.to_pandas().set_index("run")
    assert frame.loc["long", "val_acc"] == 0.9
    assert frame.loc["long", "total_kwh"] > frame.loc["short", "total_kwh"]
    assert frame.loc["killed", "status"] == "killed"


def test_what_is_no_list_of_runs_is_told(folder: Path) -> None:
    with pytest.raises(ArgumentError, match="several run folders"):
        compare(str(folder))
    with pytest.raises(ArgumentError, match="at least one"):
        compare([])
    with pytest.raises(FileNotFoundError):
        compare([folder / "nothing"])
