import itertools
import tempfile
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from standins.linux_host import GENOA_VM, ROME_SERVER, LinuxHost
from standins.powercap import AMD_RANGE_J, INTEL_RANGE_J, PowercapTree, unprivileged
from standins.waves import Square
from trainwatt.errors import SourceError, SourceLostError
from trainwatt.power.device import Counter, Device, Found
from trainwatt.power.host import rapl
from trainwatt.testing import VirtualClock, VirtualSampler


def counters(found: Found) -> list[Counter]:
    return [meter for meter in found.meters if isinstance(meter, Counter)]


def open_descriptors() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


def ids(found: Found) -> list[str]:
    return [meter.device.id for meter in found.meters]


@given(
    sockets=st.integers(1, 4),
    dies=st.integers(1, 2),
    children=st.lists(st.sampled_from(["core", "uncore", "dram"]), unique=True),
    psys=st.booleans(),
    mmio=st.booleans(),
    shape=st.sampled_from(["links", "nested"]),
)
def test_each_package_and_each_memory_is_found_once(*, sockets, dies, children, psys, mmio, shape) -> None:
    with tempfile.TemporaryDirectory() as folder:
        tree = PowercapTree(
            Path(folder), sockets=sockets, dies=dies, children=tuple(children), psys=psys, mmio=mmio, shape=shape
        )
        found = rapl.find(root=tree.root, boot_id="b")
    names = [zone.name for zone in tree.packages()]
    memories = names if "dram" in children else []
    assert sorted(ids(found)) == sorted([f"cpu:b/{name}" for name in names] + [f"ram:b/{name}" for name in memories])
    assert not found.missing


def test_a_package_that_only_mmio_shows_is_found_there(tmp_path: Path) -> None:
    tree = PowercapTree(tmp_path, mmio=True)
    for link in tree.root.glob("intel-rapl*"):
        if "mmio" not in link.name:
            link.unlink()
    assert ids(rapl.find(root=tree.root, boot_id="b")) == ["cpu:b/package-0", "ram:b/package-0"]


def test_a_package_that_shows_twice_is_read_the_usual_way(tmp_path: Path) -> None:
    tree = PowercapTree(tmp_path, mmio=True, start_j=5.0)
    cpu, _ = counters(rapl.find(root=tree.root, boot_id="b"))
    for zone in tree.zones:
        if "mmio" in zone.path.name:
            zone.remove()
    assert cpu.joules() == pytest.approx(5.0)


def test_more_than_ten_packages_are_all_found(tmp_path: Path) -> None:
    tree = PowercapTree(tmp_path, sockets=12)
    assert len(ids(rapl.find(root=tree.root, boot_id="b"))) == 24


@given(
    low_w=st.floats(0, 300),
    high_w=st.floats(0, 300),
    period_s=st.floats(0.01, 100),
    start_j=st.floats(0, AMD_RANGE_J),
    time_s=st.floats(0, 2_000),
)
def test_a_counter_stands_where_the_power_put_it(low_w, high_w, period_s, start_j, time_s) -> None:
    wave = Square(low_w, high_w, period_s)
    with tempfile.TemporaryDirectory() as folder:
        tree = PowercapTree(Path(folder), wave=wave, start_j=start_j, range_j=AMD_RANGE_J)
        cpu, ram = counters(rapl.find(root=tree.root, boot_id="b"))
        tree.advance(time_s)
        cpu_j, ram_j = cpu.joules(), ram.joules()
    for reading_j, part in ((cpu_j, 1.0), (ram_j, 0.25)):
        truth_j = start_j + part * wave.energy_j(time_s)
        off_j = (reading_j - truth_j) % AMD_RANGE_J
        assert min(off_j, AMD_RANGE_J - off_j) == pytest.approx(0, abs=2e-6)


def test_an_hour_at_500_w_adds_up_when_read_as_rarely_as_the_counter_allows(tmp_path: Path) -> None:
    wave = Square(500.0, 500.0)
    tree = PowercapTree(tmp_path, wave=wave, range_j=AMD_RANGE_J)
    cpu, _ = counters(rapl.find(root=tree.root, boot_id="b"))
    readings = []
    for step in range(int(3600 / cpu.max_gap_s) + 1):
        tree.advance(step * cpu.max_gap_s)
        readings.append(cpu.joules())
    assert cpu.wraps_at_j is not None
    total_j = sum((after - before) % cpu.wraps_at_j for before, after in itertools.pairwise(readings))
    assert total_j == pytest.approx(500.0 * 3600, rel=1e-6)


