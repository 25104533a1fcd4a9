import csv
import re
from pathlib import Path

import pytest

from standins.linux_host import GENOA_VM, LinuxHost
from trainwatt.power.host import boot_id, cpu_catalog

DATA = Path(cpu_catalog.__file__).with_name("data")


def catalogue() -> list[dict[str, str]]:
    with (DATA / "cpu_tdp.csv").open(encoding="utf-8", newline="") as lines:
        return list(csv.DictReader(lines))


@pytest.mark.parametrize(
    ("name", "tdp_w"),
    [
        ("Intel(R) Xeon(R) CPU E5-2620 v3 @ 2.40GHz", 85),
        ("Intel(R) Xeon(R) CPU E3-1240 V2 @ 3.40GHz", 69),
        ("Intel(R) Xeon(R) Platinum 8280 CPU @ 2.70GHz", 205),
        ("11th Gen Intel(R) Core(TM) i7-11700K @ 3.60GHz", 125),
        ("AMD EPYC 7742 64-Core Processor", 225),
        ("AMD Ryzen Threadripper 1950X 16-Core Processor", 180),
        ("AMD Ryzen 7 7730U with Radeon Graphics", 15),
        ("AMD FX(tm)-8350 Eight-Core Processor", 125),
        ("Apple M2 Pro", 35),
        ("AMD Ryzen Threadripper PRO 3995WX 64-Cores", 280),
        ("Intel(R) Xeon(R) CPU E5-2680 0 @ 2.70GHz", 130),
        ("Intel(R) Core(TM)2 Duo CPU     E8400  @ 3.00GHz", 65),
        ("INTEL(R) XEON(R) PLATINUM 8480+", 350),
    ],
)
def test_a_processor_is_known_by_the_name_that_the_system_gives_it(name: str, tdp_w: float) -> None:
    assert cpu_catalog.tdp_w(name) == tdp_w


@pytest.mark.parametrize(
    "name",
    ["AMD EPYC", "Intel Xeon Processor (Skylake, IBRS)", "QEMU Virtual CPU version 2.5+", "", "name", "AMD EPYC 774"],
)
def test_a_name_that_is_not_in_the_table_is_not_guessed_at(name: str) -> None:
    assert cpu_catalog.tdp_w(name) is None


def test_each_name_in_the_table_is_found_under_itself_and_has_a_sane_figure() -> None:
    rows = catalogue()
    assert len({row["name"] for row in rows}) == len(rows) == 4661
    assert all(cpu_catalog.normalise(row["name"]) == row["name"] for row in rows)
    assert all(0.5 < float(row["tdp_w"]) < 700 for row in rows)


SPELLINGS = (
    "  {upper}  ",
    "Intel(R) {name} CPU @ 2.20GHz",
    "Intel(R) {name} 2.20GHz",
    "12th Gen Intel(R) {name}",
    "1st Gen {name} CPU  0 @ 2.60GHz",
    "AMD {name} 64-Cores",
    "AMD {name} 16-Core Processor",
    "AMD {name} Eight-Core Processor                ",
    "Quad-Core AMD {name}",
    "{name} with Radeon Graphics",
    "AMD {name} w/ Radeon 780M Graphics",
    "AMD {name} Radeon R7, 12 Compute Cores 4C+8G",
    "{first}(tm) {rest} Processor",
    "{first}\u2122 {rest} (95W)",
    "{first}\u00ae {rest}",
)


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_each_processor_is_found_in_the_spelling_of_any_vendor(spelling: str) -> None:
    wrong = {}
    for row in catalogue():
        first, _, rest = row["name"].partition(" ")
        name = spelling.format(name=row["name"], upper=row["name"].upper(), first=first, rest=rest)
        if cpu_catalog.tdp_w(name) != float(row["tdp_w"]):
            wrong[name] = cpu_catalog.tdp_w(name)
    assert wrong == {}


@pytest.mark.parametrize(
    ("pattern", "spelling"),
    [
        (r" (v\d)$", r"\1"),  # E3-1240V2
        (r"-", " "),
        (r"(i[3579])-(\d{3})([a-z]+)$", r"\1 CPU       \3 \2  @ 2.40GHz"),  # i5 CPU M 520
    ],
)
def test_spaces_and_hyphens_do_not_matter(pattern: str, spelling: str) -> None:
    for row in catalogue():
        assert cpu_catalog.tdp_w(re.sub(pattern, spelling, row["name"])) == float(row["tdp_w"]), row["name"]


