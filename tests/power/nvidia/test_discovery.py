import math
import subprocess
import sys
from types import ModuleType

import pynvml
import pytest

from standins.nvml import (
    Board,
    Code,
    Constant,
    Fault,
    Machine,
    Slice,
    Square,
    a100,
    h100,
    p100,
    rtx4090,
    v100,
)
from trainwatt.errors import SourceError
from trainwatt.power.device import Counter, Gauge, Missing
from trainwatt.power.nvidia import discovery
from trainwatt.sampling.sampler import Sampler
from trainwatt.testing import run_until

NOT_COUNTING = Fault(Code.NOT_SUPPORTED, "energy")


@pytest.fixture
def find(clock, tmp_path):
    """Discovery in a machine without a driver of its own."""

    def find(*, names=None, scope="machine", driver=False, **environ: str):
        if driver:
            (tmp_path / "driver/nvidia").mkdir(parents=True)
            (tmp_path / "driver/nvidia/version").touch()
        return discovery.find(clock=clock, scope=scope, names=names, environ=environ, proc_root=tmp_path)

    return find


def sources(found) -> list[str]:
    return [meter.device.source for meter in found.meters]


def test_every_board_is_found_with_its_best_meter(nvml_library, clock, find) -> None:
    unbuffered = p100(samples=0)
    with nvml_library.running(h100(), a100(), v100(), p100(), unbuffered, clock=clock) as machine:
        found = find()
    assert sources(found) == ["NVML total-energy counter"] * 3 + ["NVML power samples", "NVML power, polled"]
    assert [meter.device.id for meter in found.meters] == [f"gpu:{machine.uuid(index)}" for index in range(5)]
    assert {meter.device.kind for meter in found.meters} == {"gpu"}
    assert {meter.device.method for meter in found.meters} == {"measured"}
    assert found.missing == ()


def test_every_meter_tells_watts_now(nvml_library, clock, find) -> None:
    boards = [make(Constant(150)) for make in (h100, p100)] + [p100(Constant(150), samples=0)]
    with nvml_library.running(*boards, clock=clock):
        for meter in find().meters:
            watts = meter.watts() if isinstance(meter, Counter) else meter.readings()[-1].watts
            assert watts == pytest.approx(150, abs=1.5)


def test_a_sensors_error_is_part_of_the_device(nvml_library, clock, find) -> None:
    with nvml_library.running(rtx4090(), p100(), p100(samples=0), clock=clock):
        counter, buffer, polled = (meter.device for meter in find().meters)
    assert (counter.low, counter.high) == (0.94, 1.06)
    assert buffer.low < 1 < buffer.high < polled.high


@pytest.mark.parametrize(
    ("visible", "expected"), [(None, [0, 1, 2]), ("1", [1]), ("", []), ("2,0", [2, 0]), ("GPU-00000002", [2])]
)
def test_only_the_boards_that_cuda_may_see_are_found(nvml_library, clock, find, visible, expected) -> None:
    environ = {} if visible is None else {"CUDA_VISIBLE_DEVICES": visible}
    with nvml_library.running(a100(), a100(), a100(), clock=clock) as machine:
        found = find(**environ)
    assert [meter.device.id for meter in found.meters] == [f"gpu:{machine.uuid(index)}" for index in expected]
    assert [missing.warn for missing in found.missing] == ([] if expected else [False])


def test_the_framework_knows_best_which_boards_it_uses(nvml_library, clock, find) -> None:
    with nvml_library.running(a100(), a100(), clock=clock) as machine:
        bare = machine.uuid(1).removeprefix("GPU-")
        found = find(names=[bare], CUDA_VISIBLE_DEVICES="0")
        (unknown,) = find(names=["GPU-77"]).missing
        assert find(names=[]).meters == ()
    assert [meter.device.id for meter in found.meters] == [f"gpu:{machine.uuid(1)}"]
    assert "GPU-77" in unknown.why
    assert unknown.warn


def test_a_guessed_order_is_noted_on_the_device(nvml_library, clock, find) -> None:
    with nvml_library.running(p100(), rtx4090(), clock=clock):
        (meter,) = find(CUDA_VISIBLE_DEVICES="0").meters
        (sure,) = find(CUDA_VISIBLE_DEVICES="0", CUDA_DEVICE_ORDER="PCI_BUS_ID").meters
    assert meter.device.name == rtx4090().name
    assert "PCI_BUS_ID" in meter.device.note
    assert (sure.device.name, sure.device.note) == (p100().name, "")


SLICES = (Slice("MIG-a", 3, gpu_instance=1), Slice("MIG-b", 2, gpu_instance=5), Slice("MIG-c", 2, gpu_instance=6))


