"""Effects of quality and length are found where they were planted, and nowhere else."""

import numpy as np
import pandas as pd
import pytest
from scipy.stats import spearmanr
from sklearn.metrics import roc_auc_score

from hsutils.errors import InputError
from hsutils.evaluation.quality import by_length, by_quality, length_score
from hsutils.data.challenge import read_recordings

LENGTHS = ("hears the heart", "reads the length")


@pytest.fixture(scope="module")
def cases() -> pd.DataFrame:
    """400 recordings, two of each group; abnormal ones last longer, as in the Challenge."""
    rng = np.random.default_rng(0)
    label = np.repeat(np.arange(200) % 2, 2)
    quality = (rng.uniform(size=400) > 0.3).astype(int)
    seconds = rng.gamma(4, 4, size=400) + 5 + 8 * label
    heart = 2 * label - 1 + rng.normal(size=400)
    return pd.DataFrame(
        {
            "record": [f"a{i:04d}" for i in range(400)],
            **{"label": label, "quality": quality, "seconds": seconds, "database": "a"},
            "group": np.repeat([f"g{i}" for i in range(200)], 2),
            "hears the heart": heart,
            "lost in noise": np.where(quality == 1, heart, rng.normal(size=400)),
            "reads the length": seconds / 10 - 2 + rng.normal(size=400),
        }
    )


@pytest.fixture(scope="module")
def followed(cases) -> pd.DataFrame:
    return length_score(cases, LENGTHS).set_index(["model", "label"])


# Quality


def test_a_model_lost_in_noise_is_found_and_a_sound_one_is_not(cases):
    table = by_quality(cases, ["hears the heart", "lost in noise"])
    table = table.set_index(["model", "subset"])
    lost, sound = table.loc["lost in noise"], table.loc["hears the heart"]
    assert lost.low["usable"] > lost.high["too noisy"]
    assert lost.low["too noisy"] < 0.5 < lost.high["too noisy"]
    assert sound.low["usable"] < sound.auroc["too noisy"] < sound.high["usable"]
    assert sound.loc["usable"].drop(["recordings"]).equals(lost.loc["usable"].drop(["recordings"]))


def test_aurocs_are_an_independent_librarys_and_counts_add_up(cases):
    table = by_quality(cases, ["lost in noise"]).set_index("subset")
    for subset, part in (("all", cases), ("usable", cases[cases.quality == 1])):
        oracle = roc_auc_score(part.label, part["lost in noise"])
        assert table.auroc[subset] == pytest.approx(oracle)
        assert table.abnormal[subset] == part.label.sum()
        assert table.low[subset] < oracle < table.high[subset]
    counts = table.recordings
    assert counts["usable"] + counts["too noisy"] == counts["all"] == 400


def test_where_a_class_is_missing_nothing_is_claimed(cases):
    few = cases[(cases.quality == 1) | (cases.label == 0)]
    noisy = by_quality(few, ["hears the heart"]).set_index("subset").loc["too noisy"]
    assert noisy.abnormal == 0 and noisy.recordings > 0
    assert noisy[["auroc", "low", "high"]].isna().all()
    none = by_quality(cases[cases.quality == 1], ["hears the heart"]).set_index("subset")
    assert none.recordings["too noisy"] == 0 and np.isnan(none.auroc["too noisy"])


def test_one_group_gives_a_value_but_no_interval(cases):
    one = cases.assign(group=cases.group.where(cases.label == 0, "the only patient"))
    row = by_quality(one, ["hears the heart"]).iloc[0]
    assert row.auroc == pytest.approx(roc_auc_score(one.label, one["hears the heart"]))
    assert np.isnan(row.low) and np.isnan(row.high)


def test_recordings_of_the_artificial_corpus_serve_as_cases(tiny_data):
    recordings = read_recordings(tiny_data / "recordings")
    recordings["by ear"] = 2.0 * recordings.label - 1
    table = by_quality(recordings, ["by ear"]).set_index("subset")
    assert table.recordings["all"] == 36 and table.auroc["all"] == 1
    assert table.recordings["too noisy"] == (recordings.quality == 0).sum() > 0


# Length


