"""Calls of a Trainer, as its callbacks are told of them.

transformers has no hook for the beginning or the failure of a call, for the writing of a checkpoint, for its restoring,
or for what precedes the last log entry. So as long as a callback of ours exists, these methods of the Trainer's class
are wrapped. A Trainer that has none of our callbacks does not notice, and the objects themselves are not touched: what
others put into a Trainer or its class before, during or after is called as ever.

A wrapper in the Trainer itself would have to be bound weakly, or it would keep the model alive. It could then not be
called on a Trainer that nothing else refers to, as in ``Trainer(...).train()``.
"""

from __future__ import annotations

import functools
import inspect
import threading
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from types import FunctionType, TracebackType
from typing import TYPE_CHECKING, Any, ClassVar

from transformers import Trainer, TrainerCallback

from trainwatt.accounting.timeline import Phase
from trainwatt.containment import Failures
from trainwatt.errors import ArgumentError
from trainwatt_transformers.callback_states import take_states

if TYPE_CHECKING:
    from typing_extensions import Self


# how far callbacks may hold others
_NESTED = 3


class CallWatcher:
    """Callback that is told of the calls of its Trainer, however it has been given to it.

    Attributes:
        measures: True for a monitor. If a Trainer has several, the first is told.
    """

    measures: ClassVar[bool] = False

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:  # noqa: ARG004  # those of the constructor
        """Create a callback, or a copy of one."""
        made = super().__new__(cls)
        _watchers.add(made)
        weakref.finalize(made, _put_back).atexit = False
        report_calls_of(Trainer)
        return made

    @contextmanager
    def training(self, trainer: Trainer) -> Iterator[None]:  # for those that need it, as below
        """Surround a call of ``train``."""
        yield

    @contextmanager
    def evaluating(self, trainer: Trainer, phase: Phase, prefix: str) -> Iterator[None]:
        """Surround a call of ``evaluate`` or ``predict``, standalone or within a training.

        Args:
            trainer: the Trainer.
            phase: the phase that it is.
            prefix: prefix of its metrics.
        """
        yield

    @contextmanager
    def saving(self, trainer: Trainer) -> Iterator[None]:
        """Surround the writing of a checkpoint."""
        yield

    def finalizing(self, trainer: Trainer) -> None:
        """Take note that all epochs are over; the Trainer's last log entry follows."""

    def inferred(self, trainer: Trainer, samples: int | None) -> None:
        """Count samples that were evaluated or predicted, in all processes."""

    def card_written(self, trainer: Trainer) -> None:
        """Extend a model card in the output folder."""

    def state(self) -> dict[str, Any]:
        """Return what a checkpoint holds: ``args`` and ``attributes``."""
        return {"args": {}, "attributes": {}}

    def restore(self, state: dict[str, Any], *, wanted: bool) -> None:
        """Continue from a checkpoint.

        Args:
            state: what ``state()`` returned.
            wanted: True if the user asks for the states of callbacks.
        """


def all_callbacks(trainer: Trainer) -> list[TrainerCallback]:
    """Return the callbacks of a Trainer, and those that these hold and whose hooks they call."""
    handler = getattr(trainer, "callback_handler", None)
    found: dict[int, TrainerCallback] = {}
    _collect(getattr(handler, "callbacks", ()), found, _NESTED)
    return list(found.values())


def watchers_of(trainer: Trainer) -> list[CallWatcher]:
    """Return the callbacks that are told of a Trainer's calls: the first monitor, then the others."""
    found = [callback for callback in all_callbacks(trainer) if isinstance(callback, CallWatcher)]
    monitors = [callback for callback in found if callback.measures]
    return [*monitors[:1], *(callback for callback in found if not callback.measures)]


def monitor_of(trainer: Trainer) -> CallWatcher | None:
    """Return the callback that measures a Trainer; None if there is none."""
    return next((callback for callback in watchers_of(trainer) if callback.measures), None)


def report_calls_of(cls: type[Trainer]) -> None:
    """Wrap the methods of a class of Trainers, wherever they are defined; those that are wrapped stay."""
    with _lock:
        for name in _AROUND:
            owner = next((each for each in cls.__mro__ if name in vars(each)), None)
            if owner is not None:
                _wrap(owner, name)


_watchers: weakref.WeakSet[CallWatcher] = weakref.WeakSet()
# by class and name: the method that was there, and ours
_wrapped: dict[tuple[type, str], tuple[Any, Any]] = {}
_lock = threading.RLock()
_thread = threading.local()


def _wrap(owner: type, name: str) -> None:
    method = vars(owner)[name]
    if not isinstance(method, FunctionType) or _wrapped.get((owner, name), (None, None))[1] is method:
        return
    wrapper = _reporting(name, method)
    try:
        # past a metaclass that forbids changes
        type.__setattr__(owner, name, wrapper)
    except TypeError:
        # A class that is not written in Python cannot be changed; its calls are told by the hooks alone.
        return
    _wrapped[owner, name] = (method, wrapper)


def _put_back() -> None:
    """Put the methods back as soon as there is no callback of ours; those that others have replaced since stay."""
    with _lock:
        if any(True for _ in _watchers):
            return
        for (owner, name), (method, wrapper) in _wrapped.items():
            if vars(owner).get(name) is wrapper:
                type.__setattr__(owner, name, method)
        _wrapped.clear()


