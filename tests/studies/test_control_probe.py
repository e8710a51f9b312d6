"""A planted cue of storage is found in the files, and not after control."""

import numpy as np
import pandas as pd
import pytest
import soundfile

from hsutils.studies.control_probe import COLUMNS, format_probe
from hsutils.settings import FrontEnd

CONTROL = FrontEnd(repair_clips=True, pass_low_hz=25, pass_high_hz=400, bits=10)


@pytest.fixture(scope="module")
def recordings(tmp_path_factory) -> pd.DataFrame:
    """One database whose normal recordings are stored in 7 bits, and another without a cue."""
    folder, rng, rows = tmp_path_factory.mktemp("stored"), np.random.default_rng(0), []
    for number in range(80):
        database, label = "ae"[number % 2], number // 2 % 2
        wave = 0.2 * np.convolve(rng.standard_normal(6000), np.hanning(9), "same")
        bits = 7 if database == "e" and label == 0 else 14
        wave = np.round(wave.clip(-0.9, 0.9) * 2**bits) / 2**bits
        path = folder / f"{number:02d}.wav"
        soundfile.write(path, wave, 2000, subtype="PCM_16")
        rows.append((str(path), database, f"g{number}", label))
    return pd.DataFrame(rows, columns=["path", "database", "group", "label"])


def test_control_takes_the_steps_of_storage_away(recordings):
    table = format_probe(recordings, CONTROL)
    assert tuple(table.columns) == COLUMNS and len(table) == 2 * 2 * 4
    areas = table.set_index(["waveform", "database", "facts"])
    assert areas.auroc["stored", "e", "levels"] > 0.95 and areas.auroc["stored", "e", "all"] > 0.95
    assert areas.high["controlled", "e", "levels"] < areas.low["stored", "e", "levels"]
    assert areas.auroc["controlled", "e", "levels"] < 0.65
    assert abs(areas.auroc["stored", "a", "levels"] - 0.5) < 0.25
    assert (areas.recordings == 40).all() and (areas.abnormal == 20).all()


def test_without_control_nothing_changes(recordings):
    table = format_probe(recordings, FrontEnd()).set_index(["waveform", "database", "facts"])
    pd.testing.assert_frame_equal(table.loc["stored"], table.loc["controlled"])


def test_databases_too_small_for_five_folds_are_left_out(recordings):
    few = pd.concat([recordings[recordings.database == "e"], recordings.iloc[:16:2]])
    assert set(format_probe(few.reset_index(drop=True), CONTROL).database) == {"e"}