def test_bins_of_length_are_equally_filled_and_in_order(cases):
    table = by_length(cases, ["hears the heart"])
    assert table.recordings.tolist() == [100] * 4
    assert (table.shortest <= table.longest).all()
    assert (table.longest[:-1].to_numpy() < table.shortest[1:].to_numpy()).all()
    assert table.shortest[0] == cases.seconds.min() and table.longest[3] == cases.seconds.max()
    oracle = cases.sort_values("seconds").iloc[:100]
    expected = roc_auc_score(oracle.label, oracle["hears the heart"])
    assert table.auroc[0] == pytest.approx(expected)


def test_equal_lengths_share_a_bin(cases):
    table = by_length(cases.assign(seconds=8.0), ["hears the heart"])
    assert len(table) == 1 and table.recordings[0] == 400
    assert table.auroc[0] == by_quality(cases, ["hears the heart"]).auroc[0]


def test_a_reader_of_length_is_worth_little_among_recordings_of_like_length(cases):
    table = by_length(cases, LENGTHS, bins=8).groupby("model").auroc.mean()
    whole = by_quality(cases, LENGTHS).query("subset == 'all'").set_index("model").auroc
    assert whole["reads the length"] - table["reads the length"] > 0.1
    assert abs(whole["hears the heart"] - table["hears the heart"]) < 0.03


def test_a_reader_of_length_is_found_and_a_hearer_of_hearts_is_not(followed):
    assert (followed.loc["reads the length"].low > 0.3).all()
    heart = followed.loc["hears the heart"]
    assert ((heart.low < 0) & (heart.high > 0)).all()


def test_the_confound_of_length_and_label_is_not_held_against_a_model(cases, followed):
    """Over both classes the hearer of hearts follows the length too."""
    overall = spearmanr(cases["hears the heart"], cases.seconds).statistic
    assert overall > 0.2
    assert followed.loc["hears the heart"].spearman.abs().max() < 0.15


def test_correlations_are_scipys_with_ties_and_all(cases):
    rounded = cases.assign(seconds=cases.seconds.round(-1))
    table = length_score(rounded, LENGTHS).set_index(["model", "label"])
    for model in LENGTHS:
        for label, part in rounded.groupby("label"):
            row = table.loc[model, label]
            assert row.spearman == pytest.approx(spearmanr(part[model], part.seconds).statistic)
            assert row.recordings == 200 and row.low < row.spearman < row.high


def test_a_model_that_says_one_thing_has_no_correlation(cases):
    table = length_score(cases.assign(mute=0.5), ["mute"])
    assert table[["spearman", "low", "high", "within"]].isna().all(axis=None)


def test_a_reader_of_databases_follows_the_length_but_not_within_them(cases):
    """Databases of other lengths, as in the Challenge, and a model that knows nothing else."""
    generator, database = np.random.default_rng(1), np.repeat([0, 1, 2, 3], 100)
    told = cases.assign(
        database=np.array(list("abcd"))[database],
        seconds=cases.seconds / 10 + 10 * database,
        reader=database + 0.1 * generator.normal(size=400),
    )
    table = length_score(told, ["reader", "reads the length"]).set_index(["model", "label"])
    assert (table.loc["reader"].low > 0.8).all()
    reader = table.loc["reader"]
    assert ((reader.within_low < 0) & (reader.within_high > 0)).all()
    assert (table.loc["reads the length"].within_low > 0.3).all()


def test_in_one_database_both_correlations_are_one(followed):
    assert followed.within.to_numpy() == pytest.approx(followed.spearman.to_numpy())
    assert followed.within_low.to_numpy() == pytest.approx(followed.low.to_numpy())


def test_copies_of_recordings_narrow_no_interval(cases):
    few = cases.iloc[::5]
    copies = pd.concat([few] * 4, ignore_index=True)
    for table in (length_score, by_quality):
        alone, copied = (table(part, ["hears the heart"]) for part in (few, copies))
        width = (copied.high - copied.low) / (alone.high - alone.low)
        assert width.min() > 0.8


# What is refused


@pytest.mark.parametrize("table", [by_quality, by_length, length_score])
def test_missing_columns_are_named_at_once(cases, table):
    with pytest.raises(InputError, match=r"lacks the columns group, .*, rival"):
        table(cases.drop(columns=["group", "quality", "seconds", "database"]), ["rival"])


def test_no_bin_and_unusable_logits_are_refused(cases):
    with pytest.raises(InputError, match="bins: 0 is too few"):
        by_length(cases, LENGTHS, bins=0)
    with pytest.raises(InputError, match="NaN or infinite"):
        by_quality(cases.assign(broken=np.nan), ["broken"])
