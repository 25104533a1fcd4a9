from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainwatt.accounting.step_profile import Block, first_epoch
from trainwatt.accounting.timeline import Phase, Span, SpanKey, merged
from trainwatt.projection.plan import Plan, stops_early
from trainwatt.projection.projection import History, Projection, project, project_from_checkpoints
from trainwatt.projection.warmup import WarmupEstimate, estimate_warmup
from trainwatt.units import J_PER_KWH

STEP_S, STEP_J = 0.01, 2.0


@dataclass
class Training:
    """Training run that is recorded as if it had been measured.

    Attributes:
        watts: factor on all energies.
    """

    watts: float = 1.0
    blocks: list[Block] = field(default_factory=list)
    epoch: int = 0
    closed: list[int] = field(default_factory=list)
    closed_steps: int = 0
    entries: list[SpanKey] = field(default_factory=list)

    def add(self, phase: Phase, steps: int, seconds: float, joules: float) -> Training:
        self.blocks.append(Block(SpanKey(self.epoch, phase), steps, seconds, joules * self.watts))
        return self

    def train(self, steps: int, *, times: float = 1.0) -> Training:
        for _ in range(steps):
            self.add("train", 1, STEP_S * times, STEP_J * times)
        return self

    def validate(self, batches: int, *, times: float = 1.0) -> Training:
        self.entries.append(SpanKey(self.epoch, "validate"))
        for number in range(batches):
            self.add(
                "validate", 1, STEP_S / 3 * (times if number == 0 else 1), STEP_J / 3 * (times if number == 0 else 1)
            )
        return self

    def end_epoch(self) -> Training:
        self.closed.append(self.epoch)
        self.closed_steps = sum(block.steps for block in self.blocks if block.key.phase == "train")
        self.epoch += 1
        return self

    def spans(self) -> list[tuple[SpanKey, Span]]:
        spans = [(b.key, Span(b.seconds, {"gpu:1": b.joules}, 0, b.steps)) for b in self.blocks]
        return [*spans, *((key, Span(entries=1)) for key in self.entries)]

    @property
    def past(self) -> History:
        spans = self.spans()
        epochs = [merged(each for each in spans if each[0].epoch == epoch) for epoch in self.closed]
        return History(merged(spans), epochs[-32:], len(epochs), self.closed_steps, self.warmup)

    @property
    def warmup(self) -> dict[Phase, WarmupEstimate]:
        phases: tuple[Phase, ...] = ("train", "validate")
        return {phase: estimate_warmup(first_epoch(self.blocks, phase)) for phase in phases}

    @property
    def kwh(self) -> float:
        return sum(block.joules for block in self.blocks) / J_PER_KWH

    @property
    def seconds(self) -> float:
        return sum(block.seconds for block in self.blocks)


def projected(training: Training, plan: Plan) -> Projection:
    projection = project(training.past, plan)
    assert projection is not None
    return projection


def epochs(count: int, steps: int = 40) -> Training:
    training = Training()
    for _ in range(count):
        training.train(steps).end_epoch()
    return training


costs = st.floats(0.1, 10)
any_epochs = st.lists(st.lists(costs, min_size=1, max_size=30), min_size=1, max_size=8)


def trained(runs: Sequence[Sequence[float]], watts: float = 1.0) -> Training:
    training = Training(watts)
    for steps in runs:
        for times in steps:
            training.train(1, times=times)
        training.validate(3).end_epoch()
    return training


# properties of every projection


@given(any_epochs, st.integers(0, 20), st.floats(1e-3, 1e3))
def test_more_power_is_more_energy_by_the_same_factor(runs: list[list[float]], more: int, factor: float) -> None:
    plan = Plan(epochs=len(runs) + more, steps_per_epoch=len(runs[0]), validate_epochs=1)
    one, other = (projected(trained(runs, watts), plan) for watts in (1.0, factor))
    for name in ("low", "central", "high"):
        assert getattr(other.energy_kwh, name) == pytest.approx(getattr(one.energy_kwh, name) * factor)
    assert other.seconds == pytest.approx(one.seconds)


@given(any_epochs, st.integers(0, 20))
def test_the_interval_never_excludes_what_has_been_spent(runs: list[list[float]], more: int) -> None:
    training = trained(runs)
    projection = projected(training, Plan(epochs=len(runs) + more, steps_per_epoch=len(runs[0]), validate_epochs=1))
    assert training.kwh <= projection.energy_kwh.low * (1 + 1e-9)
    assert training.seconds <= projection.seconds * (1 + 1e-9)
    assert projection.remaining_s >= 0


