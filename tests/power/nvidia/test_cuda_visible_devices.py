import itertools
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainwatt.power.nvidia.cuda_visible_devices import (
    Choice,
    Gpu,
    Slice,
    Use,
    cuda_order,
    from_environment,
    from_names,
)

A = Gpu("GPU-aaaa1111-0000-0000-0000-000000000001", 0, "A100", "00000000:17:00.0", 6912, 1410)
B = Gpu("GPU-aaaa2222-0000-0000-0000-000000000002", 1, "A100", "00000000:27:00.0", 6912, 1410)
C = Gpu("GPU-cccc3333-0000-0000-0000-000000000003", 2, "A100", "00000000:37:00.0", 6912, 1410)
SAME = (A, B, C)
SLOW = Gpu("GPU-51000000-0000-0000-0000-000000000004", 0, "T400", "00000000:01:00.0", 384, 1425)
FAST = Gpu("GPU-fa570000-0000-0000-0000-000000000005", 1, "RTX 4090", "00000000:02:00.0", 16384, 3105)
MIXED = (SLOW, FAST)
THREE, TWO, ONE = Slice("MIG-3333", 1, 0, 3 / 7), Slice("MIG-2222", 5, 0, 2 / 7), Slice("MIG-2211", 13, 1, 1 / 7)
CUT = replace(B, slices=(THREE, TWO, ONE))


def chosen(value: str | None, boards=SAME, **environ: str) -> tuple[Use, ...]:
    if value is not None:
        environ["CUDA_VISIBLE_DEVICES"] = value
    return from_environment(boards, environ).uses


def indices(value: str | None, boards=SAME, **environ: str) -> list[int]:
    return [use.gpu.index for use in chosen(value, boards, **environ)]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, [0, 1, 2]),
        ("", []),
        (" ", []),
        ("-1", []),
        ("NoDevFiles", []),
        ("1", [1]),
        ("2,0", [2, 0]),
        (" 2 , 0 ", [2, 0]),
        ("0,2,-1,1", [0, 2]),
        ("0,3,1", [0]),
        ("1,1", [1]),
        ("1x,2y", [1, 2]),
        (B.uuid, [1]),
        (B.uuid.upper(), [1]),
        ("GPU-cccc", [2]),
        ("GPU-aaaa2,GPU-cccc3333", [1, 2]),
        ("GPU-cccc,GPU-aaaa,0", [2]),
        ("GPU-dddd,0", []),
        ("GPU-", []),
        ("aaaa1111", []),
        (f"{C.uuid},0", [2, 0]),
        (f"0,{A.uuid}", [0]),
    ],
)
def test_cuda_visible_devices_names_the_boards(value, expected) -> None:
    assert indices(value) == expected


def test_a_whole_uuid_that_is_the_beginning_of_another_is_no_ambiguity() -> None:
    boards = (replace(A, uuid="GPU-12"), replace(B, uuid="GPU-123"))
    assert indices("GPU-12", boards) == [0]
    assert indices("GPU-1", boards) == []


def test_numbers_follow_the_bus_where_asked() -> None:
    boards = (replace(SLOW, pci="00000000:09:00.0"), FAST)
    assert indices("0", boards, CUDA_DEVICE_ORDER="PCI_BUS_ID") == [1]
    assert from_environment(boards, {"CUDA_VISIBLE_DEVICES": "0", "CUDA_DEVICE_ORDER": "PCI_BUS_ID"}).note == ""


def test_numbers_of_unlike_boards_are_a_guess_and_say_so() -> None:
    choice = from_environment(MIXED, {"CUDA_VISIBLE_DEVICES": "0"})
    assert choice.uses == (Use(FAST),)
    assert "CUDA_DEVICE_ORDER=PCI_BUS_ID" in choice.note


@pytest.mark.parametrize("value", [None, "0,1", FAST.uuid, ""])
def test_where_the_order_does_not_matter_nothing_is_guessed(value) -> None:
    environ = {} if value is None else {"CUDA_VISIBLE_DEVICES": value}
    assert from_environment(MIXED, environ).note == ""


def test_like_boards_keep_the_order_of_the_bus_whatever_cuda_thinks_of_their_speed() -> None:
    assert cuda_order((B, A, replace(C, clock_mhz=9_999)), {})[0] == A


@pytest.mark.parametrize(
    ("value", "slices"),
    [
        ("MIG-3333", (THREE,)),
        ("MIG-33", (THREE,)),
        ("MIG-22", ()),
        ("MIG-2211,MIG-3333", (ONE, THREE)),
        ("MIG-3333,MIG-3333", (THREE,)),
        (f"MIG-{B.uuid}/5/0", (TWO,)),
        ("MIG-GPU-aaaa2/13/1", (ONE,)),
        ("MIG-GPU-aaaa2/13/0", ()),
        ("MIG-GPU-aaaa/5/0", ()),
        ("1", (THREE,)),
        (B.uuid, (THREE,)),
    ],
)
def test_slices_go_by_name_and_a_board_by_its_first(value, slices) -> None:
    expected = (Use(CUT, slices),) if slices else ()
    assert chosen(value, (A, CUT)) == expected


def test_a_board_used_through_two_slices_is_there_once_with_both() -> None:
    (use,) = chosen("MIG-3333,MIG-2222", (A, CUT))
    assert use == Use(CUT, (THREE, TWO))


def test_in_mig_mode_without_slices_a_board_is_of_no_use() -> None:
    empty = replace(B, slices=())
    assert indices(None, (A, empty)) == [0]
    assert indices("1,0", (A, empty)) == []