@given(wraps_at_j=st.floats(1, 1e6), power_w=st.floats(0, 1_000))
def test_no_load_up_to_1_kw_wraps_a_counter_twice_between_two_reads(wraps_at_j, power_w) -> None:
    assert power_w * rapl.max_gap_s(wraps_at_j) <= wraps_at_j / 2 * (1 + 1e-12)


def test_known_counters_are_read_each_30_s() -> None:
    assert [rapl.max_gap_s(range_j) for range_j in (AMD_RANGE_J, INTEL_RANGE_J)] == [30.0, 30.0]


def test_counters_that_only_root_may_read_are_told_with_the_commands_that_open_them(tmp_path: Path) -> None:
    tree = PowercapTree(tmp_path, sockets=2)
    for zone in tree.zones:
        zone.deny()
    with unprivileged():
        found = rapl.find(root=tree.root, boot_id="b")
    assert not found.meters
    assert [(missing.kind, missing.warn) for missing in found.missing] == [("cpu", True), ("ram", True)]
    assert "2 of 2" in found.missing[0].why
    for command in ("chmod a+r", "/etc/udev/rules.d/", "udevadm trigger", "CVE-2020-8694"):
        assert command in found.missing[0].remedy


def test_one_socket_of_two_is_not_taken_for_the_machine(tmp_path: Path) -> None:
    tree = PowercapTree(tmp_path, sockets=2)
    tree.packages()[1].deny()
    with unprivileged():
        found = rapl.find(root=tree.root, boot_id="b")
    assert ids(found) == ["ram:b/package-0", "ram:b/package-1"]
    (missing,) = found.missing
    assert missing.kind == "cpu"
    assert missing.warn
    assert "1 of 2" in missing.why


def test_denied_memory_leaves_the_packages_counted(tmp_path: Path) -> None:
    tree = PowercapTree(tmp_path)
    tree.memories()[0].deny()
    with unprivileged():
        found = rapl.find(root=tree.root, boot_id="b")
    assert ids(found) == ["cpu:b/package-0"]
    assert [missing.kind for missing in found.missing] == ["ram"]


def test_a_counter_that_gives_no_number_is_told_without_a_remedy_for_permissions(tmp_path: Path) -> None:
    tree = PowercapTree(tmp_path, children=())
    tree.packages()[0].energy_file.write_text("<unsupported>\n")
    (missing,) = rapl.find(root=tree.root, boot_id="b").missing
    assert missing.warn
    assert "unsupported" in missing.why
    assert not missing.remedy


def test_a_container_that_hides_the_counters_is_told_how_to_show_them(tmp_path: Path) -> None:
    tree = PowercapTree(tmp_path, shape="hidden")
    (missing,) = rapl.find(root=tree.root, boot_id="b").missing
    assert missing.warn
    assert "container" in missing.why
    assert "systempaths=unconfined" in missing.remedy


@pytest.mark.parametrize(
    ("facts", "virtual", "why", "remedy"),
    [
        (GENOA_VM, True, "virtual machine", ""),
        (ROME_SERVER, False, "module", "modprobe"),
        ({"CPU implementer": "0x41", "CPU part": "0xd0c"}, False, "no RAPL", ""),
    ],
)
def test_the_reason_for_no_counters_at_all_is_told_but_not_warned_of(
    tmp_path: Path, facts: dict[str, str], virtual: bool, why: str, remedy: str
) -> None:
    host = LinuxHost(tmp_path, facts=facts, virtual=virtual)
    (missing,) = rapl.find(root=tmp_path / "nothing", proc_root=host.proc_root).missing
    assert why in missing.why
    assert remedy in missing.remedy
    assert bool(missing.remedy) == bool(remedy)
    assert not missing.warn


def test_a_psys_zone_alone_is_not_a_processor(tmp_path: Path) -> None:
    tree = PowercapTree(tmp_path, sockets=0, psys=True)
    assert not rapl.find(root=tree.root, boot_id="b").meters


def test_a_zone_that_is_taken_away_is_lost(tmp_path: Path) -> None:
    tree = PowercapTree(tmp_path, children=())
    (cpu,) = counters(rapl.find(root=tree.root, boot_id="b"))
    tree.packages()[0].remove()
    with pytest.raises(SourceLostError, match="energy_uj"):
        cpu.joules()


def test_a_zone_that_comes_back_is_read_again(tmp_path: Path) -> None:
    tree = PowercapTree(tmp_path, children=(), start_j=5.0)
    (cpu,) = counters(rapl.find(root=tree.root, boot_id="b"))
    tree.packages()[0].remove()
    with pytest.raises(SourceLostError):
        cpu.joules()
    tree.packages()[0].energy_file.touch()
    tree.advance(0.0)
    assert cpu.joules() == pytest.approx(5.0)


