import os
import subprocess
import sys
import time
from dataclasses import replace

import pynvml
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from standins import nvml as standin
from standins.nvml import (
    Code,
    Constant,
    Fault,
    Machine,
    Ramp,
    Slice,
    Square,
    Trace,
    a100,
    bursts,
    h100,
    p100,
    rtx4090,
    training,
    v100,
)
from trainwatt.testing import VirtualClock


def opened(index: int = 0):
    pynvml.nvmlInit()
    return pynvml.nvmlDeviceGetHandleByIndex(index)


def counted_j(handle) -> float:
    return pynvml.nvmlDeviceGetTotalEnergyConsumption(handle) / 1e3


def error_of(function, *arguments) -> int:
    with pytest.raises(pynvml.NVMLError) as caught:
        function(*arguments)
    return caught.value.value


watts = st.floats(0, 700)
lengths_s = st.floats(0.01, 100)
waves = st.one_of(
    st.builds(Constant, watts),
    st.builds(Square, watts, watts, lengths_s, st.floats(0, 1), st.floats(-10, 10)),
    st.builds(Ramp, watts, watts, st.floats(-100, 100), lengths_s),
    st.builds(Trace, st.lists(st.tuples(lengths_s, watts), min_size=1, max_size=20)),
    st.builds(bursts, watts, watts, seed=st.integers(0, 9)),
)


@settings(deadline=None)
@given(load=st.lists(waves, min_size=1, max_size=3), from_s=st.floats(-1e3, 1e4), for_s=st.floats(0, 1e4))
def test_c_and_python_agree_on_the_true_energy(nvml_library, load, from_s, for_s) -> None:
    clock = VirtualClock()
    with nvml_library.running(a100(*load), clock=clock) as machine:
        begin_s = clock.now_s + from_s
        expected_j = machine.truth_j(begin_s, begin_s + for_s)
        assert nvml_library.true_j(0, begin_s, begin_s + for_s) == pytest.approx(expected_j, rel=1e-9, abs=1e-3)


@pytest.mark.parametrize("wave", [Square(60, 300, 0.7, 0.3, 0.2), Ramp(60, 300, 2, 5), bursts(60, 300), training()])
def test_the_true_energy_is_the_integral_of_the_power(wave) -> None:
    def power_w(time_s: float) -> float:
        return (wave.energy_j(time_s + 1e-6) - wave.energy_j(time_s - 1e-6)) / 2e-6

    total_j = sum(power_w((i + 0.5) * 0.01) * 0.01 for i in range(1_000))
    assert total_j == pytest.approx(wave.energy_j(10) - wave.energy_j(0), rel=1e-3)


def test_an_hour_on_the_counter_is_exact(nvml_library, clock) -> None:
    with nvml_library.running(a100(bursts(60, 300), counter_refresh_s=0.1), clock=clock) as machine:
        handle, begin_s = opened(), clock.now_s
        before_j = counted_j(handle)
        clock.now_s += 3600
        assert counted_j(handle) - before_j == pytest.approx(machine.truth_j(begin_s, clock.now_s), abs=0.01)


def test_a_counter_stands_still_between_renewals_which_come_in_its_own_phase(nvml_library, clock) -> None:
    boards = [a100(Constant(100), counter_phase_s=phase_s, counter_start_j=1_000) for phase_s in (0.0, 0.03)]
    seen = []
    with nvml_library.running(*boards, clock=clock):
        handles = [opened(index) for index in range(2)]
        for _ in range(30):
            seen.append([round(counted_j(handle), 3) for handle in handles])
            clock.now_s += 0.01
    assert [len({pair[board] for pair in seen}) for board in range(2)] == [3, 4]
    assert seen[9] == [1_000.0, 1_003.0]


def test_a_power_reading_is_the_mean_of_its_window_with_noise(nvml_library, clock) -> None:
    board = h100(Square(100, 500, 10.0, phase_s=0.5), power_window_s=1.0)
    with nvml_library.running(board, clock=clock):
        handle = opened()
        clock.now_s += 1.0  # the window of the last second holds half a second of each
        readings_w = []
        for _ in range(200):
            readings_w.append(pynvml.nvmlDeviceGetPowerUsage(handle) / 1e3)
            clock.now_s += 10.0
    assert sum(readings_w) / 200 == pytest.approx(300, abs=0.5)
    assert max(abs(reading_w - 300) for reading_w in readings_w) <= 1.5
    assert len(set(readings_w)) > 100