@pytest.mark.parametrize(
    ("name", "threads", "known"),
    [
        ("AMD EPYC 7742 64-Core Processor", 128, True),
        ("AMD Ryzen Threadripper PRO 3995WX 64-Cores", 128, True),
        ("AMD Ryzen 7 5800H with Radeon Graphics", 16, True),
        ("AMD Opteron(tm) Processor 6376", 12, False),
        ("Intel(R) Core(TM) i9-13900K", 32, True),
        ("Intel(R) Core(TM) i7-4770 CPU @ 3.40GHz", 8, True),
        ("Intel(R) Core(TM) i5 CPU         750  @ 2.67GHz", 4, True),
        ("Intel(R) Core(TM) Ultra 9 285K", 24, True),
        ("Intel(R) Xeon(R) CPU E5-2620 v3 @ 2.40GHz", 12, False),
    ],
)
def test_a_chips_threads_follow_from_its_name_or_roughly_from_its_power(name: str, threads: int, known: bool) -> None:
    found, is_known = cpu_catalog.chip_threads(name, 72.0)
    assert (found, is_known) == (threads, known)


def test_watts_per_cpu_are_those_of_servers_and_what_stands_in_is_a_row_of_its_own() -> None:
    rows = cpu_catalog.vcpu_watts()
    assert all(0.1 < row.idle_w < row.full_w < 9 for row in rows.values())
    assert all(rows[row.stands_in].full_w == row.full_w for row in rows.values() if row.stands_in)
    assert rows["EPYC 5th Gen"].stands_in == "EPYC 4th Gen"


@pytest.mark.parametrize(
    ("vendor", "family", "model", "stepping", "row"),
    [
        ("AuthenticAMD", 23, 1, 2, "EPYC 1st Gen"),
        ("AuthenticAMD", 23, 49, 0, "EPYC 2nd Gen"),
        ("AuthenticAMD", 23, 113, 0, None),  # a desktop's Zen 2
        ("AuthenticAMD", 25, 1, 1, "EPYC 3rd Gen"),
        ("AuthenticAMD", 25, 17, 1, "EPYC 4th Gen"),
        ("AuthenticAMD", 25, 160, 1, "EPYC 4th Gen"),
        ("AuthenticAMD", 26, 2, 1, "EPYC 5th Gen"),
        ("GenuineIntel", 6, 85, 4, "Skylake"),
        ("GenuineIntel", 6, 85, 7, "Cascade Lake"),
        ("GenuineIntel", 6, 106, 6, "Ice Lake"),
        ("GenuineIntel", 6, 143, 8, "Sapphire Rapids"),
        ("GenuineIntel", 6, 207, 2, "Emerald Rapids"),
        ("GenuineIntel", 15, 6, 1, None),  # "Common KVM processor"
    ],
)
def test_a_cloud_that_hides_the_name_is_seen_through_by_numbers(vendor, family, model, stepping, row) -> None:
    assert cpu_catalog.microarchitecture("", vendor, family, model, stepping) == row
    assert row is None or row in cpu_catalog.vcpu_watts()


@pytest.mark.parametrize(
    ("name", "row"),
    [
        ("Intel Xeon Processor (Skylake, IBRS)", "Skylake"),
        ("Intel Xeon Processor (Cascadelake)", "Cascade Lake"),
        ("Intel Xeon E312xx (Sandy Bridge)", "Sandy Bridge"),
        ("AMD EPYC-Milan Processor", "EPYC 3rd Gen"),
        ("Common KVM processor", None),
    ],
)
def test_a_virtual_machines_name_tells_the_microarchitecture_where_numbers_are_missing(name, row) -> None:
    assert cpu_catalog.microarchitecture(name, "", -1, -1, -1) == row


def test_a_virtual_machine_of_a_cloud(tmp_path: Path) -> None:
    host = LinuxHost(tmp_path, cpus=2, facts=GENOA_VM, virtual=True)
    assert cpu_catalog.find(proc_root=host.proc_root) == cpu_catalog.CpuInfo(
        name="AMD EPYC",
        vendor="AuthenticAMD",
        sockets=1,
        threads=2,
        virtual=True,
        microarchitecture="EPYC 4th Gen",
    )


def test_a_server_with_two_sockets(tmp_path: Path) -> None:
    host = LinuxHost(tmp_path, cpus=16, sockets=2)
    cpu = cpu_catalog.find(proc_root=host.proc_root)
    assert (cpu.sockets, cpu.threads, cpu.virtual) == (2, 16, False)


def test_an_arm_server_is_known_by_its_part_number(tmp_path: Path) -> None:
    host = LinuxHost(tmp_path, facts={"CPU implementer": "0x41", "CPU part": "0xd40"})
    cpu = cpu_catalog.find(proc_root=host.proc_root)
    assert (cpu.name, cpu.microarchitecture) == ("Arm Neoverse V1", "Graviton3")


def test_without_procfs_the_platform_is_asked(tmp_path: Path) -> None:
    cpu = cpu_catalog.find(proc_root=tmp_path)
    assert cpu.name
    assert cpu.threads >= 1


def test_all_processes_of_a_boot_agree_on_its_identity(tmp_path: Path) -> None:
    host = LinuxHost(tmp_path)
    assert boot_id.boot_id(proc_root=host.proc_root) == "0a1b2c3d-0000-4000-8000-000000000001"
    assert boot_id.boot_id(proc_root=tmp_path) == boot_id.boot_id(proc_root=tmp_path)
    assert len(boot_id.boot_id(proc_root=tmp_path)) == 32