@pytest.mark.parametrize("board", [a100, p100], ids=["counter", "samples"])
def test_each_slice_of_a_board_is_charged_its_share_by_profile(nvml_library, clock, board) -> None:
    with nvml_library.running(board(Constant(210), slices=SLICES, noise_w=0.0), clock=clock) as machine:
        found = discovery.find(clock=clock, environ={"CUDA_VISIBLE_DEVICES": "MIG-a,MIG-b"})
        sampler = Sampler(clock, threaded=False)
        subscription = sampler.subscribe(found.meters)
        run_until(sampler, clock, clock.now_s + 5.0)
        begin_s = clock.now_s
        run_until(sampler, clock, begin_s + 105.0)
        before_j, after_j = subscription.joules_at(begin_s), subscription.joules_at(begin_s + 100.0)
    three, two = (meter.device for meter in found.meters)
    assert (three.id, two.id) == (f"gpu:{machine.uuid()}/MIG-a", f"gpu:{machine.uuid()}/MIG-b")
    assert after_j[three.id] - before_j[three.id] == pytest.approx(21_000 * 3 / 7, rel=0.01)
    assert after_j[two.id] - before_j[two.id] == pytest.approx(21_000 * 2 / 7, rel=0.01)
    assert {three.method, two.method} == {"estimated"}
    assert (three.share, two.share) == pytest.approx((3 / 7, 2 / 7))
    assert three.high >= 7 / 3
    assert "3g.10gb" in three.note
    assert "3/7" in three.note


@pytest.mark.parametrize(
    ("environ", "names"),
    [
        ("MIG-c", None),
        ("GPU-00000000/6/0", None),
        (None, ["c"]),
        ("MIG-c", [0]),
        ("MIG-c", ["GPU-00000000"]),
    ],
    ids=["uuid", "older name", "the framework's", "number", "its board's"],
)
def test_a_slice_is_found_by_each_of_its_names(nvml_library, clock, find, environ, names) -> None:
    with nvml_library.running(a100(slices=SLICES), clock=clock) as machine:
        text = (
            {}
            if environ is None
            else {"CUDA_VISIBLE_DEVICES": environ.replace("GPU-00000000", f"MIG-{machine.uuid()}")}
        )
        (meter,) = find(names=names, **text).meters
        assert meter.device.id == f"gpu:{machine.uuid()}/MIG-c"


@pytest.mark.parametrize(("most", "profiles"), [(7, (1,) * 7), (7, (3, 3)), (7, (4, 2, 1)), (4, (1, 1, 2))])
def test_the_shares_of_all_slices_are_at_most_the_board(nvml_library, clock, find, most, profiles) -> None:
    slices = tuple(Slice(f"MIG-{n}", size, gpu_instance=n) for n, size in enumerate(profiles))
    with nvml_library.running(a100(slices=slices, max_slices=most), clock=clock):
        visible = ",".join(part.uuid for part in slices)
        shares = [meter.device.share for meter in find(CUDA_VISIBLE_DEVICES=visible).meters]
    assert shares == pytest.approx([size / most for size in profiles])
    assert sum(shares) <= 1 + 1e-9


@pytest.mark.parametrize(("others", "part"), [((), 1), ((1,), 1 / 2), ((1, 1, 1), 1 / 4)])
def test_a_process_is_charged_its_part_of_a_slice_by_the_processes_on_it(
    nvml_library, clock, find, others, part
) -> None:
    # process 1 is not ours, and neither is the one on the other slice
    board = a100(Constant(210), slices=SLICES, processes=(0, *others, 1), process_slices=(1, *([1] * len(others)), 0))
    with nvml_library.running(board, clock=clock):
        (meter,) = find(scope="process", CUDA_VISIBLE_DEVICES="MIG-b").meters
        before_j = meter.joules()
        clock.now_s += 100
        assert meter.joules() - before_j == pytest.approx(21_000 * 2 / 7 * part, rel=0.01)
    assert meter.device.method == "estimated"


def test_a_driver_that_reports_the_use_of_each_process_in_mig_mode_is_believed(nvml_library, clock, find) -> None:
    board = a100(Constant(210), slices=SLICES, processes=(0, 1), process_shares=(0.25, 0.75), process_utilisation=True)
    with nvml_library.running(board, clock=clock):
        (meter,) = find(scope="process", CUDA_VISIBLE_DEVICES="MIG-b").meters
        before_j = meter.joules()
        clock.now_s += 100
        assert meter.joules() - before_j == pytest.approx(21_000 / 4, rel=0.05)


