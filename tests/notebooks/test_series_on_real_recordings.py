"""The whole series, through the command a user types, on real recordings."""

import subprocess
import sys

import pandas as pd
import pytest

from hsutils.cli import MODELS


@pytest.mark.real
def test_the_series_runs_on_real_recordings(real_data, tmp_path):
    settings = ["data.source=challenge", "data.recordings=80", "front_end.clip_seconds=5.0"]
    settings += ["finetune.epochs=1", "student.epochs=1", "baseline.epochs=1"]
    overrides = [part for setting in settings for part in ("--set", setting)]
    place = ["--run-dir", str(tmp_path / "run"), "--data", str(real_data.resolve())]
    command = [sys.executable, "-m", "hsutils", "run", "--profile", "small", *place, *overrides]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    recordings = pd.read_csv(tmp_path / "run/recordings.csv")
    assert 70 <= len(recordings) <= 90
    assert set(recordings.database) == set("abcdef")
    assert len(pd.read_csv(tmp_path / "run/tables/table_1.csv")) == len(MODELS)
