"""Damaged inputs for every command that reads run folders, and damaged states for every checkpoint.

A corpus of whole inputs is mutated by a seeded generator that knows their structure: a field is deleted, renamed,
replaced, made of another type, duplicated or moved, and the text is cut, or some of its bytes are changed.
"""

from __future__ import annotations

import contextlib
import copy
import hashlib
import io
import json
import logging
import pickle
import random
import shutil
import traceback
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from standins.whole_runs import corpus
from trainwatt.api import measure
from trainwatt.cli import main
from trainwatt.records.job_reader import read_run
from trainwatt.reporting.comparison import Comparison
from trainwatt.tracking.green_stopper import GreenStopper

_NAN, _HUGE = "@@NaN@@", "@@huge@@"
_RAW = {f'"{_NAN}"': "NaN", f'"{_HUGE}"': "1" + "0" * 400, '"@@inf@@"': "-Infinity", '"@@many@@"': "9" * 5000}
HOSTILE: tuple[Any, ...] = (
    *(None, True, False, 0, 1, -1, 0.5, -0.0, 1e-320, 1e-300, 5e17, 1e19, 1e200, 1e308, -1e308, 2**63, 10**30),
    *(_NAN, _HUGE, "@@inf@@", "@@many@@", "", "x", "-1", "1e5", "NaN", "null", "running", "finished", "gpu", "min"),
    *("\x1b[2J\x1b]0;x\x07", "\u202eevil", "\ud800", "\x00", "<script>alert(1)</script>", "=1+1", "a" * 5000),
    *("2026-13-99", "2026-01-01", "9999-12-31T23:59:59+00:00", "0001-01-01T00:00:00+00:00", "../../x", "XX", "WORLD"),
    *([], {}, [[]], [{}], {"": ""}, [None], {"low": 1, "central": 0, "high": -1}, [1, 2, 3], {"a": {"b": {"c": 1}}}),
)
_EVENTS = ("start", "span", "power", "projection", "resumed", "end", "score", "verdict", "budget", "exit", "note", "")

Draw = random.Random


@dataclass
class Outcome:
    """What became of some inputs.

    Attributes:
        tried: number of inputs.
        failures: description of each that raised, or that ended without a clear sentence.
        changed: description of each whose files were changed by reading them.
        codes: number of inputs by exit code.
    """

    tried: int = 0
    failures: list[str] = field(default_factory=list)
    changed: list[str] = field(default_factory=list)
    codes: Counter[int] = field(default_factory=Counter)


def commands(run: Path, other: Path, scratch: Path) -> list[list[str]]:
    """Return every command that reads run folders.

    Args:
        run: the damaged run folder.
        other: a whole one.
        scratch: folder for what the commands write.
    """
    export = ["export", str(run), "--format"]
    return [
        ["report", str(run), "--write", str(scratch / "report.html")],
        ["report", str(run), str(other), "--write", str(scratch / "comparison.html")],
        ["compare", str(run), str(other)],
        ["compare", str(run), "--json"],
        ["compare", str(other), str(run), "--write", str(scratch / "compared.html")],
        ["watch", str(run), "--once"],
        ["watch", str(run.parent), "--once", "--json"],
        ["merge", str(run), "--output", str(scratch / "merged")],
        ["merge", str(other), str(run), "--json", "--output", str(scratch / "both")],
        ["lifetime", str(run), "--request-j", "5"],
        ["lifetime", str(other), "--inference", str(run), "--samples", "10"],
        [*export, "model-card"],
        [*export, "model-card", "--write", str(scratch / "README.md")],
        [*export, "codecarbon"],
        [*export, "codecarbon", "--write", str(scratch / "emissions.csv")],
        [*export, "sci"],
        [*export, "markdown", "--json"],
        [*export, "latex"],
        ["calibrate", str(run), "--wall-wh", "0.001", "--dry-run"],
    ]


