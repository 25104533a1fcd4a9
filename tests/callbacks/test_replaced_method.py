"""A method that is wrapped for a time: whoever else replaces it, and whenever, finds what they have put there."""

from __future__ import annotations

import copy
import inspect
import pickle
from collections.abc import Callable
from typing import Any

import pytest

from trainwatt.callbacks.replaced_method import ReplacedMethod


class Owner:
    """Someone else's object."""

    def __init__(self) -> None:
        self.calls: list[str] = []

    def save(self, path: str, *, twice: bool = False) -> str:
        """Save."""
        self.calls.append("class")
        return path * (1 + twice)


def noting(owner: Owner, name: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    def wrap(call: Callable[..., Any]) -> Callable[..., Any]:
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            owner.calls.append(name)
            return call(*args, **kwargs)

        return wrapper

    return wrap


def replaced(owner: Owner, name: str = "ours") -> ReplacedMethod:
    return ReplacedMethod(owner, "save", noting(owner, name))


def patched(owner: Any, name: str = "theirs") -> Callable[..., Any]:
    below = owner.save

    def save(*args: Any, **kwargs: Any) -> Any:
        (args[0] if isinstance(owner, type) else owner).calls.append(name)
        return below(*args, **kwargs)

    owner.save = save
    return save


def test_it_is_called_around_and_leaves_no_trace() -> None:
    owner = Owner()
    method = replaced(owner)
    assert owner.save("a", twice=True) == "aa"
    method.restore()
    owner.save("b")
    assert owner.calls == ["ours", "class", "class"]
    assert "save" not in vars(owner)


def test_it_looks_like_the_method() -> None:
    owner = Owner()
    plain = owner.save
    replaced(owner)
    assert inspect.signature(owner.save) == inspect.signature(plain)
    assert (owner.save.__name__, owner.save.__doc__) == ("save", "Save.")
    assert owner.save.__self__ is owner
    assert owner.save.__func__ is Owner.save


def test_what_the_object_had_before_is_put_back() -> None:
    owner = Owner()
    theirs = patched(owner)
    method = replaced(owner)
    owner.save("a")
    method.restore()
    assert vars(owner)["save"] is theirs
    assert owner.calls == ["ours", "theirs", "class"]


def test_what_was_put_there_meanwhile_stays() -> None:
    owner = Owner()
    method = replaced(owner)
    theirs = patched(owner)
    owner.save("a")
    method.restore()
    owner.save("b")
    assert vars(owner)["save"] is theirs
    assert owner.calls == ["theirs", "ours", "class", "theirs", "class"]


@pytest.mark.parametrize("before", [True, False])
def test_a_class_that_is_patched_is_asked(before: bool) -> None:
    class Patched(Owner):
        pass

    owner = Patched()
    if before:
        patched(Patched)
    method = replaced(owner)
    if not before:
        patched(Patched)
    owner.save("a")
    method.restore()
    owner.save("b")
    assert owner.calls == ["ours", "theirs", "class", "theirs", "class"]
    assert "save" not in vars(owner)


@pytest.mark.parametrize("first", [0, 1])
def test_several_of_ours_end_in_any_order(first: int) -> None:
    owner = Owner()
    theirs = patched(owner)
    methods = [replaced(owner, name) for name in ("one", "two")]
    methods[first].restore()
    owner.save("a")
    methods[1 - first].restore()
    assert owner.calls == [["two", "one"][first], "theirs", "class"]
    assert vars(owner)["save"] is theirs


def test_one_that_was_taken_away_meanwhile_stays_away() -> None:
    owner = Owner()
    method = replaced(owner)
    del owner.save
    method.restore()
    assert "save" not in vars(owner)


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda each: pickle.loads(pickle.dumps(each))])
@pytest.mark.parametrize("times", [1, 2])
def test_a_copy_of_the_object_has_its_own_method(copied: Callable[[Owner], Owner], times: int) -> None:
    owner = Owner()
    for _ in range(times):
        replaced(owner)
    other = copied(owner)
    other.save("a")
    assert (owner.calls, other.calls) == ([], ["class"])


def test_an_error_of_the_method_is_the_callers() -> None:
    owner = Owner()
    replaced(owner)
    with pytest.raises(TypeError, match="unexpected keyword argument 'thrice'"):
        owner.save("a", thrice=True)
