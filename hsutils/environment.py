"""What a run ran on: versions, machine, devices, seed, commit. And what it may use of it."""

import ctypes
import os
import platform
import subprocess
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

PACKAGES = ("hsutils", "torch", "torchaudio", "torchvision", "lightning-fabric", "numpy", "scipy")
PACKAGES += ("pandas", "scikit-learn", "matplotlib", "papermill")


def versions() -> dict[str, str]:
    """Versions of Python and of every package whose change could change a number."""
    from importlib.metadata import PackageNotFoundError, version

    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not installed"
    return found


@cache
def git_commit() -> str:
    """The commit of the code when this process first asked; `unknown` outside git.

    `+changes` follows where tracked files differ from it.
    """
    command = ["git", "describe", "--always", "--exclude=*", "--abbrev=40", "--dirty=+changes"]
    here, options = Path(__file__).parent, {"capture_output": True, "text": True, "timeout": 20}
    try:
        return subprocess.run(command, cwd=here, check=True, **options).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return "unknown"


def usable_cores() -> int:
    """Cores this process may use: OMP_NUM_THREADS if set, else those it is allotted."""
    asked = os.environ.get("OMP_NUM_THREADS", "").split(",")[0]
    if asked.isdecimal() and int(asked) > 0:
        return int(asked)
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def processor() -> str:
    """The name of this machine's processor; empty where the system does not tell."""
    facts = Path("/proc/cpuinfo")
    lines = facts.read_text().splitlines() if facts.exists() else []
    names = (line.split(":")[1].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor())


def describe_environment(seed: int, threads: int = 0) -> dict[str, object]:
    """Versions, machine, devices, seed, commit and time, as JSON values.

    Args:
        seed: of the run.
        threads: that trainings use; 0 means `usable_cores`.
    """
    import torch

    now = datetime.now(UTC).isoformat(timespec="seconds")
    return {
        "versions": versions(),
        # The kernel's own name may tell whose machine it is.
        "platform": f"{platform.system()} {platform.machine()}",
        "processor": processor(),
        "cores": usable_cores(),
        "threads": threads or usable_cores(),
        "gpus": [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())],
        "seed": seed,
        "git_commit": git_commit(),
        "started": now,
        "last_opened": now,
    }


def reuse_memory() -> None:
    """Let freed blocks be reused instead of returned to the system, in large pages.

    Every training step frees and asks again for gigabytes; faulting them in anew, page by
    page, costs the student a third of its time on Linux. Elsewhere this does nothing. Larger
    blocks go back all the same, since keeping them would leave holes that nothing fits into.
    """
    os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")
    try:
        libc = ctypes.CDLL("libc.so.6")
    except OSError:
        return
    m_trim_threshold, m_mmap_threshold = -1, -3
    libc.mallopt(m_mmap_threshold, 64 << 20)
    libc.mallopt(m_trim_threshold, (1 << 31) - 1)
