from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from trainwatt.cli import COMMANDS, main
from trainwatt.cli.completion import SHELLS

Capture = pytest.CaptureFixture[str]
NAMES = [module.__name__.rpartition(".")[2] for module in COMMANDS]


@pytest.mark.parametrize("shell", SHELLS)
def test_a_shell_gets_its_script(shell: str, capsys: Capture) -> None:
    pytest.importorskip("shtab")
    assert main(["completion", shell]) == 0
    script = capsys.readouterr().out
    assert all(name in script for name in NAMES)
    assert main(["completion", shell, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["shell"] == shell


def test_bash_completes_commands_and_options(tmp_path: Path, capsys: Capture) -> None:
    pytest.importorskip("shtab")
    main(["completion", "bash"])
    script = tmp_path / "trainwatt"
    script.write_text(capsys.readouterr().out)
    ask = f"source {script}; COMP_WORDS=(trainwatt wat); COMP_CWORD=1; _shtab_trainwatt; echo ${{COMPREPLY[@]}}"
    run = subprocess.run(["bash", "-c", ask], capture_output=True, text=True, check=True)
    assert run.stdout.split() == ["watch"]


def test_without_its_package_the_way_to_it_is_told() -> None:
    code = (
        "import sys; sys.modules['shtab'] = None; from trainwatt.cli import main; sys.exit(main(['completion', 'zsh']))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, env=os.environ)
    assert run.returncode == 1
    assert 'pip install "trainwatt[completion]"' in run.stderr
