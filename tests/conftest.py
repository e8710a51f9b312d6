"""Fixtures every test module may use."""

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The unpacked Challenge folder named by HSUTILS_DATA, or a skip that says how to get it."""
    folder = os.environ.get("HSUTILS_DATA")
    if not folder:
        pytest.skip("HSUTILS_DATA is not set: name the folder that `hsutils fetch` unpacked")
    if not Path(folder).is_dir():
        pytest.fail(f"HSUTILS_DATA names {folder}, which is not a folder")
    return Path(folder)
