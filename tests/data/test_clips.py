"""The clips in the package: whole, small, licensed, and cut again by one command, bit for bit."""

import filecmp

import numpy as np
import pandas as pd
import pytest

from hsutils.audio.wav import read_samples
from hsutils.config import RECORDED_RATE, load_profile
from hsutils.data import clips
from hsutils.data.corpus import load_recordings
from hsutils.data.duplicates import shared_audio
from hsutils.data.splits import audit, generated_splits
from hsutils.run import Run


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Run:
    """Of the demo, which uses the clips wherever it runs."""
    return Run(tmp_path_factory.mktemp("run"), load_profile("demo"))


@pytest.fixture(scope="module")
def recordings(run) -> pd.DataFrame:
    return load_recordings(run)


@pytest.fixture(scope="module")
def related(recordings) -> pd.DataFrame:
    return recordings[recordings.duplicated("group", keep=False)]


def test_they_fit_into_the_package_and_name_authors_and_license():
    files = [path for path in clips.CLIPS.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) < 10_000_000
    words = (clips.CLIPS / "README.md").read_text()
    for needed in ("ODC-BY", "opendatacommons.org/licenses/by/1-0", "Liu et al.", "Goldberger"):
        assert needed in words


def test_each_database_and_class_has_its_places(run, recordings, related):
    assert not run.profile.is_the_papers
    extra = related[related.label == 0].record
    counts = recordings[~recordings.record.isin(extra)].groupby(["database", "label"]).size()
    for database, places in clips.PLACES.items():
        # A related recording may be one of the sample as well.
        assert places[0] - 2 <= counts[database, 0] <= places[0]
        assert counts[database, 1] == places[1]
    assert recordings.label.mean() == pytest.approx(665 / 3240, abs=0.015)
    assert (recordings.seconds <= clips.SECONDS).all() and recordings.seconds.min() > 5
    assert (recordings.sample_rate == RECORDED_RATE).all()


def test_pairs_share_audio_that_no_checksum_notices_and_a_random_split_separates_some(
    recordings, related
):
    pairs = shared_audio(related)
    assert len(pairs) == clips.PAIRS and set(pairs.seconds) == {clips.SECONDS - clips.LATER}
    assert related.digest.is_unique
    assert audit(recordings, generated_splits(recordings)).empty
    splits = generated_splits(recordings)
    for seed in range(3):
        drawn = np.random.default_rng(seed).permutation(splits.split)
        assert len(audit(recordings, splits.assign(split=drawn)))


@pytest.mark.real
def test_one_command_cuts_them_again_from_all_recordings(real_data, real_recordings, tmp_path):
    table = real_recordings
    groups = table[table.duplicated("group", keep=False)]
    clips.write_clips(clips.choose(table, shared_audio(groups)), tmp_path / "again")
    names = sorted(p.relative_to(tmp_path / "again") for p in (tmp_path / "again").rglob("*.*"))
    assert len(names) > 500
    for name in names:
        again, packaged = tmp_path / "again" / name, clips.CLIPS / name
        if name.suffix == ".flac":
            assert (read_samples(again)[0] == read_samples(packaged)[0]).all(), name
        else:
            assert filecmp.cmp(again, packaged, shallow=False), name