@given(any_epochs)
def test_the_last_projection_is_the_total(runs: list[list[float]]) -> None:
    training = trained(runs)
    projection = projected(training, Plan(epochs=len(runs), steps_per_epoch=len(runs[0]), validate_epochs=1))
    assert projection.energy_kwh.low == projection.energy_kwh.high == pytest.approx(training.kwh)
    assert projection.remaining_s == 0
    assert projection.seconds == pytest.approx(training.seconds)


@given(st.integers(1, 60), st.integers(1, 9), st.integers(1, 9))
def test_constant_steps_are_projected_exactly(steps: int, made: int, more: int) -> None:
    projection = projected(epochs(made, steps), Plan(epochs=made + more, steps_per_epoch=steps))
    assert projection.energy_kwh.central == pytest.approx((made + more) * steps * STEP_J / J_PER_KWH)
    assert projection.remaining_s == pytest.approx(more * steps * STEP_S)
    assert projection.energy_kwh.low < projection.energy_kwh.central < projection.energy_kwh.high


@given(st.lists(st.floats(0.5, 2), min_size=4, max_size=40))
def test_phases_add_up_to_the_whole(runs: list[float]) -> None:
    projection = projected(trained([runs]), Plan(epochs=9, steps_per_epoch=len(runs), validate_epochs=2))
    assert sum(projection.phases_j.values()) == pytest.approx(projection.energy_kwh.central * J_PER_KWH)


# one-off costs


def test_a_warm_up_counts_once() -> None:
    training = Training().train(1, times=300).train(1, times=30).train(98).end_epoch()
    projection = projected(training, Plan(epochs=20, steps_per_epoch=100))
    assert projection.energy_kwh.central == pytest.approx((20 * 100 + 299 + 29) * STEP_J / J_PER_KWH)


def test_a_step_that_is_recompiled_at_the_end_of_the_first_epoch_counts_once() -> None:
    training = Training().train(1, times=300).train(98).train(1, times=200).end_epoch()
    projection = projected(training, Plan(epochs=20, steps_per_epoch=100))
    assert projection.energy_kwh.central == pytest.approx((20 * 100 + 299 + 199) * STEP_J / J_PER_KWH)


def test_expensive_steps_that_recur_are_projected() -> None:
    training = Training()
    for _ in range(10):
        training.train(9).train(1, times=50)
    projection = projected(training.end_epoch(), Plan(epochs=20, steps_per_epoch=100))
    assert projection.energy_kwh.central == pytest.approx(20 * (90 + 500) * STEP_J / J_PER_KWH)


def test_setup_and_the_trial_evaluation_count_once() -> None:
    training = Training().add("setup", 0, 5, 100).add("sanity_check", 2, 1, 50).train(50).end_epoch()
    projection = projected(training, Plan(epochs=4, steps_per_epoch=50))
    assert projection.phases_j == pytest.approx({"setup": 100, "sanity_check": 50, "train": 4 * 50 * STEP_J})


def test_from_the_second_epoch_on_an_unlike_first_one_is_ignored() -> None:
    training = Training().train(50, times=3).end_epoch().train(50).end_epoch()
    projection = projected(training, Plan(epochs=10, steps_per_epoch=50))
    assert projection.energy_kwh.central == pytest.approx((3 + 9) * 50 * STEP_J / J_PER_KWH)


def test_later_epochs_weigh_more() -> None:
    training = Training()
    for times in (1, 1, 1, 1, 2, 2, 2):
        training.train(50, times=times).end_epoch()
    rest_kwh = projected(training, Plan(epochs=8, steps_per_epoch=50)).energy_kwh.central - training.kwh
    assert rest_kwh > 1.5 * 50 * STEP_J / J_PER_KWH


# evaluations


@pytest.mark.parametrize(
    ("plan", "evaluations"),
    [
        (Plan(epochs=9, validate_epochs=1), 9),
        (Plan(epochs=9, validate_epochs=2), 1 + 4),
        (Plan(epochs=9, first_epoch=1, validate_epochs=2), 1 + 4),
        (Plan(epochs=9, validate_at=(1, 4, 9, 20)), 3),
        (Plan(epochs=9, validate_epochs=3, validate_times=4), 1 + 12),
        (Plan(epochs=9, validate_steps=100), 1 + 4),
        (Plan(epochs=9), 9),
    ],
)
def test_evaluations_come_as_planned(plan: Plan, evaluations: int) -> None:
    training = Training().train(50).validate(10).end_epoch()
    phases_j = projected(training, plan).phases_j
    assert phases_j["validate"] == pytest.approx(evaluations * 10 * STEP_J / 3)


def test_the_tracing_of_the_first_evaluation_counts_once() -> None:
    training = Training().train(50).validate(10, times=100).end_epoch()
    phases_j = projected(training, Plan(epochs=9, validate_epochs=1)).phases_j
    assert phases_j["validate"] == pytest.approx((9 * 10 + 99) * STEP_J / 3)


