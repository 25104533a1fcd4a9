"""What a run runs on decides its default PUE: an unknown data centre, or a desktop if nothing shows one."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

import trainwatt
from standins import nvml as standin
from standins.nvml import Constant, h100
from trainwatt.export import markdown
from trainwatt.export.model_card import co2_eq_emissions
from trainwatt.records.summary_view import summary_view
from trainwatt.site import Site
from trainwatt.site.premises import sign_of_gpus, sign_of_machine

RTX = "NVIDIA GeForce RTX 4090"
DATA_CENTRE, DESKTOP = (1.1, 1.54, 2.0), (1.0, 1.0, 1.54)


def machine(
    root: Path, cpu: str = "AMD Ryzen 9 7950X", flags: str = "fpu vme", chassis: str = "", kernel: str = ""
) -> Path:
    """A simulated machine of two logical processors."""
    entry = f"processor\t: 0\nmodel name\t: {cpu}\nflags\t\t: {flags}\n"
    files = {"proc/cpuinfo": f"{entry}\n{entry}", "proc/sys/kernel/osrelease": kernel}
    files["sys/class/dmi/id/chassis_type"] = f"{chassis}\n"
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


def pue_of(site: Site) -> tuple[float, float, float]:
    return site.pue.low, site.pue.value, site.pue.high


@pytest.mark.parametrize(
    "name",
    [
        "NVIDIA H100 80GB HBM3",
        "NVIDIA A100-SXM4-80GB",
        "NVIDIA A100-SXM4-40GB MIG 1g.5gb",
        "Tesla T4",
        "Tesla V100-PCIE-16GB",
        "NVIDIA L40S",
        "NVIDIA A10G",
        "NVIDIA B200",
        "NVIDIA GH200 480GB",
        "NVIDIA RTX PRO 6000 Blackwell Server Edition",
        "GRID T4-16C",
        "AMD Instinct MI300X",
        "Intel(R) Data Center GPU Max 1550",
        "TPU v4",
    ],
)
def test_a_gpu_for_data_centres_stands_in_one(name: str, tmp_path: Path) -> None:
    site = Site(zone="FR", environ={}, root=machine(tmp_path)).on_hardware([name])
    assert pue_of(site) == DATA_CENTRE
    assert (site.wue.low, site.wue.value, site.wue.high) == (0.0, 0.38, 2.75)
    assert site.pue.basis == f"assumed: unknown data centre, because {name} is a GPU for data centres"
    assert "Uptime" in site.pue.source
    assert "pue=" in site.pue.note


@pytest.mark.parametrize(
    "names",
    [
        [],
        [RTX, RTX],
        ["NVIDIA RTX A4000"],
        ["NVIDIA RTX 6000 Ada Generation"],
        ["NVIDIA T400 4GB"],
        ["Quadro P4000"],
        ["NVIDIA TITAN V"],
        ["Tesla V100-DGXS-32GB"],
        ["NVIDIA A800 40GB Active"],
        ["Apple M4 Max"],
        ["AMD Radeon RX 7900 XTX"],
    ],
)
def test_a_desktop_has_no_facility_but_may_stand_in_one(names: list[str], tmp_path: Path) -> None:
    site = Site(zone="FR", environ={}, root=machine(tmp_path, chassis="3")).on_hardware(names, ["AMD Ryzen 9 7950X"])
    assert pue_of(site) == DESKTOP


def test_more_gpus_than_a_desktop_holds_stand_in_a_data_centre() -> None:
    assert sign_of_gpus([RTX] * 2) == ""
    assert sign_of_gpus([RTX] * 8) == "because it has 8 GPUs"


@pytest.mark.parametrize(
    ("variable", "sign"),
    [
        ("SLURM_JOB_ID", "because it runs in a SLURM job"),
        ("PBS_JOBID", "because it runs in a PBS job"),
        ("LSB_JOBID", "because it runs in an LSF job"),
        ("KUBERNETES_SERVICE_HOST", "because it runs in a Kubernetes pod"),
    ],
)
def test_a_batch_system_runs_in_a_data_centre(variable: str, sign: str) -> None:
    site = Site(zone="FR", environ={variable: "1"})
    assert pue_of(site) == DATA_CENTRE
    assert site.pue.basis.endswith(sign)
    assert pue_of(Site(zone="FR", environ={variable: ""})) == DESKTOP


@pytest.mark.parametrize(
    ("traits", "sign"),
    [
        ({"cpu": "Intel(R) Xeon(R) CPU @ 2.20GHz", "flags": "fpu hypervisor"}, "because it runs in a virtual machine"),
        ({"cpu": "AMD EPYC", "flags": "fpu hypervisor"}, "because it runs in a virtual machine"),
        ({"chassis": "23"}, "because its chassis is of the type rack mount"),
        (
            {"cpu": "AMD EPYC 9654 96-Core Processor"},
            "because AMD EPYC 9654 96-Core Processor is a processor for servers",
        ),
        (
            {"cpu": "Intel(R) Xeon(R) Platinum 8480+"},
            "because Intel(R) Xeon(R) Platinum 8480+ is a processor for servers",
        ),
        ({"cpu": "Intel(R) Xeon(R) Gold 6226R CPU @ 2.90GHz", "chassis": "7"}, ""),
        ({"cpu": "Intel(R) Xeon(R) W-2295 CPU @ 3.00GHz"}, ""),
        ({"cpu": "Intel(R) Core(TM) i7-12700K", "flags": "fpu hypervisor"}, ""),
        (
            {"cpu": "AMD EPYC", "flags": "hypervisor", "kernel": "5.15.90.1-microsoft-standard-WSL2", "chassis": "10"},
            "",
        ),
        ({}, ""),
    ],
)
def test_a_machine_shows_what_it_is(traits: dict[str, str], sign: str, tmp_path: Path) -> None:
    assert sign_of_machine([], machine(tmp_path, **traits)) == sign


def test_a_machine_whose_files_cannot_be_read_shows_nothing(tmp_path: Path) -> None:
    assert sign_of_machine([], tmp_path / "none") == ""
    assert sign_of_machine(["AMD EPYC 9654"], tmp_path / "none") == "because AMD EPYC 9654 is a processor for servers"


def test_what_is_given_or_known_stays(tmp_path: Path) -> None:
    root, h100 = machine(tmp_path), "NVIDIA H100 80GB HBM3"
    given = Site(zone="FR", pue=1.0, environ={}, root=root).on_hardware([h100])
    assert (given.pue.value, given.pue.source) == (1.0, "given")
    assert given.wue.value == 0.38
    cloud = Site(cloud="aws/eu-north-1", environ={}, root=root)
    assert cloud.on_hardware([h100]) == cloud
    detected = Site(environ={"AWS_REGION": "eu-north-1", "SLURM_JOB_ID": "1"}, root=root)
    assert detected.pue == cloud.pue


@pytest.mark.parametrize("environ", [{}, {"SLURM_JOB_ID": "7"}])
def test_a_run_its_citation_and_its_model_card_say_what_was_assumed(
    environ: dict[str, str], nvml_library: standin.Library
) -> None:
    site = Site(zone="FR", environ=environ)
    measured = trainwatt.measure(site=site, devices=["gpu"], output_dir=None, verbose=False)
    with nvml_library.running(h100(Constant(200.0))), measured, measured.phase("train"):
        time.sleep(0.3)
    summary = measured.summary
    sign = "it runs in a SLURM job" if environ else "NVIDIA H100 80GB HBM3 is a GPU for data centres"
    label = f"assumed: unknown data centre, because {sign}"
    assert summary["footprint"]["facility_kwh"]["central"] == pytest.approx(1.54 * summary["total_kwh"])
    assert "PUE of 1.54 (" in markdown(summary)
    for text in (markdown(summary), co2_eq_emissions(summary)["source"], summary_view(summary).text()):
        assert label in " ".join(str(text).split())


def test_of_hardware_elsewhere_this_machine_says_nothing(tmp_path: Path) -> None:
    site = Site(zone="FR", environ={}, root=machine(tmp_path, flags="fpu hypervisor", cpu="AMD EPYC"))
    assert pue_of(site.on_hardware([RTX])) == DATA_CENTRE
    assert pue_of(site.on_hardware([RTX], is_here=False)) == DESKTOP