def test_a_reading_that_is_no_number_fails_this_once(tmp_path: Path) -> None:
    tree = PowercapTree(tmp_path, children=(), start_j=5.0)
    (cpu,) = counters(rapl.find(root=tree.root, boot_id="b"))
    tree.packages()[0].energy_file.write_text("no data                 ")
    with pytest.raises(SourceError) as raised:
        cpu.joules()
    assert not isinstance(raised.value, SourceLostError)
    tree.advance(0.0)
    assert cpu.joules() == pytest.approx(5.0)


def test_permission_taken_away_later_does_not_stop_an_open_counter(tmp_path: Path) -> None:
    tree = PowercapTree(tmp_path, children=(), start_j=5.0)
    with unprivileged():
        (cpu,) = counters(rapl.find(root=tree.root, boot_id="b"))
    tree.packages()[0].deny()
    with unprivileged():
        assert cpu.joules() == pytest.approx(5.0)


def test_no_descriptor_is_left_behind(tmp_path: Path) -> None:
    tree = PowercapTree(tmp_path, sockets=3)
    before = open_descriptors()
    found = rapl.find(root=tree.root, boot_id="b")
    assert open_descriptors() > before
    del found
    assert open_descriptors() == before


def test_a_counter_is_a_measurement_by_the_processors_name(tmp_path: Path) -> None:
    tree = PowercapTree(tmp_path / "tree")
    host = LinuxHost(tmp_path / "host")
    cpu, ram = counters(rapl.find(root=tree.root, proc_root=host.proc_root))
    assert cpu.device.id == "cpu:0a1b2c3d-0000-4000-8000-000000000001/package-0"
    assert cpu.device.name == "AMD EPYC 7742 64-Core Processor (package-0)"
    assert {cpu.device.method, ram.device.method} == {"measured"}
    assert cpu.watts() is None


def joules_of(meters: Iterable[Counter]) -> list[float]:
    return [meter.joules() for meter in meters]


def counted_j(before: Iterable[float], after: Iterable[float], range_j: float = INTEL_RANGE_J) -> float:
    return sum((b - a) % range_j for a, b in zip(before, after, strict=True))


@given(
    sockets=st.integers(1, 2),
    dies=st.integers(1, 4),
    start_j=st.floats(0, AMD_RANGE_J),
    time_s=st.floats(0.01, 200),
    mirrored=st.booleans(),
)
def test_dies_that_show_one_counter_count_once(*, sockets, dies, start_j, time_s, mirrored) -> None:
    wave = Square(60.0, 170.0)
    with tempfile.TemporaryDirectory() as folder:
        tree = PowercapTree(
            Path(folder), sockets=sockets, dies=dies, mirrored=mirrored, wave=wave, start_j=start_j, range_j=AMD_RANGE_J
        )
        found = counters(rapl.find(root=tree.root, boot_id="b"))
        before = joules_of(found)
        tree.advance(time_s)
        after = joules_of(found)
    packages = sockets if mirrored else sockets * dies
    true_j = 1.25 * wave.energy_j(time_s) * packages
    assert len(found) == 2 * packages
    assert counted_j(before, after, AMD_RANGE_J) == pytest.approx(true_j, abs=1e-4)


class Measured(NamedTuple):
    joules: dict[str, float]
    devices: tuple[Device, ...]
    gaps_s: dict[str, float]
    notes: dict[str, str]


def measured_j(
    tree: PowercapTree, seconds: float, *, events: Mapping[float, Callable[[], object]] | None = None
) -> Measured:
    """Energy of a tree's packages by the sampler, read each second in virtual time."""
    clock = VirtualClock()
    sampler, begin_s = VirtualSampler(clock), clock.now_s
    meters = [meter for meter in counters(rapl.find(root=tree.root, boot_id="b")) if meter.device.kind == "cpu"]
    subscription = sampler.subscribe(meters)
    due = dict(events or {})
    while (since_s := clock.now_s - begin_s) < seconds:
        for at_s in [at_s for at_s in due if at_s <= since_s]:
            due.pop(at_s)()
        tree.advance(since_s)
        next_s = sampler.tick()
        clock.now_s = min(max(next_s, clock.now_s + 1e-3), begin_s + seconds)
    tree.advance(seconds)
    sampler.tick(woken=True)
    after, before = subscription.joules_at(clock.now_s), subscription.joules_at(begin_s)
    joules = {device: after[device] - before[device] for device in after}
    return Measured(joules, subscription.devices, subscription.gaps_s, subscription.notes)