def test_an_evaluation_that_has_not_been_measured_counts_as_forward_passes() -> None:
    plan = Plan(epochs=10, validate_epochs=2, validation_batches=30)
    projection = projected(epochs(1), plan)
    assert projection.phases_j["validate"] == pytest.approx(5 * 30 * STEP_J / 3)
    without = projected(epochs(1), Plan(epochs=10)).energy_kwh
    assert projection.energy_kwh.high - projection.energy_kwh.central > without.high - without.central


# plans in steps


def test_a_run_may_be_planned_by_steps_alone() -> None:
    projection = projected(Training().train(50), Plan(steps=5000))
    assert projection.energy_kwh.central == pytest.approx(5000 * STEP_J / J_PER_KWH)


def test_the_lesser_of_epochs_and_steps_ends_a_run() -> None:
    for plan in (Plan(epochs=100, steps=130), Plan(epochs=100, steps=130, steps_per_epoch=40), Plan(steps=130)):
        assert projected(epochs(1), plan).energy_kwh.central == pytest.approx(130 * STEP_J / J_PER_KWH)


def test_the_length_of_an_epoch_is_known_after_the_first() -> None:
    assert project(Training().train(10).past, Plan(epochs=5)) is None
    assert projected(epochs(1, 37), Plan(epochs=5)).energy_kwh.central == pytest.approx(5 * 37 * STEP_J / J_PER_KWH)


def test_a_resumed_run_is_projected_for_itself() -> None:
    plan = Plan(epochs=3, steps_per_epoch=40, first_epoch=7, skipped_steps=25)
    training = Training().train(15).end_epoch()
    assert projected(training, plan).energy_kwh.central == pytest.approx((15 + 40 + 40) * STEP_J / J_PER_KWH)
    assert projected(training.train(40).end_epoch(), plan).remaining_s == pytest.approx(40 * STEP_S)


def test_within_an_epoch_its_remaining_steps_are_projected() -> None:
    projection = projected(epochs(2).train(10), Plan(epochs=4, steps_per_epoch=40))
    assert projection.remaining_s == pytest.approx((4 * 40 - 90) * STEP_S)


def test_epochs_without_steps_are_projected_as_epochs() -> None:
    training = Training().add("train", 0, 2.0, 30.0).end_epoch()
    assert projected(training, Plan(epochs=5)).energy_kwh.central == pytest.approx(150 / J_PER_KWH)


def test_a_run_without_an_end_is_not_projected() -> None:
    assert project(epochs(2).past, Plan()) is None
    assert project(History({}), Plan(epochs=3)) is None


# intervals


def test_the_interval_narrows_as_epochs_come_in() -> None:
    widths = []
    for made in range(1, 9):
        kwh = projected(epochs(made), Plan(epochs=10)).energy_kwh
        widths.append(kwh.high - kwh.low)
    assert widths == sorted(widths, reverse=True)


def test_unlike_epochs_widen_the_interval() -> None:
    alike, unlike = epochs(1), epochs(1)
    for times in (0.7, 1.3, 0.8, 1.2):
        alike.train(40).end_epoch()
        unlike.train(40, times=times).end_epoch()
    widths = [kwh.high - kwh.low for kwh in (projected(each, Plan(epochs=9)).energy_kwh for each in (alike, unlike))]
    assert widths[1] > 2 * widths[0]


def checkpoints(energies_kwh: Sequence[float], of: int) -> list[tuple[float, float]]:
    return [((number + 1) / of, sum(energies_kwh[: number + 1])) for number in range(len(energies_kwh))]


def test_checkpoints_without_progress_give_no_projection() -> None:
    assert project_from_checkpoints([]) is None
    assert project_from_checkpoints([(0.0, 1.0)]) is None


@given(st.lists(st.floats(0.01, 10), min_size=1, max_size=40), st.integers(0, 40))
def test_a_projection_from_checkpoints_is_never_less_than_the_energy_spent(
    energies_kwh: list[float], more: int
) -> None:
    spent_kwh, of = sum(energies_kwh), len(energies_kwh) + more
    planned = project_from_checkpoints(checkpoints(energies_kwh, of))
    assert planned is not None
    assert planned.low >= spent_kwh * (1 - 1e-9)
    if not more:
        assert planned.low == pytest.approx(planned.high) == pytest.approx(spent_kwh)


def test_the_expensive_beginning_of_checkpoints_counts_once() -> None:
    planned = project_from_checkpoints(checkpoints([5.0, 1.0, 1.0], of=10))
    assert planned is not None
    assert planned.central == pytest.approx(14.0)
    assert planned.low < 14.0 < planned.high


def test_early_stopping_is_recognised_by_its_class_name() -> None:
    class EarlyStopping:
        pass

    class Mine(EarlyStopping):
        pass

    assert stops_early([object(), Mine()])
    assert not stops_early([object()])
