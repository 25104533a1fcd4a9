#!/usr/bin/env python
"""Check the libraries that a report contains, or replace them by other versions.

Without arguments, each file is compared with its hash in hashes.json, and with the file in its package. With arguments
such as ``vega@6.4.1``, a file is replaced by that of the version, and hashes.json is brought along. A package is used
only if it has the SHA-512 that the registry states for it.

Exit codes: 0 success, 1 a hash is wrong or a package cannot be fetched.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import io
import json
import sys
import tarfile
import urllib.request
from pathlib import Path
from typing import Any

REGISTRY = "https://registry.npmjs.org"
VENDOR = Path(__file__).parents[1] / "src/trainwatt/reporting/html/vendor"
_MOST_BYTES = 64 * 2**20
_PATIENCE_S = 60


class HashError(Exception):
    """A file or package that is not what its hash says."""


def fetched(url: str) -> bytes:
    """Return what an address holds.

    Raises:
        OSError: it cannot be fetched.
        HashError: it is larger than any package.
    """
    with urllib.request.urlopen(url, timeout=_PATIENCE_S) as answer:  # noqa: S310  # the registry's own address
        content: bytes = answer.read(_MOST_BYTES + 1)
    if len(content) > _MOST_BYTES:
        raise HashError(f"{url}: larger than any package of ours")
    return content


def member(package: str, version: str, path: str, registry: str) -> bytes:
    """Return a file of a package, after the hash of the package was verified.

    Raises:
        OSError: the package cannot be fetched.
        HashError: its SHA-512 is not that of the registry, or it lacks the file.
    """
    dist: dict[str, Any] = json.loads(fetched(f"{registry}/{package}/{version}"))["dist"]
    archive = fetched(dist["tarball"])
    own = "sha512-" + base64.b64encode(hashlib.sha512(archive).digest()).decode()
    if own != dist.get("integrity"):
        raise HashError(f"{package}@{version}: the package is {own}, the registry states {dist.get('integrity')}")
    with tarfile.open(fileobj=io.BytesIO(archive), mode="r:gz") as files:
        try:
            found = files.extractfile(f"package/{path}")
        except KeyError:
            found = None
        if found is None:
            raise HashError(f"{package}@{version}: no file {path}")
        return found.read()


def say(line: str) -> None:
    """Write a line to standard output."""
    sys.stdout.write(line + "\n")


def sha256(content: bytes) -> str:
    """Return a hash in hexadecimal digits."""
    return hashlib.sha256(content).hexdigest()


def check(folder: Path, registry: str | None) -> None:
    """Compare each file with its hash, and with its package.

    Args:
        folder: that of the files.
        registry: address of the registry; None to compare with the hashes only.

    Raises:
        OSError: a file cannot be read, or a package cannot be fetched.
        HashError: a file is another one.
    """
    for name, each in known(folder).items():
        content = (folder / name).read_bytes()
        if sha256(content) != each["sha256"]:
            raise HashError(f"{name}: its SHA-256 is {sha256(content)}, and that in hashes.json {each['sha256']}")
        if registry and content != member(each["package"], each["version"], each["path"], registry):
            raise HashError(f"{name}: it is not the file in {each['package']}@{each['version']}")
        say(f"{name}: {each['package']} {each['version']}, {each['sha256']}")


def update(folder: Path, wanted: str, registry: str) -> None:
    """Replace a file by that of another version.

    Args:
        folder: that of the files.
        wanted: package and version, such as ``vega@6.4.1``.
        registry: address of the registry.

    Raises:
        OSError: the package cannot be fetched, or the file cannot be written.
        HashError: the package is not used here, or its hash is wrong. No file is changed then.
    """
    package, _, version = wanted.rpartition("@")
    files = known(folder)
    name = next((name for name, each in files.items() if each["package"] == package), None)
    if name is None or not version:
        raise HashError(f"{wanted!r}: expected one of {', '.join(e['package'] for e in files.values())}, @, a version")
    content = member(package, version, files[name]["path"], registry)
    files[name] |= {"version": version, "sha256": sha256(content)}
    (folder / name).write_bytes(content)
    (folder / "hashes.json").write_text(json.dumps(files, indent=1) + "\n", encoding="utf-8")
    say(f"{name}: {package} {version}, {files[name]['sha256']}")


def known(folder: Path) -> dict[str, dict[str, str]]:
    """Return package, version, path and hash of each file."""
    files: dict[str, dict[str, str]] = json.loads((folder / "hashes.json").read_text(encoding="utf-8"))
    return files


def main() -> int:
    """Check or update, and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("packages", nargs="*", metavar="PACKAGE@VERSION", help="to update to (default: check only)")
    parser.add_argument("--offline", action="store_true", help="compare with the hashes only")
    parser.add_argument("--registry", default=REGISTRY, help="address of the npm registry (default: %(default)s)")
    parser.add_argument("--folder", type=Path, default=VENDOR, help="folder of the files")
    arguments = parser.parse_args()
    try:
        for wanted in arguments.packages:
            update(arguments.folder, wanted, arguments.registry)
        if not arguments.packages:
            check(arguments.folder, None if arguments.offline else arguments.registry)
    except (HashError, OSError) as error:
        sys.stderr.write(f"update_vendored: {error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
