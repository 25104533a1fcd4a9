"""The libraries in a page: their hashes are known, and only a package with the right hash replaces one."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import shutil
import subprocess
import sys
import tarfile
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

import trainwatt.reporting.html as pages

VENDOR = Path(pages.__file__).parent / "vendor"
SCRIPT = Path(__file__).parents[3] / ".ci/update_vendored.py"
pytestmark = pytest.mark.skipif(not SCRIPT.exists(), reason="the script is in the repository only")


def package(content: bytes) -> bytes:
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w:gz") as files:
        entry = tarfile.TarInfo("package/build/vega.min.js")
        entry.size = len(content)
        files.addfile(entry, io.BytesIO(content))
    return archive.getvalue()


@pytest.fixture
def registry() -> Iterator[tuple[str, dict[str, Any]]]:
    """A registry with one package; what it states as its hash can be changed."""
    archive = package(b"// vega 6.4.1\n")
    state = {"integrity": "sha512-" + base64.b64encode(hashlib.sha512(archive).digest()).decode()}

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            address = f"http://127.0.0.1:{server.server_port}/vega.tgz"
            dist = json.dumps({"dist": {"tarball": address, **state}}).encode()
            content = {"/vega/6.4.1": dist, "/vega.tgz": archive}.get(self.path)
            self.send_response(200 if content else 404)
            self.end_headers()
            self.wfile.write(content or b"")

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}", state
        server.shutdown()


def called(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(SCRIPT), "--folder", str(folder), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    return Path(shutil.copytree(VENDOR, tmp_path / "vendor"))


def test_each_file_has_its_hash(copy: Path) -> None:
    known = json.loads((VENDOR / "hashes.json").read_text(encoding="utf-8"))
    assert {each.name for each in VENDOR.glob("*.js")} == set(known)
    for name, each in known.items():
        assert hashlib.sha256((VENDOR / name).read_bytes()).hexdigest() == each["sha256"]
    assert called(copy, "--offline").returncode == 0
    (copy / "vega.min.js").write_bytes(b"// another\n")
    refused = called(copy, "--offline")
    assert refused.returncode == 1
    assert "vega.min.js: its SHA-256 is" in refused.stderr


def test_a_version_is_taken_with_its_hash(copy: Path, registry: tuple[str, dict[str, Any]]) -> None:
    assert called(copy, "vega@6.4.1", "--registry", registry[0]).returncode == 0
    assert (copy / "vega.min.js").read_bytes() == b"// vega 6.4.1\n"
    known = json.loads((copy / "hashes.json").read_text(encoding="utf-8"))["vega.min.js"]
    assert known["version"] == "6.4.1"
    assert known["sha256"] == hashlib.sha256(b"// vega 6.4.1\n").hexdigest()


@pytest.mark.parametrize("integrity", ["sha512-AAAA", "sha1-AAAA", None])
def test_a_package_with_another_hash_changes_nothing(
    integrity: str | None, copy: Path, registry: tuple[str, dict[str, Any]]
) -> None:
    before = {each.name: each.read_bytes() for each in copy.iterdir()}
    registry[1]["integrity"] = integrity
    refused = called(copy, "vega@6.4.1", "--registry", registry[0])
    assert refused.returncode == 1
    assert "the registry states" in refused.stderr
    assert {each.name: each.read_bytes() for each in copy.iterdir()} == before
    assert called(copy, "jquery@3.0.0", "--registry", registry[0]).returncode == 1
    assert called(copy, "vega@1.0.0", "--registry", registry[0]).returncode == 1
