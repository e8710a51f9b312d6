"""What a run ran on: versions, device, seed, commit."""

import os
import platform
import subprocess
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

PACKAGES = ("hsutils", "torch", "torchaudio", "torchvision", "lightning-fabric", "numpy", "scipy")
PACKAGES += ("pandas", "scikit-learn", "matplotlib", "papermill")


def versions() -> dict[str, str]:
    """Versions of Python and of every package whose change could change a number."""
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not installed"
    return found


@cache
def commit_at_start() -> str:
    """The commit when this process first asked: that of its code, whatever is committed since."""
    return git_commit()


def git_commit() -> str:
    """The project's commit, with `+changes` when files differ from it; `unknown` outside git."""
    folder = Path(__file__).resolve().parent
    try:
        commit = _git(folder, "rev-parse", "HEAD")
        return commit + ("+changes" if _git(folder, "status", "--porcelain") else "")
    except (OSError, subprocess.SubprocessError):
        return "unknown"


def _git(folder: Path, *arguments: str) -> str:
    done = subprocess.run(
        ["git", *arguments], cwd=folder, capture_output=True, text=True, check=True, timeout=20
    )
    return done.stdout.strip()


def usable_cores() -> int:
    """Cores this process may use: OMP_NUM_THREADS if set, else those it is allotted."""
    asked = os.environ.get("OMP_NUM_THREADS", "").split(",")[0]
    if asked.isdecimal() and int(asked) > 0:
        return int(asked)
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def describe_environment(seed: int, threads: int = 0) -> dict[str, object]:
    """Versions, machine, devices, seed, commit and time, as JSON values.

    Args:
        seed: of the run.
        threads: that trainings use; 0 means `usable_cores`.
    """
    import torch

    now = datetime.now(UTC).isoformat(timespec="seconds")
    gpus = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    return {
        "versions": versions(),
        # The kernel's own name may tell whose machine it is.
        "platform": f"{platform.system()} {platform.machine()}",
        "processor": processor(),
        "cores": usable_cores(),
        "threads": threads or usable_cores(),
        "gpus": gpus,
        "seed": seed,
        "git_commit": commit_at_start(),
        "started": now,
        "last_opened": now,
    }


def processor() -> str:
    """The name of this machine's processor; empty where the system does not tell."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((ln.split(":")[1].strip() for ln in lines if ln.startswith("model name")), "")
