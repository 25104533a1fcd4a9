"""Signs that a machine stands in a data centre, from its GPUs, its environment and its system files."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

# A desktop holds two GPUs: four of 450 W exceed what a household socket supplies.
_DESKTOP_GPUS = 2

# Names of NVIDIA's data-centre GPUs, with or without the former brand Tesla, of AMD's, Intel's, Google's and Amazon's.
_SERVER_GPU = re.compile(
    r"\b(?:A(?:2|10[GM]?|16|30X?|40|100X?|800)|B[123]00|G[BH]200|GB300|H(?:20|[128]00)|HGX|L(?:2|4|20|40[GS]?)|T4G?|V100S?"
    r"|P4|P40|P100|K80|GRID|TESLA|INSTINCT|MI\d{2,3}[A-Z]?|GAUDI\d?|TPU|TRAINIUM\d?|INFERENTIA\d?"
    r"|DATA CENTER|SERVER EDITION)\b"
)
# Workstations are sold with these: DGX Station, and the "Active" card with a fan of its own.
_DESKSIDE = re.compile(r"\b(?:DGXS|STATION|ACTIVE)\b")

_JOBS = {
    "SLURM_JOB_ID": "a SLURM job",
    "PBS_JOBID": "a PBS job",
    "LSB_JOBID": "an LSF job",
    "SGE_TASK_ID": "a Grid Engine job",
    "FLUX_JOB_ID": "a Flux job",
    "COBALT_JOBID": "a Cobalt job",
    "OAR_JOB_ID": "an OAR job",
    "_CONDOR_JOB_AD": "an HTCondor job",
    "KUBERNETES_SERVICE_HOST": "a Kubernetes pod",
    "AWS_BATCH_JOB_ID": "an AWS Batch job",
    "ECS_CONTAINER_METADATA_URI_V4": "an Amazon ECS task",
    "SM_CURRENT_HOST": "a SageMaker job",
    "AZUREML_RUN_ID": "an Azure ML job",
    "CLOUD_ML_JOB_ID": "a Vertex AI job",
    "COLAB_RELEASE_TAG": "a Colab notebook",
    "KAGGLE_KERNEL_RUN_TYPE": "a Kaggle notebook",
    "RUNPOD_POD_ID": "a RunPod pod",
    "VAST_CONTAINERLABEL": "a Vast.ai container",
    "LIGHTNING_CLOUD_PROJECT_ID": "a machine of Lightning AI",
}

# Types of chassis in the SMBIOS specification, DSP0134, table 17.
_SERVER_CHASSIS = {"17": "main server", "23": "rack mount", "25": "multi-system", "28": "blade", "29": "blade rack"}
_DESKTOP_CHASSIS = frozenset({*map(str, range(3, 11)), *map(str, range(13, 17)), *map(str, range(30, 37)), "24"})

_SERVER_CPU = re.compile(
    r"\bEPYC\b|\bXeon.*\b(?:Platinum|Gold|Silver|Bronze|Max|Phi|E[57]-?|[6-8]\d{3}[A-Z]*)|Neoverse|Graviton|\bAltra\b"
)
_DESKTOP_CPU = re.compile(
    r"\bIntel.*\bCore\b|\b(?:Ryzen|Threadripper|Pentium|Celeron|Apple)\b|\bXeon.*\bW-?\d",
)
# Virtual machines of desktops: Windows Subsystem for Linux, Docker Desktop.
_DESKTOP_KERNEL = re.compile("microsoft|linuxkit", re.IGNORECASE)


def sign_of_environment(environ: Mapping[str, str]) -> str:
    """Return the sign that environment variables give of a data centre, as a clause; empty if there is none."""
    job = next((text for variable, text in _JOBS.items() if environ.get(variable)), None)
    return f"because it runs in {job}" if job else ""


def sign_of_gpus(names: Sequence[str]) -> str:
    """Return the sign that the models and the number of GPUs give of a data centre; empty if there is none.

    Args:
        names: one product name per GPU.
    """
    server = next((name for name in names if _is_server_gpu(name)), None)
    if server is not None:
        return f"because {server} is a GPU for data centres"
    return f"because it has {len(names)} GPUs" if len(names) > _DESKTOP_GPUS else ""


def sign_of_machine(cpus: Iterable[str], root: Path) -> str:
    """Return the sign that the machine's processors and system files give of a data centre; empty if there is none.

    Args:
        cpus: product names of its processors, as far as they are known.
        root: folder that contains ``proc`` and ``sys``.
    """
    processor = _first_processor(root)
    names = [*cpus, processor.get("model name", "")]
    is_desktop = any(map(_DESKTOP_CPU.search, names))
    if "hypervisor" in processor.get("flags", "").split() and not is_desktop and not _is_desktop_kernel(root):
        return "because it runs in a virtual machine"
    chassis = _text(root / "sys/class/dmi/id/chassis_type").strip()
    if chassis in _SERVER_CHASSIS:
        return f"because its chassis is of the type {_SERVER_CHASSIS[chassis]}"
    server = next(filter(_SERVER_CPU.search, names), None)
    if server is None or is_desktop or chassis in _DESKTOP_CHASSIS:
        return ""
    return f"because {server} is a processor for servers"


def _is_server_gpu(name: str) -> bool:
    upper = name.upper()
    return _SERVER_GPU.search(upper) is not None and _DESKSIDE.search(upper) is None


def _is_desktop_kernel(root: Path) -> bool:
    return bool(_DESKTOP_KERNEL.search(_text(root / "proc/sys/kernel/osrelease")))


def _first_processor(root: Path) -> dict[str, str]:
    """Return the first entry of ``/proc/cpuinfo``: all have the same model and flags."""
    first, _, _ = _text(root / "proc/cpuinfo").partition("\n\n")
    pairs = (line.partition(":") for line in first.splitlines())
    return {key.strip(): value.strip() for key, _, value in pairs}


def _text(path: Path) -> str:
    """Return the text of a system file; empty if it cannot be read."""
    try:
        # A processor's entry takes about 1.5 kB; a machine may have hundreds.
        with path.open(encoding="utf-8", errors="replace") as file:
            return file.read(16_384)
    except OSError:
        return ""