@pytest.mark.parametrize(
    "write", [str, str.lower, lambda uuid: uuid.removeprefix("GPU-"), lambda u: u[4:].replace("-", "")]
)
def test_a_framework_may_write_a_uuid_its_own_way(write) -> None:
    assert from_names(SAME, [write(C.uuid), write(A.uuid)], {}).uses == (Use(C), Use(A))


def test_a_framework_may_name_a_slice_and_a_stranger() -> None:
    assert from_names((A, CUT), ["2222", "GPU-77"], {}) == Choice((Use(CUT, (TWO,)),), unknown=("GPU-77",))


def test_a_framework_that_names_a_board_means_the_slice_that_it_can_see() -> None:
    assert from_names((A, CUT), [B.uuid], {"CUDA_VISIBLE_DEVICES": "MIG-2222"}).uses == (Use(CUT, (TWO,)),)
    assert from_names((A, CUT), [B.uuid], {}).uses == (Use(CUT, (THREE,)),)


@pytest.mark.parametrize(
    ("visible", "names", "expected"),
    [
        (None, [2, 0], [2, 0]),
        ("2,0", [0], [2]),
        ("2,0", [1, 1], [0]),
        (C.uuid, [0], [2]),
        ("2", ["GPU-aaaa1"], [0]),
        (None, ["cccc"], [2]),
        (None, [1, B.uuid], [1]),
    ],
)
def test_a_user_counts_the_visible_boards_or_writes_the_beginning_of_a_uuid(visible, names, expected) -> None:
    choice = from_names(SAME, names, {} if visible is None else {"CUDA_VISIBLE_DEVICES": visible})
    assert [use.gpu.index for use in choice.uses] == expected
    assert choice.unknown == ()


@pytest.mark.parametrize(("name", "visible"), [(3, None), (1, "0"), (-1, None), ("GPU-aaaa", None), ("dddd", None)])
def test_a_board_that_does_not_exist_or_is_not_the_only_one_is_unknown(name, visible) -> None:
    choice = from_names(SAME, [name], {} if visible is None else {"CUDA_VISIBLE_DEVICES": visible})
    assert choice == Choice((), unknown=(str(name),))


def test_numbers_of_unlike_boards_are_those_of_cuda_and_a_guess_is_noted() -> None:
    choice = from_names(MIXED, [0], {})
    assert choice.uses == (Use(FAST),)
    assert "PCI_BUS_ID" in choice.note
    assert from_names(MIXED, [0], {"CUDA_DEVICE_ORDER": "PCI_BUS_ID"}) == Choice((Use(SLOW),))


tokens = st.one_of(
    st.integers(-2, 5).map(str),
    st.sampled_from([board.uuid for board in SAME]),
    st.sampled_from([board.uuid for board in SAME]).flatmap(lambda uuid: st.integers(0, 40).map(lambda n: uuid[:n])),
    st.sampled_from([part.uuid for part in CUT.slices or ()]),
    st.text(max_size=8),
)
machines = st.sampled_from([SAME, MIXED, (A, CUT, C), (), (A,)])
values = st.lists(tokens, max_size=6).map(",".join)
orders = st.sampled_from([{}, {"CUDA_DEVICE_ORDER": "PCI_BUS_ID"}, {"CUDA_DEVICE_ORDER": "FASTEST_FIRST"}])


@given(boards=machines, value=values, order=orders)
def test_whatever_is_written_each_board_and_slice_is_used_at_most_once(boards, value, order) -> None:
    uses = chosen(value, boards, **order)
    assert len({use.gpu.uuid for use in uses}) == len(uses)
    for use in uses:
        assert use.gpu in boards
        assert len(set(use.slices)) == len(use.slices)
        assert bool(use.slices) == (use.gpu.slices is not None)


@given(boards=machines, value=values, rest=values, order=orders)
def test_nothing_after_an_invalid_token_counts(boards, value, rest, order) -> None:
    assert chosen(f"{value},-1,{rest}", boards, **order) == chosen(f"{value},-1", boards, **order)


@given(boards=machines, value=values, more=tokens, order=orders)
def test_a_further_token_takes_no_board_away(boards, value, more, order) -> None:
    before = indices(value, boards, **order)
    assert indices(f"{value},{more}", boards, **order)[: len(before)] == before


@given(order=st.permutations([0, 1, 2]), shape=st.sampled_from(["number", "uuid", "beginning"]))
def test_boards_come_in_the_order_in_which_they_are_named(order, shape) -> None:
    names = {"number": str, "uuid": lambda i: SAME[i].uuid, "beginning": lambda i: SAME[i].uuid[:9]}
    assert indices(",".join(names[shape](index) for index in order)) == list(order)


@given(boards=machines, chosen_order=st.permutations(range(3)))
def test_the_framework_and_the_environment_agree_where_both_speak(boards, chosen_order) -> None:
    uuids = [boards[index].uuid for index in chosen_order if index < len(boards)]
    assert from_names(boards, uuids, {"CUDA_VISIBLE_DEVICES": ",".join(uuids)}).uses == chosen(",".join(uuids), boards)


def test_every_unambiguous_beginning_of_a_uuid_will_do() -> None:
    for board, length in itertools.product(SAME, range(5, 41)):
        beginning = board.uuid[:length]
        sharing = [other for other in SAME if other.uuid.startswith(beginning)]
        assert indices(beginning) == ([board.index] if len(sharing) == 1 else [])
