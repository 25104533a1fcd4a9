"""Metadata and contents of the wheel and the sdist, as PyPI shows them."""

from __future__ import annotations

import re
import subprocess
import sys
import tarfile
import zipfile
from email import message_from_string
from email.message import Message
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
REPOSITORY = "https://github.com/trainwatt/trainwatt"
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def dist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    for module in ("build", "hatchling", "hatch_fancy_pypi_readme", "twine"):
        pytest.importorskip(module)
    folder = tmp_path_factory.mktemp("dist")
    for form in ("--sdist", "--wheel"):
        command = [sys.executable, "-m", "build", form, "--no-isolation", "--outdir", str(folder), str(ROOT)]
        run = subprocess.run(command, capture_output=True, text=True, check=False)
        assert run.returncode == 0, run.stderr
    return folder


@pytest.fixture(scope="module")
def metadata(dist: Path) -> Message:
    (wheel,) = dist.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        return message_from_string(archive.read(name).decode())


def targets(markdown: str) -> list[str]:
    """Return the targets of all links and images, written in Markdown or in HTML."""
    prose = re.sub(r"```.*?```|`[^`\n]*`", "", markdown, flags=re.DOTALL)
    inline = re.findall(r"\]\(\s*<?([^)\s>]+)", prose)
    references = re.findall(r"^ {0,3}\[[^\]]+\]:\s*(\S+)", prose, flags=re.MULTILINE)
    return inline + references + re.findall(r"""(?:src|srcset|href)\s*=\s*["']?([^"'\s>]+)""", prose)


def test_every_link_and_image_of_the_description_is_absolute(metadata: Message) -> None:
    found = targets(metadata.get_payload())
    assert len(found) >= len(targets((ROOT / "README.md").read_text(encoding="utf-8"))) > 0
    assert [target for target in found if not target.startswith("https://")] == []


def test_every_link_into_the_repository_names_a_file_of_the_version(metadata: Message) -> None:
    prefix = re.compile(
        rf"https://(?:raw\.githubusercontent\.com/trainwatt/trainwatt|github\.com/trainwatt/trainwatt/blob)"
        rf"/v{re.escape(metadata['Version'])}/([^#]+)"
    )
    files = [match[1] for target in targets(metadata.get_payload()) if (match := prefix.match(target))]
    assert files
    assert [file for file in files if not (ROOT / file).exists()] == []


def test_the_description_has_the_examples_of_the_readme(metadata: Message) -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    shown, written = (re.findall(r"```.*?```", text, flags=re.DOTALL) for text in (metadata.get_payload(), readme))
    assert shown == written


def test_the_projects_pages_are_linked(metadata: Message) -> None:
    urls = dict(url.split(", ") for url in metadata.get_all("Project-URL", []))
    assert set(urls) == {"Homepage", "Documentation", "Changelog", "Issues", "Source"}
    assert [url for url in urls.values() if not url.startswith(REPOSITORY)] == []


def test_the_extras_are_those_for_users(metadata: Message) -> None:
    assert set(metadata.get_all("Provides-Extra", [])) == {"lightning", "keras", "transformers", "completion"}


def test_pypi_accepts_the_files(dist: Path) -> None:
    command = [sys.executable, "-m", "twine", "check", "--strict", *map(str, dist.iterdir())]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout + run.stderr


def test_the_sdist_has_what_its_tests_read(dist: Path) -> None:
    (sdist,) = dist.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        top = {name.split("/")[1] for name in archive.getnames()}
    assert {"benchmarks", "docs", "examples", "standins", "tests", "CONTRIBUTING.md", "README.md"} <= top
