"""What a run ran on is written down, also where there is no git."""

import json
import platform
import subprocess
from importlib.metadata import version

import pytest

from hsutils import environment
from hsutils.environment import describe_environment, git_commit, usable_cores, versions


@pytest.fixture(autouse=True)
def ask_git_anew():
    git_commit.cache_clear()
    yield
    git_commit.cache_clear()


def test_versions_are_those_installed(monkeypatch):
    assert versions()["python"] == platform.python_version()
    assert versions()["torch"] == version("torch")
    monkeypatch.setattr(environment, "PACKAGES", ("no-such-package",))
    assert versions()["no-such-package"] == "not installed"


@pytest.mark.parametrize(
    "error", [FileNotFoundError("git"), subprocess.TimeoutExpired("git", 20)], ids=repr
)
def test_without_an_answer_from_git_the_commit_is_unknown(monkeypatch, error):
    def fail(*_, **__):
        raise error

    monkeypatch.setattr(environment.subprocess, "run", fail)
    assert git_commit() == "unknown"


def test_the_commit_is_that_of_the_code_and_uncommitted_changes_show(monkeypatch, tmp_path):
    monkeypatch.setattr(environment, "__file__", str(tmp_path / "code.py"))
    assert git_commit() == "unknown"

    git_commit.cache_clear()
    (tmp_path / "code.py").write_text("1")
    git = "git -c user.name=a -c user.email=a@b.c"
    command = f"git init && git add . && {git} commit -m 1 && {git} tag -m 1 v1"
    command = f"{command} && git rev-parse HEAD"
    options = {"cwd": tmp_path, "shell": True, "check": True, "text": True}
    commit = subprocess.run(command, stdout=subprocess.PIPE, **options).stdout.split()[-1]
    assert git_commit() == commit
    (tmp_path / "code.py").write_text("2")
    assert git_commit() == commit, "what this process runs was read before"
    git_commit.cache_clear()
    assert git_commit() == f"{commit}+changes"

    git_commit.cache_clear()
    monkeypatch.setattr(environment, "__file__", str(tmp_path / "installed.py"))
    assert git_commit() == "unknown", "a package installed inside another project"


def test_the_description_is_json_and_of_the_system_only_its_kind_is_told(monkeypatch):
    build = "6.1.0-somebodys-build"
    monkeypatch.setattr(platform, "system", lambda: "Linux")
    monkeypatch.setattr(platform, "machine", lambda: "x86_64")
    monkeypatch.setattr(platform, "release", lambda: build)
    monkeypatch.setattr(platform, "platform", lambda: f"Linux-{build}-x86_64")
    description = json.loads(json.dumps(describe_environment(seed=7, threads=3)))
    assert (description["seed"], description["threads"]) == (7, 3)
    assert description["platform"] == "Linux x86_64"
    assert {"versions", "cores", "gpus", "git_commit", "started"} <= description.keys()
    assert build not in json.dumps(description)


def test_the_cores_are_those_of_the_allotment(monkeypatch):
    monkeypatch.setattr("os.cpu_count", lambda: 192)
    monkeypatch.setattr("os.sched_getaffinity", lambda _: {0, 1, 2}, raising=False)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    assert usable_cores() == 3
    monkeypatch.setenv("OMP_NUM_THREADS", "2,4")
    assert usable_cores() == 2
    monkeypatch.setenv("OMP_NUM_THREADS", "many")
    assert usable_cores() == 3