def fuzz_commands(folder: Path, tries: int, seed: int) -> Outcome:
    """Give damaged run folders to the commands, one after the other, and in every fifth try to the functions.

    Args:
        folder: an empty one.
        tries: number of inputs.
        seed: of the mutations.
    """
    draw, outcome = Draw(seed), Outcome()
    whole = corpus(folder / "whole")
    scratch = folder / "scratch"
    for number in range(tries):
        shutil.rmtree(scratch, ignore_errors=True)
        scratch.mkdir()
        run = scratch / "runs" / "run"
        source = whole[number % len(whole)]
        shutil.copytree(source, run)
        done = damage(run, draw)
        known = commands(run, whole[0], scratch)
        arguments = known[number // len(whole) % len(known)]
        before = digest(run)
        _judged(outcome, f"#{number} {done} in {source.name}: {' '.join(arguments[:1])}", arguments, run, number)
        if digest(run) != before:
            outcome.changed.append(f"#{number} {done}: {arguments}")
    return outcome


def _judged(outcome: Outcome, name: str, arguments: list[str], run: Path, number: int) -> None:
    outcome.tried += 1
    out, err = io.StringIO(), io.StringIO()
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = _used(run) if number % 5 == 4 else main(arguments)
    except BaseException:  # noqa: BLE001  # whatever it is, it is a finding
        outcome.failures.append(f"{name}\n{traceback.format_exc()}")
        return
    outcome.codes[code] += 1
    said = err.getvalue().strip().splitlines()
    if code not in (0, 1, 2) or (code != 0 and (len(said) != 1 or not said[0].startswith("trainwatt: "))):
        outcome.failures.append(f"{name}: exit code {code}, {said}")
    if any(each in out.getvalue() + err.getvalue() for each in ("\x1b", "\x07", "\u202e")):
        outcome.failures.append(f"{name}: a control character reaches the terminal")


def _used(run: Path) -> int:
    """Read a run as a program does; return 1 if that gives a clear error."""
    try:
        read = read_run(run)
    except (OSError, ValueError) as error:
        if str(error):
            print(f"trainwatt: {error}".replace("\n", " "), file=_stderr())
        return 1
    for each in (read, Comparison([read])):
        repr(each), each._repr_html_(), each.to_pandas()
    read.summary.text(), read.scores, read.events, read.name, read.status, read.summary.to_pandas()
    return 0


def _stderr() -> Any:
    import sys

    return sys.stderr


def damage(run: Path, draw: Draw) -> str:
    """Damage the files of a run folder, and return how."""
    files = [each for each in sorted(run.rglob("*.json*")) if each.name in ("summary.json", "events.jsonl")]
    file = draw.choice(files)
    content = file.read_bytes()
    kind = draw.choice(("structure",) * 6 + ("cut", "bytes", "empty", "foreign", "missing", "deep"))
    if kind == "structure":
        changed = _lines(content, draw) if file.suffix == ".jsonl" else _mutated_text(content, draw)
    elif kind == "cut":
        changed = content[: draw.randrange(len(content) + 1)]
    elif kind == "bytes":
        changed = _flipped(content, draw)
    elif kind == "empty":
        changed = draw.choice((b"", b"\x00" * 100, b"\n", b"{}", b"[]", b"null", b'"x"', b"{}\n[]\n1\n"))
    elif kind == "foreign":
        text = content.decode()
        changed = draw.choice(
            (b"\xef\xbb\xbf" + content, text.encode("utf-16"), text.encode("utf-32"), b"\xff" + content)
        )
    elif kind == "deep":
        changed = draw.choice((b"[" * 20_000, b'{"a":' * 20_000, b"[" * 20_000 + b"]" * 20_000 + b"\n"))
    else:
        file.unlink()
        return f"no {file.name}"
    file.write_bytes(changed)
    return f"{kind} {file.name}"


def _flipped(content: bytes, draw: Draw) -> bytes:
    changed = bytearray(content)
    for _ in range(draw.choice((1, 1, 3, 20))):
        if changed:
            changed[draw.randrange(len(changed))] = draw.randrange(256)
    return bytes(changed)


def _lines(content: bytes, draw: Draw) -> bytes:
    """Mutate some events, leave some out, repeat some, and add notes that are named like events."""
    lines = content.splitlines(keepends=True)
    for _ in range(draw.choice((1, 1, 2, 5))):
        place = draw.randrange(len(lines)) if lines else 0
        action = draw.choice(("mutate", "mutate", "mutate", "delete", "repeat", "note", "shuffle"))
        if action == "mutate" and lines:
            with contextlib.suppress(ValueError):
                lines[place] = _mutated_text(lines[place], draw) + b"\n"
        elif action == "delete":
            del lines[place : place + 1]
        elif action == "repeat":
            lines[place:place] = lines[place : place + 1] * draw.choice((1, 3))
        elif action == "shuffle":
            draw.shuffle(lines)
        else:
            note = {"event": draw.choice(_EVENTS), draw.choice(("total_j", "value", "name", "x")): draw.choice(HOSTILE)}
            lines.insert(place, _text(note) + b"\n")
    return b"".join(lines)


def _mutated_text(content: bytes, draw: Draw) -> bytes:
    value = json.loads(content)
    for _ in range(draw.choice((1, 1, 1, 2, 4))):
        value = mutated(value, draw)
    return _text(value)


def _text(value: Any) -> bytes:
    text = json.dumps(value)
    for quoted, raw in _RAW.items():
        text = text.replace(quoted, raw)
    return text.encode()


def mutated(value: Any, draw: Draw) -> Any:
    """Return a value with one change at a random place in it."""
    value = copy.deepcopy(value)
    places = list(_places(value))
    if not places:
        return draw.choice(HOSTILE)
    holder, key = draw.choice(places)
    action = draw.choice(("delete", "replace", "replace", "replace", "type", "rename", "scale", "repeat"))
    inner = holder[key]
    if action == "delete":
        del holder[key]
    elif action == "type":
        holder[key] = _of_another_type(inner)
    elif action == "rename" and isinstance(holder, dict):
        holder[draw.choice(("", "x", key + "_why", "\x1b[0m", "total_j"))] = holder.pop(key)
    elif action == "scale" and isinstance(inner, (int, float)) and not isinstance(inner, bool):
        holder[key] = inner * draw.choice((-1, 0, 1e-12, 1e6, 1e15, 1e300))
    elif action == "repeat" and isinstance(inner, list):
        holder[key] = inner * draw.choice((2, 50))
    else:
        holder[key] = copy.deepcopy(draw.choice(HOSTILE))
    return value


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    keys = value.keys() if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
    for key in list(keys):
        yield value, key
        yield from _places(value[key])


def _of_another_type(value: Any) -> Any:
    if isinstance(value, dict):
        return list(value.values())
    if isinstance(value, list):
        return dict(enumerate(map(str, value))) if value else {}
    return [value] if isinstance(value, str) else str(value)


def digest(folder: Path) -> dict[str, str]:
    """Return a hash of every file in a folder, by name."""
    files = (each for each in sorted(folder.rglob("*")) if each.is_file())
    return {str(each.relative_to(folder)): hashlib.sha256(each.read_bytes()).hexdigest() for each in files}


class _Warnings(logging.Handler):
    """Handler that keeps the messages of warnings and errors."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.messages: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.messages.append(record.getMessage() + ("" if record.exc_info is None else " (with a traceback)"))


_NEEDED = frozenset({"run", "status", "total_j", "total_kwh", "phases", "devices", "footprint", "site", "attempts"})


def states(folder: Path) -> dict[str, dict[str, Any]]:
    """Return whole states: of a monitor, of one that was resumed, of a stopper, and the summary of a run."""
    with measure(zone="FR", output_dir=folder, run_name="first", devices="ram", verbose=False) as first:
        first.step()
        state = first.state_dict()
    with measure(zone="SE", output_dir=folder, run_name="second", devices="ram", verbose=False) as second:
        second.load_state_dict(state)
        second.step()
        resumed = second.state_dict()
    with GreenStopper("max", zone="FR", min_gain_per_kwh=1e-9, devices="ram") as stopper:
        for value in (0.1, 0.3, 0.4, 0.45, 0.47):
            stopper.evaluate(value, done=value)
        stopping = stopper.state_dict()
    plain = {"monitor": state, "resumed": resumed, "stopper": stopping, "summary": dict(second.summary)}
    return {name: json.loads(json.dumps(each)) for name, each in plain.items()}


def trained(state: Any, folder: Path | None) -> Mapping[str, Any]:
    """Train for a moment with a monitor that resumes from a state; return its summary."""
    with measure(zone="FR", output_dir=folder, run_name="resumed", devices="ram", verbose=False) as run:
        run.load_state_dict(state)
        run.step()
    return run.summary


def stopped(state: Any, folder: Path | None) -> Mapping[str, Any]:
    """Judge a training for a moment with a stopper that resumes from a state; return a summary of the same run."""
    with (
        measure(zone="FR", output_dir=folder, run_name="judged", devices="ram", verbose=False) as run,
        GreenStopper("max", zone="FR", min_gain_per_kwh=1e-9, devices="ram") as stopper,
    ):
        stopper.load_state_dict(state)
        for value in (0.5, 0.6, 0.61):
            stopper.evaluate(value, done=value)
        stopper.state_dict()
    return run.summary


def fuzz_checkpoints(
    folder: Path, tries: int, seed: int, trains: Mapping[str, Callable[..., Mapping[str, Any]]] | None = None
) -> Outcome:
    """Resume from damaged states, train for a moment, and end.

    Args:
        folder: an empty one.
        tries: number of states.
        seed: of the mutations.
        trains: functions that train from a state, by the kind of state; None for those of the core.
    """
    draw, outcome = Draw(seed), Outcome()
    known = states(folder / "whole")
    trains = trains or {"monitor": trained, "resumed": trained, "summary": trained, "stopper": stopped}
    log, kept = logging.getLogger("trainwatt"), _Warnings()
    log.addHandler(kept)
    try:
        for number in range(tries):
            kind = list(trains)[number % len(trains)]
            state: Any = known[kind]
            for _ in range(draw.choice((1, 1, 2, 3))):
                state = _unquoted(mutated(state, draw))
            if draw.random() < 0.02:
                state = _unquoted(draw.choice(HOSTILE))
            # Writing a report takes most of the time.
            where = folder / "runs" if number % 8 == 0 else None
            shutil.rmtree(folder / "runs", ignore_errors=True)
            _resumed(outcome, f"#{number} {kind}", partial(trains[kind], folder=where), state, kept)
    finally:
        log.removeHandler(kept)
    return outcome


def _resumed(
    outcome: Outcome, name: str, train: Callable[[Any], Mapping[str, Any]], state: Any, kept: _Warnings
) -> None:
    outcome.tried += 1
    kept.messages.clear()
    before = pickle.dumps(state)
    try:
        summary = train(state)
    except Exception:  # noqa: BLE001  # whatever it is, it is a finding
        outcome.failures.append(f"{name}\n{traceback.format_exc()}")
        return
    if missing := _NEEDED - summary.keys():
        outcome.failures.append(f"{name}: the summary lacks {sorted(missing)}\n{kept.messages}")
    bad = [each for each in kept.messages if "traceback" in each]
    if bad or len(kept.messages) > 1:
        outcome.failures.append(f"{name}: {kept.messages}")
    if pickle.dumps(state) != before:
        outcome.changed.append(name)
    outcome.codes[len(kept.messages)] += 1


def _unquoted(value: Any) -> Any:
    """Put the numbers in that JSON lacks."""
    raw: dict[str, Any] = {_NAN: float("nan"), "@@inf@@": float("-inf"), _HUGE: 10**400, "@@many@@": 10**5000}
    if isinstance(value, dict):
        return {key: _unquoted(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_unquoted(each) for each in value]
    return raw.get(value, value) if isinstance(value, str) else value
