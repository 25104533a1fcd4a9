"""``trainwatt merge``."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from trainwatt import measure
from trainwatt.cli import main
from trainwatt.records.run_folder import read_summary


def run(folder: Path, name: str) -> Path:
    with measure(output_dir=folder, run_name=name, zone="FR", devices="ram", verbose=False) as measured:
        measured.step()
        measured.wait_until_settled()
    return folder / name


def test_two_processes_on_a_host_without_a_launcher_are_counted_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each has measured the host's memory, one after the other here: the times add up, in one device."""
    folders = [run(tmp_path, name) for name in ("a", "b")]
    alone = [read_summary(folder)["total_j"] for folder in folders]
    assert main(["merge", *map(str, folders), "--output", str(tmp_path / "job")]) == 0
    assert "2 of 2 processes" in capsys.readouterr().out
    joined = read_summary(tmp_path / "job")
    assert len(joined["devices"]) == 1
    assert max(alone) < joined["total_j"] <= sum(alone) * (1 + 1e-6)
    assert joined["footprint"]["co2e_kg"]["central"] > 0


def test_merging_again_changes_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folders = [str(run(tmp_path, name)) for name in ("a", "b")]
    main(["merge", *folders, "--json"])
    first = json.loads(capsys.readouterr().out)
    for given in (folders, list(reversed(folders)), [str(tmp_path / "job")]):
        main(["merge", *given, "--json", "--output", str(tmp_path / "job")])
        assert json.loads(capsys.readouterr().out) == first == read_summary(tmp_path / "job")


def files(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_no_run_is_changed_where_no_output_is_given(tmp_path: Path) -> None:
    folders = [str(run(tmp_path, name)) for name in ("a", "b")]
    before = files(tmp_path)
    assert main(["merge", *folders]) == 0
    assert main(["merge", folders[0]]) == 0
    assert files(tmp_path) == before


def test_what_is_no_merge_of_these_runs_is_replaced_only_by_force(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    a, b, c, d = (str(run(tmp_path, name)) for name in "abcd")
    assert main(["merge", a, b, "--output", str(tmp_path / "job")]) == 0
    for name, text in {"no-json": "theirs", "json": '{"status": "theirs"}', "list": "[]"}.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "summary.json").write_text(text)
    others = ["job", "a", "c", "no-json", "json", "list"]
    before = files(tmp_path)
    capsys.readouterr()
    for name in others:
        assert main(["merge", c, d, "--output", str(tmp_path / name)]) == 1
        told = capsys.readouterr().err
        assert f"{tmp_path / name / 'summary.json'} exists" in told
        assert "--force" in told
    assert files(tmp_path) == before
    for name in others:
        assert main(["merge", c, d, "--output", str(tmp_path / name), "--force"]) == 0
        assert read_summary(tmp_path / name)["merged"] is True


def test_a_link_planted_in_the_output_folder_is_not_followed(tmp_path: Path) -> None:
    a, b = (str(run(tmp_path, name)) for name in "ab")
    victim = tmp_path / "victim"
    victim.write_text("theirs")
    (tmp_path / "job").mkdir()
    for name in ("summary.json", "summary.json.new"):
        (tmp_path / "job" / name).symlink_to(victim)
    assert main(["merge", a, b, "--output", str(tmp_path / "job")]) == 1
    assert main(["merge", a, b, "--output", str(tmp_path / "job"), "--force"]) == 0
    assert victim.read_text() == "theirs"
    assert read_summary(tmp_path / "job")["merged"] is True


def resumed(folder: Path, before: Path, zone: str) -> Path:
    with measure(output_dir=folder, run_name="run", zone=zone, devices="ram", verbose=False) as measured:
        measured.load_state_dict(read_summary(before))
        measured.step()
        measured.wait_until_settled()
    assert measured.summary.folder is not None
    return measured.summary.folder


def test_a_resumed_run_that_is_merged_by_itself_stays_as_it_is(tmp_path: Path) -> None:
    first = run(tmp_path, "run")
    second = resumed(tmp_path, first, "SE")
    written = read_summary(second)
    assert main(["merge", str(second), "--output", str(tmp_path / "job")]) == 0
    for _ in range(2):
        joined = read_summary(tmp_path / "job")
        assert joined["total_j"] == pytest.approx(written["total_j"])
        assert sum(sum(span["joules"].values()) for span in joined["phases"].values()) == pytest.approx(
            written["total_j"]
        )
        assert [each["total_j"] for each in joined["attempts"]] == pytest.approx(
            [each["total_j"] for each in written["attempts"]]
        )
        for end, value in written["footprint"]["co2e_kg"].items():
            assert joined["footprint"]["co2e_kg"][end] == pytest.approx(value)
        assert main(["merge", str(tmp_path / "job")]) == 0  # again


def test_attempts_of_one_training_are_merged_as_its_attempts(tmp_path: Path) -> None:
    first = run(tmp_path, "run")
    second = resumed(tmp_path, first, "PL")
    third = resumed(tmp_path, second, "SE")
    written = read_summary(third)
    for given in ([first, second, third], [third, first], [second, third]):
        assert main(["merge", *map(str, given), "--output", str(tmp_path / "job")]) == 0
        joined = read_summary(tmp_path / "job")
        assert joined["total_j"] == pytest.approx(written["total_j"])
        assert [each["site"]["zone"] for each in joined["attempts"]] == ["FR", "PL", "SE"]
        assert joined["footprint"]["co2e_kg"]["central"] == pytest.approx(written["footprint"]["co2e_kg"]["central"])


def test_two_branches_of_one_training_count_what_they_share_once(tmp_path: Path) -> None:
    first = run(tmp_path, "run")
    branches = [resumed(tmp_path, first, "FR") for _ in range(2)]
    assert main(["merge", *map(str, branches), "--output", str(tmp_path / "job")]) == 0
    own_j = [read_summary(each)["attempts"][-1]["total_j"] for each in branches]
    total_j = read_summary(first)["total_j"] + sum(own_j)
    assert read_summary(tmp_path / "job")["total_j"] == pytest.approx(total_j, rel=1e-6)


def test_a_folder_that_is_none_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["merge", str(tmp_path)]) == 1
    assert "no run folder" in capsys.readouterr().err
