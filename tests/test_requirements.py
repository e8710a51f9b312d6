"""What is installed, and with which Python: the same answer in every file that says so."""

import re
import shutil
import subprocess
import sys
import tomllib

import pytest
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from hsutils.config import CHECKOUT


def requirements(name: str) -> list[Requirement]:
    lines = (CHECKOUT / name).read_text().splitlines()
    return [Requirement(text) for line in lines if (text := line.partition("#")[0].strip())]


def test_every_requirement_is_pinned_to_the_version_that_the_constraints_allow():
    allowed = {each.name: each.specifier for each in requirements("constraints.txt")}
    direct = [
        r for folder in ("", "tests/", "docs/") for r in requirements(f"{folder}requirements.txt")
    ]
    assert {r.name: r.specifier for r in direct} == {r.name: allowed[r.name] for r in direct}
    pins = [specifier for r in requirements("constraints.txt") for specifier in r.specifier]
    assert len(pins) > 100 and {pin.operator for pin in pins} == {"=="}


@pytest.mark.parametrize("version", ["3.10", "3.11", "3.14", "3.15"])
def test_make_refuses_in_one_line_the_pythons_that_pyproject_refuses(version, tmp_path):
    shutil.copy(CHECKOUT / "Makefile", tmp_path)
    python = tmp_path / "python"
    wanted = f"import sys; sys.version_info = ({version.replace('.', ', ')}); exec(sys.argv[1])"
    python.write_text(f'#!/bin/sh\n[ "$1" = -m ] || exec {sys.executable} -c "{wanted}" "$2"\n')
    python.chmod(0o755)
    command = ["make", ".venv/bin/python", f"PYTHON={python}"]
    made = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    asked = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())["project"]["requires-python"]
    assert (made.returncode == 0) == (version in SpecifierSet(asked))
    if made.returncode:
        assert made.stderr.splitlines()[0].startswith("Python 3.11 to 3.14 is needed")


def test_the_readme_names_the_platforms_and_pythons():
    words = re.sub(r"\s+", " ", (CHECKOUT / "README.md").read_text())
    assert "Linux, or macOS on Apple silicon; Python 3.11 to 3.14" in words
