"""A command that writes a file destroys none that is not from trainwatt, unless it is told to, and follows no link."""

from __future__ import annotations

from pathlib import Path

import pytest

from trainwatt import measure
from trainwatt.cli import main

CARD = b"---\nlicense: mit\nco2_eq_emissions:\n  emissions: 3.2\n  source: AutoTrain\n---\nmine\n"
# The command line, the file that it writes, and content of it that is not ours.
COMMANDS: dict[str, tuple[str, str, bytes]] = {
    "report": ("report a", "a/report.html", b"<p>mine"),
    "report --write": ("report a --write page.html", "page.html", b"<p>mine"),
    "report of several": ("report a b", "comparison.html", b"<p>mine"),
    "compare": ("compare a b --write page.html", "page.html", b"\x00\xff"),
    "model card": ("export a --format model-card --write README.md", "README.md", CARD),
    "codecarbon": ("export a --format codecarbon --write notes.csv", "notes.csv", b"date,note\n1,2\n"),
    "codecarbon of no CSV": ("export a --format codecarbon --write model.bin", "model.bin", b"\x00\xff\x00" * 99),
    "merge": ("merge a b --output job", "job/summary.json", b'{"status": "mine"}'),
    "merge onto a run": ("merge a b --output b", "b/summary.json", b""),
}


@pytest.fixture
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name in ("a", "b"):
        with measure(output_dir=".", run_name=name, zone="FR", devices="ram", verbose=False) as run:
            for _ in run.epochs(1):
                run.step()
            run.wait_until_settled()
    return tmp_path


@pytest.mark.parametrize("name", COMMANDS)
def test_a_file_that_is_not_ours_is_destroyed_only_by_force(
    name: str, runs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    line, written, theirs = COMMANDS[name]
    file = runs / written
    file.parent.mkdir(exist_ok=True)
    if theirs:
        file.write_bytes(theirs)
    theirs = file.read_bytes()
    assert main(line.split()) == 1
    told = capsys.readouterr().err
    assert file.name in told
    assert "--force" in told
    assert file.read_bytes() == theirs
    assert main([*line.split(), "--force"]) == 0
    assert file.read_bytes() != theirs
    assert not [each for each in runs.rglob(".*") if each.is_file()]


@pytest.mark.parametrize("name", [name for name in COMMANDS if name != "merge onto a run"])
def test_a_file_of_ours_is_written_again_without_asking(name: str, runs: Path) -> None:
    line, written, _ = COMMANDS[name]
    (runs / written).unlink(missing_ok=True)
    for _ in range(2):
        assert main(line.split()) == 0
        assert (runs / written).stat().st_size > 0


@pytest.mark.parametrize("name", [name for name in COMMANDS if name != "merge onto a run"])
def test_a_link_in_its_place_or_in_that_of_a_temporary_file_is_not_followed(name: str, runs: Path) -> None:
    line, written, theirs = COMMANDS[name]
    file, victim = runs / written, runs / "victim"
    file.parent.mkdir(exist_ok=True)
    victim.write_bytes(theirs)
    file.unlink(missing_ok=True)
    for link in (file, file.with_name(file.name + ".new"), file.with_name(f".{file.name}.new")):
        link.symlink_to(victim)
    for more in ([], ["--force"]):
        main([*line.split(), *more])
        assert victim.read_bytes() == theirs


def test_emissions_of_another_version_are_kept_aside_without_asking(runs: Path) -> None:
    (runs / "emissions.csv").write_text("run_id,emissions,old\n1,2,3\n")
    assert main(["export", "a", "--format", "codecarbon", "--write", "emissions.csv"]) == 0
    assert (runs / "emissions.csv.bak").read_text() == "run_id,emissions,old\n1,2,3\n"


def test_all_of_a_card_but_our_own_entry_is_kept_without_asking(runs: Path) -> None:
    (runs / "README.md").write_bytes(b"---\nlicense: mit\n---\nmine\n")
    for _ in range(2):
        assert main(["export", "a", "--format", "model-card", "--write", "README.md"]) == 0
    text = (runs / "README.md").read_text()
    assert text.startswith("---\nlicense: mit\nco2_eq_emissions:\n")
    assert text.endswith("---\nmine\n")