def old_pynvml() -> ModuleType:
    """pynvml before 11.5: nvidia-ml-py without the conversion of text, which it has as a decorator."""
    module = ModuleType("pynvml")
    module.__dict__.update({name: getattr(value, "__wrapped__", value) for name, value in vars(pynvml).items()})
    return module


def test_an_old_pynvml_that_returns_bytes_finds_the_same_boards(nvml_library, clock, find, monkeypatch) -> None:
    with nvml_library.running(a100(slices=SLICES), h100(), clock=clock) as machine:
        names = [[machine.uuid(1)], ["MIG-b"], None]
        expected = [[meter.device for meter in find(names=each).meters] for each in names]
        old = old_pynvml()
        monkeypatch.setitem(sys.modules, "pynvml", old)
        assert isinstance(old.nvmlDeviceGetUUID(old.nvmlDeviceGetHandleByIndex(0)), bytes)
        assert [[meter.device for meter in find(names=each).meters] for each in names] == expected
        (meter,) = find(names=[machine.uuid(1)]).meters
        while nvml_library.users:
            pynvml.nvmlShutdown()
        with pytest.raises(SourceError):
            meter.joules()
        assert meter.joules() > 0


@pytest.mark.parametrize("old", [False, True], ids=["nvidia-ml-py", "pynvml 11"])
def test_a_name_that_is_no_text_is_readable_as_far_as_it_goes(nvml_library, clock, find, monkeypatch, old) -> None:
    with nvml_library.running(a100(name="NVIDIA \udcff100"), clock=clock) as machine:
        if old:
            monkeypatch.setitem(sys.modules, "pynvml", old_pynvml())
        (meter,) = find().meters
        assert (meter.device.id, meter.device.name) == (f"gpu:{machine.uuid()}", "NVIDIA \ufffd100")


def test_a_grace_hopper_says_that_it_counts_its_cpu_too(nvml_library, clock, find) -> None:
    with nvml_library.running(h100(module_scope=True), h100(), clock=clock):
        module, plain = find().meters
    assert "CPU" in module.device.note
    assert plain.device.note == ""


def test_a_board_that_fails_keeps_no_other_from_being_found(nvml_library, clock, find) -> None:
    boards = (
        a100(faults=(Fault(Code.GPU_IS_LOST),)),
        a100(
            faults=(
                Fault(Code.NOT_SUPPORTED, "energy"),
                Fault(Code.NOT_SUPPORTED, "power"),
                Fault(Code.UNKNOWN, "samples"),
            )
        ),
        a100(),
    )
    with nvml_library.running(*boards, clock=clock) as machine:
        found = find()
    assert [meter.device.id for meter in found.meters] == [f"gpu:{machine.uuid(2)}"]
    lost, mute = found.missing
    assert "GPU 0" in lost.why
    assert "neither its energy nor its power" in mute.why
    assert lost.warn
    assert mute.warn


def test_boards_of_others_are_told_once_and_quietly_and_count_in_no_order(nvml_library, clock, find) -> None:
    others = a100(faults=(Fault(Code.NO_PERMISSION, "handle"),))
    with nvml_library.running(others, others, a100(), others, clock=clock) as machine:
        found = find(CUDA_VISIBLE_DEVICES="0")
    assert [meter.device.id for meter in found.meters] == [f"gpu:{machine.uuid(2)}"]
    (missing,) = found.missing
    assert missing.why.startswith("3 of 4 GPUs")
    assert not missing.warn


def test_if_no_board_may_be_opened_the_user_is_warned(nvml_library, clock, find) -> None:
    with nvml_library.running(a100(faults=(Fault(Code.NO_PERMISSION, "handle"),)), clock=clock):
        (missing,) = find().missing
    assert missing.warn
    assert missing.remedy


@pytest.mark.parametrize("fault", [NOT_COUNTING, Fault(Code.NO_PERMISSION, "energy"), Fault(Code.UNKNOWN, "energy")])
def test_without_a_working_counter_the_samples_serve(nvml_library, clock, find, fault) -> None:
    with nvml_library.running(a100(faults=(fault,)), clock=clock):
        assert sources(find()) == ["NVML power samples"]