def test_the_buffer_holds_the_newest_samples_and_tells_only_new_ones(nvml_library, clock) -> None:
    with nvml_library.running(p100(Constant(100)), clock=clock):
        handle = opened()
        _, first = pynvml.nvmlDeviceGetSamples(handle, pynvml.NVML_TOTAL_POWER_SAMPLES, 0)
        last_us = first[-1].timeStamp
        assert len(first) == 120
        assert last_us == pytest.approx(clock.wall() * 1e6, abs=20_001)
        assert error_of(pynvml.nvmlDeviceGetSamples, handle, 0, last_us) == Code.NOT_FOUND
        clock.now_s += 1.0
        _, second = pynvml.nvmlDeviceGetSamples(handle, 0, last_us)
        assert len(second) == 50
        assert second[0].timeStamp - last_us == 20_000
        assert abs(second[0].sampleValue.uiVal / 1e3 - 100) <= 1.5


def test_untidy_samples_hold_every_tidy_one(nvml_library, clock) -> None:
    with nvml_library.running(p100(), p100(samples_untidy=True), clock=clock):
        tidy, untidy = ([s.timeStamp for s in pynvml.nvmlDeviceGetSamples(opened(i), 0, 0)[1]] for i in range(2))
    assert len(set(untidy)) < len(untidy)
    assert untidy != sorted(untidy)
    assert min(untidy) == 1
    assert set(tidy[-90:]) <= set(untidy)


def test_fields_tell_power_and_what_it_cost(nvml_library, clock) -> None:
    with nvml_library.running(h100(Constant(300), latency_us=7), clock=clock):
        values = pynvml.nvmlDeviceGetFieldValues(opened(), [185, 186, 83, (185, pynvml.NVML_POWER_SCOPE_MODULE)])
    assert [value.nvmlReturn for value in values] == [0, 0, 0, Code.NOT_SUPPORTED]
    assert values[0].latencyUsec == 7
    assert values[1].value.uiVal == pytest.approx(300e3, abs=1.5e3)


def test_a_counter_can_freeze_and_be_reset(nvml_library, clock) -> None:
    boards = (
        a100(Constant(100), counter_frozen_s=5.0, counter_start_j=0.0),
        a100(Constant(100), counter_reset_s=5.0, counter_start_j=1_000.0),
    )
    with nvml_library.running(*boards, clock=clock):
        handles = [opened(index) for index in range(2)]
        clock.now_s += 4.0
        assert [counted_j(handle) for handle in handles] == [pytest.approx(400), pytest.approx(1_400)]
        clock.now_s += 6.0
        assert [counted_j(handle) for handle in handles] == [pytest.approx(500), pytest.approx(500)]


def test_faults_hit_the_calls_and_the_times_that_they_name(nvml_library, clock) -> None:
    lost = Fault(Code.GPU_IS_LOST, from_s=10.0, to_s=20.0)
    board = a100(faults=(Fault(Code.TIMEOUT, "energy", 2.0, 4.0), lost))
    energy, power = pynvml.nvmlDeviceGetTotalEnergyConsumption, pynvml.nvmlDeviceGetPowerUsage
    with nvml_library.running(board, a100(faults=(Fault(Code.NO_PERMISSION, "handle"),)), clock=clock):
        handle = opened()
        assert energy(handle)
        clock.now_s += 3.0
        assert error_of(energy, handle) == Code.TIMEOUT
        assert power(handle)
        clock.now_s += 8.0
        assert error_of(power, handle) == Code.GPU_IS_LOST
        assert error_of(pynvml.nvmlDeviceGetHandleByIndex, 0) == Code.GPU_IS_LOST
        clock.now_s += 10.0
        assert energy(handle)
        assert error_of(opened, 1) == Code.NO_PERMISSION


def test_without_a_machine_no_driver_is_loaded(nvml_library) -> None:
    with nvml_library.running(Machine((), init_error=Code.LIB_RM_VERSION_MISMATCH)):
        assert error_of(pynvml.nvmlInit) == Code.LIB_RM_VERSION_MISMATCH
    assert error_of(pynvml.nvmlInit) == Code.DRIVER_NOT_LOADED


def test_mig_devices_have_names_and_sizes_but_no_power(nvml_library, clock) -> None:
    slices = (Slice("MIG-a", 3, gpu_instance=1), Slice("MIG-b", 2, gpu_instance=5))
    with nvml_library.running(a100(slices=slices), clock=clock):
        board = opened()
        parts = [pynvml.nvmlDeviceGetMigDeviceHandleByIndex(board, index) for index in range(2)]
        assert pynvml.nvmlDeviceGetMigMode(board) == [1, 1]
        assert pynvml.nvmlDeviceGetMaxMigDeviceCount(board) == 7
        assert [pynvml.nvmlDeviceGetUUID(part) for part in parts] == ["MIG-a", "MIG-b"]
        assert [pynvml.nvmlDeviceGetAttributes(part).computeInstanceSliceCount for part in parts] == [3, 2]
        assert pynvml.nvmlDeviceGetGpuInstanceId(parts[1]) == 5
        parent = pynvml.nvmlDeviceGetDeviceHandleFromMigDeviceHandle(parts[1])
        assert pynvml.nvmlDeviceGetUUID(parent) == pynvml.nvmlDeviceGetUUID(board)
        assert error_of(pynvml.nvmlDeviceGetMigDeviceHandleByIndex, board, 2) == pynvml.NVML_ERROR_NOT_FOUND
        for read in (pynvml.nvmlDeviceGetPowerUsage, pynvml.nvmlDeviceGetTotalEnergyConsumption):
            assert error_of(read, parts[0]) == Code.NOT_SUPPORTED


