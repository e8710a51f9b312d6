"""What a run ran on is written down, also where there is no git."""

import json
import platform
import subprocess
from importlib.metadata import version

import pytest

from hsutils import environment
from hsutils.environment import describe_environment, git_commit, versions


def test_versions_are_those_installed():
    found = versions()
    assert found["python"] == platform.python_version()
    assert found["torch"] == version("torch")


def test_a_missing_package_is_named_as_missing(monkeypatch):
    monkeypatch.setattr(environment, "PACKAGES", ("no-such-package",))
    assert versions()["no-such-package"] == "not installed"


@pytest.mark.parametrize(
    "error",
    [
        FileNotFoundError("git"),
        subprocess.CalledProcessError(128, "git"),
        subprocess.TimeoutExpired("git", 20),
    ],
)
def test_without_an_answer_from_git_the_commit_is_unknown(monkeypatch, error):
    def fail(*_):
        raise error

    monkeypatch.setattr(environment, "_git", fail)
    assert git_commit() == "unknown"


@pytest.mark.parametrize(("status", "commit"), [("", "abc"), (" M file.py", "abc+changes")])
def test_uncommitted_changes_show_in_the_commit(monkeypatch, status, commit):
    answers = {"rev-parse": "abc", "status": status}
    monkeypatch.setattr(environment, "_git", lambda folder, command, *_: answers[command])
    assert git_commit() == commit


def test_the_description_is_json_and_names_the_seed():
    description = json.loads(json.dumps(describe_environment(seed=7)))
    assert description["seed"] == 7
    assert {"versions", "cores", "gpus", "git_commit", "started"} <= description.keys()


def test_of_the_system_its_kind_is_told_and_not_its_build(monkeypatch):
    monkeypatch.setattr(platform, "system", lambda: "Linux")
    monkeypatch.setattr(platform, "machine", lambda: "x86_64")
    monkeypatch.setattr(platform, "release", lambda: "6.1.0-somebodys-build")
    monkeypatch.setattr(platform, "platform", lambda: "Linux-6.1.0-somebodys-build-x86_64")
    description = describe_environment(seed=0)
    assert description["platform"] == "Linux x86_64"
    assert "somebodys-build" not in json.dumps(description)