def _reporting(name: str, method: Callable[..., Any]) -> Callable[..., Any]:
    around = _AROUND[name]

    @functools.wraps(method)
    def reporting(trainer: Trainer, /, *args: Any, **kwargs: Any) -> Any:
        under_way: set[tuple[int, str]] = vars(_thread).setdefault("under_way", set())
        call = functools.partial(method, trainer, *args, **kwargs)
        key = (id(trainer), name)
        # that of a base class, or of one of several data sets
        watchers = [] if key in under_way else watchers_of(trainer)
        if not watchers:
            return call()
        under_way.add(key)
        try:
            return around(watchers, trainer, call)
        finally:
            under_way.discard(key)

    # inspect.getfullargspec does not look below a wrapper
    vars(reporting)["__signature__"] = inspect.signature(method)
    return reporting


class _Guarded:
    """A context of ours: what fails in it costs one warning, and only a bad argument is raised.

    Args:
        context: the context.
        failures: those of the call.
        kind: what it does.
    """

    def __init__(self, context: AbstractContextManager[None], failures: Failures, kind: str) -> None:
        self._context, self._failures, self._kind = context, failures, kind
        self._entered = False

    def __enter__(self) -> None:
        try:
            self._context.__enter__()
            self._entered = True
        except ArgumentError:
            raise
        except Exception:  # noqa: BLE001  # whatever it is, it is ours, not the training's
            self._failures.failed(self._kind)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._entered:
            with self._failures.contained(self._kind):
                self._context.__exit__(kind, error, trace)


Watchers = Sequence[CallWatcher]
Call = Callable[[], Any]


def _within(contexts: Sequence[AbstractContextManager[None]], kind: str, call: Call) -> Any:
    failures = Failures()
    with ExitStack() as stack:
        for context in contexts:
            stack.enter_context(_Guarded(context, failures, kind))
        return call()


def _tell(watchers: Watchers, tell: Callable[[CallWatcher], None], kind: str) -> None:
    failures = Failures()
    for watcher in watchers:
        with failures.contained(kind):
            tell(watcher)


def _train(watchers: Watchers, trainer: Trainer, call: Call) -> Any:
    return _within([each.training(trainer) for each in watchers], "measuring the training", call)


def _evaluate(watchers: Watchers, trainer: Trainer, call: Call) -> Any:
    prefix = _prefix_of(call, "eval")
    phase: Phase = "test" if prefix.startswith("test") else "validate"
    contexts = [each.evaluating(trainer, phase, prefix) for each in watchers]
    return _within(contexts, "measuring the evaluation", call)


def _predict(watchers: Watchers, trainer: Trainer, call: Call) -> Any:
    contexts = [each.evaluating(trainer, "predict", _prefix_of(call, "test")) for each in watchers]
    return _within(contexts, "measuring the prediction", call)


def _evaluation_loop(watchers: Watchers, trainer: Trainer, call: Call) -> Any:
    output = call()
    samples = getattr(output, "num_samples", None)
    _tell(watchers, lambda each: each.inferred(trainer, samples), "the number of samples")
    return output


def _create_model_card(watchers: Watchers, trainer: Trainer, call: Call) -> Any:
    made = call()
    _tell(watchers, lambda each: each.card_written(trainer), "the model card")
    return made


def _finalize_training(watchers: Watchers, trainer: Trainer, call: Call) -> Any:
    _tell(watchers, lambda each: each.finalizing(trainer), "the last epoch's figures")
    return call()


def _save_checkpoint(watchers: Watchers, trainer: Trainer, call: Call) -> Any:
    return _within([each.saving(trainer) for each in watchers], "measuring the checkpoint", call)


def _load_callback_state(watchers: Watchers, trainer: Trainer, call: Call) -> Any:
    """Restore our own callbacks: transformers would replace them by new ones, with the arguments in the checkpoint."""
    found = take_states(trainer.state, watchers)
    result = call()
    wanted = bool(getattr(trainer.args, "restore_callback_states_from_checkpoint", False))
    for watcher, state in found:
        _tell([watcher], lambda each, state=state: each.restore(state, wanted=wanted), "restoring a callback")  # type: ignore[misc]
    return result


_AROUND: dict[str, Callable[[Watchers, Trainer, Call], Any]] = {
    "train": _train,
    "evaluate": _evaluate,
    "predict": _predict,
    "evaluation_loop": _evaluation_loop,
    "create_model_card": _create_model_card,
    "_finalize_training": _finalize_training,
    "_save_checkpoint": _save_checkpoint,
    "_load_callback_state": _load_callback_state,
}


def _prefix_of(call: Any, default: str) -> str:
    """Return the prefix under which the metrics of an evaluation are logged."""
    try:
        bound = inspect.signature(call.func).bind(*call.args, **call.keywords)
    except TypeError:
        # The call itself is about to tell what is wrong with its arguments.
        return default
    bound.apply_defaults()
    return str(bound.arguments.get("metric_key_prefix", default))


def _collect(values: Any, found: dict[int, TrainerCallback], depth: int) -> None:
    for value in values:
        if isinstance(value, TrainerCallback) and id(value) not in found:
            found[id(value)] = value
            # ours hold none, and a look into them would make their hooks slower
            held = vars(value).values() if depth and not isinstance(value, CallWatcher) else ()
            _collect([part for each in held for part in _parts(each)], found, depth - 1)


def _parts(value: object) -> Any:
    if isinstance(value, (list, tuple)):
        return value
    return list(value.values()) if isinstance(value, dict) else (value,)