def test_shutting_down_ends_only_ones_own_use(nvml_library) -> None:
    with nvml_library.running(a100()):
        users = nvml_library.users
        pynvml.nvmlInit()
        pynvml.nvmlInit()
        pynvml.nvmlShutdown()
        assert nvml_library.users == users + 1


@pytest.mark.parametrize("busy", [False, True])
def test_a_call_takes_the_drivers_time(nvml_library, busy) -> None:
    times_s, cpu_times_s = [], []
    with nvml_library.running(a100(latency_us=5_000, latency_busy=busy)):
        handle = opened()
        for _ in range(5):
            began_s, began_cpu_s = time.perf_counter(), time.thread_time()
            pynvml.nvmlDeviceGetPowerUsage(handle)
            times_s.append(time.perf_counter() - began_s)
            cpu_times_s.append(time.thread_time() - began_cpu_s)
    assert min(times_s) >= 0.005
    assert max(cpu_times_s) > 0.0025 if busy else min(cpu_times_s) < 0.0025


@pytest.mark.parametrize("make", [a100, h100, v100, p100, rtx4090])
def test_each_kind_of_board_tells_what_peers_ask(nvml_library, make) -> None:
    with nvml_library.running(make(processes=(0,))):
        handle = opened()
        assert pynvml.nvmlDeviceGetName(handle) == make().name
        assert pynvml.nvmlDeviceGetArchitecture(handle) == make().architecture
        assert pynvml.nvmlDeviceGetCudaComputeCapability(handle) == make().capability
        assert pynvml.nvmlDeviceGetPciInfo(handle).busId == "00000000:17:00.0"
        assert pynvml.nvmlDeviceGetMemoryInfo(handle).total == make().memory_bytes
        assert pynvml.nvmlDeviceGetEnforcedPowerLimit(handle) == make().power_limit_w * 1e3
        assert 0 <= pynvml.nvmlDeviceGetUtilizationRates(handle).gpu <= 100
        assert pynvml.nvmlDeviceGetTemperatureV(handle, pynvml.NVML_TEMPERATURE_GPU) >= 30
        assert [each.pid for each in pynvml.nvmlDeviceGetComputeRunningProcesses(handle)] == [os.getpid()]
        assert [each.pid for each in pynvml.nvmlDeviceGetProcessUtilization(handle, 0)] == [os.getpid()]
        assert pynvml.nvmlDeviceGetGraphicsRunningProcesses(handle) == []


CHILD = """
import shutil, subprocess, time, pynvml
pynvml.nvmlInit()
handle = pynvml.nvmlDeviceGetHandleByIndex(0)
subprocess.run(["nvidia-smi"], check=True, stdout=subprocess.DEVNULL)
read = lambda: (time.perf_counter(), pynvml.nvmlDeviceGetTotalEnergyConsumption(handle) / 1e3)
(t0, j0), _, (t1, j1) = read(), time.sleep(0.2), read()
print(t0, t1, j1 - j0)
"""


def test_another_process_finds_the_machine_in_its_environment(nvml_library, tmp_path) -> None:
    machine = Machine((replace(a100(Ramp(100, 300, 0, 60)), counter_refresh_s=0.001),), origin_s=time.perf_counter())
    additions = standin.environment(machine, standin.build(tmp_path), tmp_path)
    command = [sys.executable, "-c", CHILD]
    out = subprocess.run(command, env=os.environ | additions, check=True, capture_output=True, text=True).stdout
    begin_s, end_s, joules = map(float, out.split())
    assert joules == pytest.approx(machine.truth_j(begin_s, end_s), rel=0.05)


def test_a_bad_description_is_refused(nvml_library) -> None:
    with pytest.raises(ValueError, match="ramp"), nvml_library.running(a100(Ramp(float("nan"), 1)), a100(Broken())):
        pass


class Broken:
    def energy_j(self, time_s: float) -> float:
        return time_s

    def line(self) -> str:
        return "ramp up"
