"""Open phases and parts of every thread of a run."""

from __future__ import annotations

import itertools
import threading
from dataclasses import dataclass, field
from typing import NamedTuple

from trainwatt.accounting.timeline import Phase

_MAX_LABELS = 100
OTHER_LABELS = "other labels"


class Active(NamedTuple):
    """Phase and part that energy is charged to.

    Attributes:
        phase: the phase.
        label: name of a part of it; empty if none is open.
    """

    phase: Phase = "other"
    label: str = ""


@dataclass(slots=True)
class _Stack:
    """Phases and labels that one thread has entered and not left, each with its place in the order of all entries."""

    phases: list[tuple[int, Phase]] = field(default_factory=list)
    labels: list[tuple[int, str]] = field(default_factory=list)


class PhaseStacks:
    """Phases and parts that the threads of a run are in.

    Energy at a moment belongs to one phase. If several threads are in phases at once, it is the innermost phase that
    was entered last. When that one ends, the innermost phase of the thread that entered its own last continues. A
    thread leaves only phases that it has entered itself.

    A part names the time from its beginning to its end, in whatever phases its thread is meanwhile. In a thread that is
    in no phase, it is a part of the active one.
    """

    def __init__(self) -> None:
        # By thread rather than by its identifier, which the next thread may get.
        self._stacks: dict[threading.Thread, _Stack] = {}
        self._entries = itertools.count()
        self._labels: set[str] = set()

    @property
    def active(self) -> Active:
        """Phase and part that energy is charged to now."""
        # Almost always there is one thread or none.
        if not self._stacks:
            return Active()
        leading = max(self._stacks.values(), key=lambda stack: stack.phases[-1][0] if stack.phases else -1)
        phase = leading.phases[-1][1] if leading.phases else "other"
        labels = [
            stack.labels[-1]
            for stack in self._stacks.values()
            if stack.labels and (stack is leading or not stack.phases)
        ]
        return Active(phase, max(labels)[1] if labels else "")

    def enter(self, phase: Phase) -> None:
        """Enter a phase in this thread."""
        self._own().phases.append((next(self._entries), phase))

    def leave(self, phase: Phase) -> bool:
        """Leave a phase of this thread and those open inside it; return False if this thread has not entered it."""
        stack = self._stacks.get(threading.current_thread())
        if stack is None or all(phase != each for _, each in stack.phases):
            return False
        while stack.phases.pop()[1] != phase:
            pass
        self._drop_if_empty(stack)
        return True

    def enter_part(self, label: str) -> str:
        """Enter a part in this thread, and return its name: from the 101st on, all parts share one.

        Args:
            label: name of the part.
        """
        if label not in self._labels and len(self._labels) >= _MAX_LABELS:
            label = OTHER_LABELS
        self._labels.add(label)
        self._own().labels.append((next(self._entries), label))
        return label

    def leave_part(self, label: str) -> bool:
        """Leave a part of this thread; return False if this thread has not entered it.

        Args:
            label: from :meth:`enter_part`.
        """
        stack = self._stacks.get(threading.current_thread())
        for place in reversed(range(len(stack.labels) if stack else 0)):
            if stack and stack.labels[place][1] == label:
                del stack.labels[place]
                self._drop_if_empty(stack)
                return True
        return False

    def drop_dead(self) -> bool:
        """Drop what threads that have ended left open; return True if there was any."""
        dead = [thread for thread in self._stacks if not thread.is_alive()]
        for thread in dead:
            del self._stacks[thread]
        return bool(dead)

    def _own(self) -> _Stack:
        return self._stacks.setdefault(threading.current_thread(), _Stack())

    def _drop_if_empty(self, stack: _Stack) -> None:
        if not stack.phases and not stack.labels:
            del self._stacks[threading.current_thread()]