def test_two_mirrored_dies_of_a_threadripper_are_one_device(tmp_path: Path) -> None:
    """68 W on the meter of the board's supply, where two zones of 68 W each were counted as 137 W."""
    tree = PowercapTree(
        tmp_path, dies=2, mirrored=True, children=(), wave=Square(68.0, 68.0), start_j=60_000.0, range_j=AMD_RANGE_J
    )
    measured = measured_j(tree, 600.0)
    assert measured.joules == {"cpu:b/package-0-die-0": pytest.approx(68 * 600, rel=1e-6)}
    assert "package-0-die-1: the same counter" in measured.devices[0].note
    assert not measured.gaps_s


@pytest.mark.parametrize("second_w", [20.0, 69.0, 80.0, 200.0])
def test_counters_that_agree_at_the_start_by_accident_all_count_in_the_end(tmp_path: Path, second_w: float) -> None:
    tree = PowercapTree(tmp_path, sockets=2, children=(), wave=Square(68.0, 68.0), range_j=AMD_RANGE_J)
    first, second = tree.packages()
    second.start_j, second.wave = first.start_j, Square(second_w, second_w)
    second.write(0.0)
    measured = measured_j(tree, 1200.0)
    assert measured.joules == {"cpu:b/package-0": pytest.approx((68 + second_w) * 1200, rel=1e-5)}
    assert "includes package-1" in measured.devices[0].note
    assert not measured.gaps_s


def test_a_reading_between_two_updates_is_no_disagreement(tmp_path: Path) -> None:
    """Mirrored zones, of which the second is written a moment later."""
    tree = PowercapTree(tmp_path, dies=2, mirrored=True, children=(), wave=Square(68.0, 68.0))
    (cpu,) = counters(rapl.find(root=tree.root, boot_id="b"))
    before_j = cpu.joules()
    for second in range(1, 61):
        tree.packages()[0].write(float(second))
        if second % 7 == 0:
            cpu.joules()
        tree.packages()[1].write(float(second))
        cpu.joules()
    assert cpu.joules() - before_j == pytest.approx(68 * 60)


def test_a_decided_die_is_read_no_more(tmp_path: Path) -> None:
    tree = PowercapTree(tmp_path, dies=2, mirrored=True, children=(), wave=Square(200.0, 200.0), start_j=5.0)
    (cpu,) = counters(rapl.find(root=tree.root, boot_id="b"))
    for second in range(60):
        tree.advance(float(second))
        cpu.joules()
    tree.packages()[1].remove()
    tree.packages()[0].write(60.0)
    assert cpu.joules() == pytest.approx(5 + 200 * 60)


@pytest.mark.parametrize("start_j", [10_000.0, 40_000.0, 64_000.0, 65_400.0])
def test_a_reset_of_a_package_adds_no_energy_that_was_not_drawn(tmp_path: Path, start_j: float) -> None:
    """A suspension resets the counters of 65 kJ; this was taken for a wrap-around of up to 19.6 kJ."""
    tree = PowercapTree(
        tmp_path, sockets=2, children=(), wave=Square(100.0, 100.0), start_j=start_j, range_j=AMD_RANGE_J
    )
    events = {30.5: lambda: [zone.reset(30.5) for zone in tree.packages()]}
    measured = measured_j(tree, 60.0, events=events)
    assert measured.joules == {f"cpu:b/package-{n}": pytest.approx(6000, abs=5) for n in (0, 1)}
    assert all(1 <= gap_s <= 2 for gap_s in measured.gaps_s.values())
    assert all("was reset" in note for note in measured.notes.values())


@pytest.mark.parametrize(
    ("name", "constraints_w", "max_w"),
    [
        ("AMD EPYC 7742 64-Core Processor", (), 675.0),
        ("a CPU that nobody knows", (), None),
        ("a CPU that nobody knows", (0, 205), 615.0),
        ("a CPU that nobody knows", (15,), 250.0),
        ("a CPU that nobody knows", (500, 600), 1_000.0),
    ],
)
def test_a_package_is_believed_as_far_as_its_rating_allows(
    tmp_path: Path, name: str, constraints_w: tuple[float, ...], max_w: float | None
) -> None:
    tree = PowercapTree(tmp_path / "tree")
    host = LinuxHost(tmp_path / "host", facts={**ROME_SERVER, "model name": name})
    for number, watts in enumerate(constraints_w):
        (tree.packages()[0].path / f"constraint_{number}_max_power_uw").write_text(f"{watts * 1_000_000}\n")
    cpu, ram = counters(rapl.find(root=tree.root, proc_root=host.proc_root))
    assert cpu.device.max_w == max_w
    assert (cpu.device.bound_w, ram.device.bound_w) == (max_w or 1_000.0, 500.0)
