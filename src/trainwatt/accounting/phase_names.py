"""Check of the names that a user gives: phases, and parts of one's own within them."""

from __future__ import annotations

import difflib
from typing import Any

from trainwatt.accounting.timeline import PHASES, Phase
from trainwatt.errors import ArgumentError
from trainwatt.validation import whole_number

_MAX_LABEL = 64
# Other names of a phase, among them those of frameworks and of other trackers.
_OTHER_NAMES: dict[Phase, tuple[str, ...]] = {
    "setup": ("init", "initialize", "prepare", "preparation", "start"),
    "sanity_check": ("sanity", "sanity_checking"),
    "train": ("fit", "learn", "trainer", "epoch"),
    "validate": ("eval", "evaluate", "evaluation", "evaluating", "val", "valid", "validation", "dev"),
    "test": ("tests", "testing", "benchmark"),
    "predict": ("inference", "infer", "generate", "generation", "serve", "serving", "forward"),
    "checkpoint": ("save", "saving", "ckpt", "backup"),
    "other": ("rest", "idle", "misc", "none"),
}
_PHASE_OF: dict[str, Phase] = {name: phase for phase, names in _OTHER_NAMES.items() for name in (phase, *names)}


def checked_phase(phase: object) -> Phase:
    """Return the name of a phase.

    Args:
        phase: as the user gave it.

    Raises:
        ArgumentError: if it is not one of :data:`trainwatt.accounting.timeline.PHASES`.
    """
    if isinstance(phase, str) and phase in PHASES:
        # The plain name also of a member of an enumeration, which has another hash.
        return PHASES[PHASES.index(phase)]
    names = ", ".join(f'"{name}"' for name in PHASES)
    raise ArgumentError("phase", phase, f"one of {names}{_hint(phase)}")


def _hint(phase: object) -> str:
    """Return the phase that was probably meant, or else how to name a part of one's own."""
    if isinstance(phase, str) and (meant := _meant(phase)):
        return f'; did you mean "{meant}"?'
    own = phase if isinstance(phase, str) and phase.strip() else "augmentation"
    return f"; to name a part of your own within a phase, use run.part({own!r})"


def _meant(phase: str) -> Phase | None:
    """Return the phase that was probably meant, or None."""
    word = phase.strip().lower().replace("-", "_").replace(" ", "_")
    close = difflib.get_close_matches(word, _PHASE_OF, n=1, cutoff=0.75)
    return _PHASE_OF[close[0]] if close else None


def checked_epoch(epoch: Any) -> int | None:
    """Return the number of an epoch, as a plain int; None if it has none.

    Args:
        epoch: as the user gave it.

    Raises:
        ArgumentError: if it is not a whole number.
    """
    return None if epoch is None else whole_number("epoch", epoch, "a whole number, or None for the next one")


def checked_label(name: object) -> str:
    """Return the name of a part on one line, without characters that a terminal acts on, 64 of them at most.

    Args:
        name: as the user gave it.

    Raises:
        ArgumentError: if it is not a text, or an empty one.
    """
    shown = "".join(each if each.isprintable() else " " for each in name) if isinstance(name, str) else ""
    words = " ".join(shown.split())
    if not words:
        raise ArgumentError("name", name, 'the name of a part of the run, e.g. "augmentation"')
    return words if len(words) <= _MAX_LABEL else words[: _MAX_LABEL - 3].rstrip() + "..."
