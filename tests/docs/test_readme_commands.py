"""Configuration file and commands of the README, checked."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from trainwatt.cli import main
from trainwatt.site import Site

README = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
COMMANDS = re.findall(r"^(?:\$ )?trainwatt ((?:regions|estimate) .*?)(?:  #.*)?$", README, re.MULTILINE)


def test_the_file_for_a_cluster_can_be_read(tmp_path: Path) -> None:
    (tmp_path / "trainwatt.toml").write_text(re.findall(r"```toml\n(.*?)```", README, flags=re.DOTALL)[0])
    site = Site(environ={"TRAINWATT_CONFIG": str(tmp_path / "trainwatt.toml")})
    assert (site.zone, site.pue.value) == ("FR", 1.2)
    assert site.live is not None
    assert site.market is not None


@pytest.mark.parametrize("line", COMMANDS)
def test_a_command_does_what_it_is_said_to(line: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(shlex.split(line)) == 0
    printed = capsys.readouterr().out
    if line.startswith("regions"):
        shown = README.partition(line)[2].partition("```")[0].strip()
        assert shown in printed


@pytest.mark.parametrize("name", re.findall(r"^trainwatt (\w+)", README, re.MULTILINE))
def test_every_command_is_there(name: str) -> None:
    with pytest.raises(SystemExit) as stop:
        main([name, "--help"])
    assert stop.value.code == 0