@pytest.mark.parametrize(
    ("code", "driver", "warn", "remedy"),
    [
        (Code.DRIVER_NOT_LOADED, False, False, "modprobe"),
        (Code.DRIVER_NOT_LOADED, True, True, "modprobe"),
        (Code.LIB_RM_VERSION_MISMATCH, True, True, "restart"),
        (Code.NO_PERMISSION, True, True, "/dev/nvidiactl"),
        (Code.UNKNOWN, True, True, "restart the container"),
        (Code.TIMEOUT, True, True, ""),
        (pynvml.NVML_ERROR_LIBRARY_NOT_FOUND, False, False, ""),
        (pynvml.NVML_ERROR_LIBRARY_NOT_FOUND, True, True, "NVIDIA_DRIVER_CAPABILITIES"),
    ],
)
def test_why_there_is_no_nvml_and_what_to_do(*, nvml_library, find, code, driver, warn, remedy) -> None:
    with nvml_library.running(Machine((), init_error=code)):
        found = find(driver=driver)
    assert found.meters == ()
    (missing,) = found.missing
    assert (missing.kind, missing.source, missing.warn) == ("gpu", "NVML", warn)
    assert remedy in missing.remedy
    assert bool(missing.remedy) == bool(remedy)


def test_a_driver_without_a_gpu_is_no_cause_for_a_warning(nvml_library, clock, find) -> None:
    with nvml_library.running(clock=clock):
        found = find()
    assert found.missing == (Missing("gpu", "NVML", "the NVIDIA driver reports no GPU"),)


WITHOUT_PACKAGE = """
import sys
sys.modules["pynvml"] = None
from trainwatt.power.nvidia import discovery
(missing,) = discovery.find().missing
print(missing.remedy)
"""


def test_nvidia_ml_py_is_imported_late_and_may_be_missing() -> None:
    late = "import sys; import trainwatt.power.discovery; print('pynvml' in sys.modules)"
    outputs = [
        subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.strip()
        for code in (late, WITHOUT_PACKAGE)
    ]
    assert outputs == ["False", "pip install nvidia-ml-py"]


def test_another_user_of_nvml_in_this_process_may_come_and_go(nvml_library, clock, find) -> None:
    with nvml_library.running(a100(), clock=clock):
        (meter,) = find().meters
        pynvml.nvmlInit()
        pynvml.nvmlShutdown()
        assert meter.joules() > 0
        assert nvml_library.users > 0


def measured_j(nvml_library, clock, board: Board, seconds: float) -> tuple[float, float, Sampler]:
    """What the sampler makes of a board's meter, and the truth, over some seconds."""
    with nvml_library.running(board, clock=clock) as machine:
        found = discovery.find(clock=clock, environ={})
        sampler = Sampler(clock, threaded=False)
        subscription = sampler.subscribe(found.meters)
        run_until(sampler, clock, clock.now_s + 5.0, late_s=0.0005)
        begin_s = clock.now_s
        run_until(sampler, clock, begin_s + seconds, late_s=0.0005)
        end_s = clock.now_s
        run_until(sampler, clock, end_s + 3.0, late_s=0.0005)
        (before_j,), (after_j,) = subscription.joules_at(begin_s).values(), subscription.joules_at(end_s).values()
        return after_j - before_j, machine.truth_j(begin_s, end_s), subscription.devices[0].source


def test_a_counter_that_freezes_gives_way_to_the_samples(nvml_library, clock) -> None:
    board = v100(Constant(200), counter_frozen_s=60.0)
    got_j, true_j, source = measured_j(nvml_library, clock, board, 300.0)
    assert source == "NVML power samples"
    assert got_j == pytest.approx(true_j, rel=0.01)


def test_a_counter_that_ends_gives_way_to_the_samples(nvml_library, clock) -> None:
    board = v100(Square(60, 300, 1.0), faults=(Fault(Code.NOT_SUPPORTED, "energy", from_s=60.0),))
    got_j, true_j, source = measured_j(nvml_library, clock, board, 300.0)
    assert source == "NVML power samples"
    assert got_j == pytest.approx(true_j, rel=0.01)


def test_a_lost_board_has_no_lesser_meter(nvml_library, clock, find) -> None:
    with nvml_library.running(a100(faults=(Fault(Code.GPU_IS_LOST, from_s=1.0),)), clock=clock):
        (meter,) = find().meters
        clock.now_s += 2.0
        assert meter.fallback() is None
        assert meter.watts() is None


def test_meters_say_how_often_they_want_to_be_read(nvml_library, clock, find) -> None:
    with nvml_library.running(h100(), p100(), p100(samples=0), h100(faults=(NOT_COUNTING,), samples=0), clock=clock):
        counter, buffer, fast, slow = find().meters
    assert isinstance(counter, Counter)
    assert counter.max_gap_s == math.inf
    assert counter.wraps_at_j is None
    assert counter.refresh_s == 0.1
    assert all(isinstance(gauge, Gauge) for gauge in (buffer, fast, slow))
    assert 1.0 <= buffer.max_gap_s < 120 * 0.02
    assert (fast.max_gap_s, slow.max_gap_s) == (0.04, 1.0)
