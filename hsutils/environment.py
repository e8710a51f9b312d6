"""What a run ran on: versions, machine, devices, seed, commit. And what it may use of it."""

import ctypes
import os
import platform
import re
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
    """The commit of the code when this process first asked, and whether tracked files differ."""
    here = {"cwd": Path(__file__).parent, "capture_output": True, "text": True, "timeout": 20}
    describe = ["git", "describe", "--always", "--exclude=*", "--abbrev=40", "--dirty=+changes"]
    try:
        # An installed package may lie in another project's repository.
        subprocess.run(["git", "ls-files", "--error-unmatch", __file__], check=True, **here)
        return subprocess.run(describe, check=True, **here).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return "unknown"


def usable_cores() -> int:
    """Cores this process may use: OMP_NUM_THREADS if set, else those it is allotted."""
    asked = os.environ.get("OMP_NUM_THREADS", "").split(",")[0]
    if asked.isdecimal() and int(asked) > 0:
        return int(asked)
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def processor() -> str:
    """The name of this machine's processor; empty where the system does not say."""
    facts = Path("/proc/cpuinfo")
    found = re.search("model name\\s*: (.+)", facts.read_text() if facts.exists() else "")
    return found[1].strip() if found else platform.processor()


def describe_environment(seed: int, threads: int = 0) -> dict[str, object]:
    """Versions, machine, devices, seed, commit and time as JSON values; 0 threads mean all."""
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
    """Let freed blocks be reused, in large pages, instead of returned to the system.

    Every training step asks again for gigabytes; faulting them in anew costs the student a third
    of its time on Linux. Larger blocks do go back: kept, they would leave holes.
    """
    os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")
    try:
        libc = ctypes.CDLL("libc.so.6")
    except OSError:
        return
    m_trim_threshold, m_mmap_threshold = -1, -3
    libc.mallopt(m_mmap_threshold, 64 << 20)
    libc.mallopt(m_trim_threshold, (1 << 31) - 1)
