"""A profile says everything once, and wrong profiles are refused with every problem at once."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from hsutils.config import (
    PROFILES,
    Compute,
    FrontEnd,
    Profile,
    fingerprint,
    load_profile,
    parse_profile,
)
from hsutils.errors import InputError

PAPER = {
    "data": {"source": "challenge", "recordings": 0},
    "splits": {"method": "published"},
    "front_end": {
        **{"clip_seconds": 57.0, "sample_rate": 22_050, "n_fft": 512, "hop": 448},
        **{"bins": 175, "mels": 50, "floor": 1e-11, "offset": 0.0035824, "scale": 0.0735521},
    },
    "augment": {
        **{"frequency_masks": 2, "time_masks": 5, "masked_share": 0.5, "both_views": False},
    },
    "pretrain": {
        **{"epochs": 3, "learning_rate": 1e-5, "weight_decay": 1e-6},
        **{"batch_size": 16, "temperature": 0.07},
    },
    "finetune": {"epochs": 30, "learning_rate": 1e-5, "weight_decay": 1e-2, "batch_size": 16},
    "student": {"epochs": 15, "learning_rate": 1e-4, "weight_decay": 0.0, "batch_size": 16},
    "baseline": {"epochs": 15, "learning_rate": 1e-4, "weight_decay": 0.0, "batch_size": 16},
}


def problems(profile="demo", overrides=()) -> list[str]:
    with pytest.raises(InputError) as caught:
        load_profile(profile, overrides)
    return caught.value.problems


@pytest.mark.parametrize("path", sorted(PROFILES.glob("*.toml")), ids=lambda path: path.stem)
def test_every_profile_loads_and_is_named_as_its_file(path):
    assert load_profile(path.stem) == load_profile(path)
    assert load_profile(path).name == path.stem


def test_the_paper_profile_holds_the_papers_values_and_its_cnns_differ_in_their_targets_only():
    paper = load_profile("paper")
    for table, expected in PAPER.items():
        assert expected.items() <= getattr(paper, table).model_dump().items(), table
    assert paper.front_end.shape == FrontEnd().shape == (1, 50, 2805)
    assert paper.student == paper.baseline


@pytest.mark.parametrize(
    ("seconds", "frames"), [(512 / 22_050, 1), (959 / 22_050, 1), (960 / 22_050, 2)]
)
def test_only_whole_windows_are_frames(seconds, frames):
    assert FrontEnd(clip_seconds=seconds).frames == frames


def test_overrides_are_toml_or_bare_words():
    texts = ["pretrain.epochs=7", "student.learning_rate=1e-3", "data.folder=/a b/c=d"]
    texts += ["augment.both_views=true", 'name="x"', "baseline.weight_decay = 1"]
    changed = load_profile("paper", texts)
    assert (changed.pretrain.epochs, changed.student.learning_rate) == (7, 1e-3)
    assert (changed.name, changed.data.folder) == ("x", "/a b/c=d")
    assert changed.augment.both_views is True
    assert type(changed.baseline.weight_decay) is float and changed.baseline.weight_decay == 1


@pytest.mark.parametrize(
    "overrides",
    [
        *({"pretrain.epochs": 7, "seed": 3}, {"pretrain": {"epochs": 7}, "seed": 3}),
        *(["pretrain={epochs = 7}", "seed=3"], "pretrain.epochs=7 seed=3"),
    ],
)
def test_overrides_may_be_a_mapping_tables_or_one_text_and_leave_other_fields_alone(overrides):
    expected = load_profile("paper", ["pretrain.epochs=7", "seed=3"])
    assert load_profile("paper", overrides) == expected


def test_all_problems_are_named_at_once_with_the_field_and_the_profile():
    wrong = ["pretrain.epoch=1", "data.source=tape", "student.epochs=0", "seed=text", "gibberish"]
    wrong += ["baseline=5", "front_end.scale=nan", "augment.masked_share=1.5", "compute.threads=-1"]
    found = problems("demo", wrong)
    assert len(found) == len(wrong)
    assert all(line.startswith("profile demo: ") for line in found)
    for text in wrong:
        assert sum(f"'{text.partition('=')[0]}'" in line for line in found) == 1


@pytest.mark.parametrize(
    "override",
    [
        *("seed=-1", "seed=1.0", "seed=true", "pretrain.epochs=1.0", "compute.devices=0"),
        *("finetune.batch_size=1", "finetune.weight_decay=-1e-9", "finetune.learning_rate=0"),
        *("pretrain.temperature=0.0", "pretrain.temperature=inf", "augment.time_masks=-1"),
        *("compute.precision=8-bit", "compute.accelerator=abacus", "augment.both_views=1"),
        *("name=1", "data.seconds_scale=0", "seed=20000000000000000", "name=../../x"),
        *("front_end.clip_seconds=1e308", "compute.threads=100000", "student.temperature=0.1"),
        *(f"seed={'9' * 5_000}", f"data.seed={'[' * 800}", "data.folder="),
    ],
)
def test_one_wrong_value_is_one_problem(override):
    key = override.partition("=")[0]
    assert [f"'{key}'" in line for line in problems("demo", [override])] == [True]


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("gibberish", "override 'gibberish' is not key=value; write e.g. pretrain.epochs=1"),
        ("student.epochs", "override 'student.epochs' is not key=value"),
        ("seed.of.chance=1", "'seed' must be a valid integer"),
        ("name=a/b", "'name' must be made of letters, digits, '_', '.' and '-', not 'a/b'"),
        ("pretrain.lr=1", "unknown field 'pretrain.lr'; known here: epochs, learning_rate"),
        ("front_end.bins=258", "'front_end.bins'"),
        ("front_end.mels=20", "20 mels"),
        ("front_end.low_hz=8000", "'front_end.low_hz'"),
        ("front_end.pass_high_hz=1000", "< 'front_end.pass_high_hz' < 1000 Hz"),
        ("front_end.pass_low_hz=1000", "'front_end.pass_low_hz' <"),
        ("front_end.clip_seconds=0.01", "clip_seconds"),
        ("student.crop_seconds=3", "'student.crop_seconds' needs 'networks.cnn'"),
        ("baseline.crop_seconds=0.1", "fewer than 21 frames"),
        ('augment={pair = "crops", crop_seconds = 0.1}', "'augment.crop_seconds' makes crops of"),
        ("student.synthetic=2", "'student.synthetic' needs 'student.crop_seconds'"),
    ],
)
def test_what_is_wrong_is_said_before_any_work(override, said):
    assert said in problems("demo", [override])[0]


@pytest.mark.parametrize("content", [b"seed = = 1", b"\xff\xfe"])
def test_a_file_that_is_not_toml_is_refused_by_name(tmp_path, content):
    file = tmp_path / "mine.toml"
    file.write_bytes(content)
    assert str(file) in problems(file)[0]


def test_an_unknown_profile_is_answered_with_the_known_ones():
    assert "use all-ages, compact, demo, paper, robust, small" in problems("papers")[0]


@pytest.mark.parametrize("profile", ["small", "paper"])
def test_a_profile_survives_being_written_and_read(tmp_path, profile):
    loaded = load_profile(profile, {"data.folder": 'C:\\a "b"\t\x7f\n😀', "seed": 12})
    file = tmp_path / "experiment.toml"
    file.write_text(loaded.to_toml(), encoding="utf-8")
    assert load_profile(file) == parse_profile(loaded.to_toml(), "here") == loaded


def test_a_folder_is_refused_where_the_clips_of_the_package_are_used():
    (line,) = problems("demo", {"data.folder": "/mine"})
    assert "'data.folder' needs 'data.source' \"challenge\", \"synthetic\" or" in line


def test_a_portable_profile_names_no_folder_of_this_machine():
    here = {"data.folder": "/mine", "splits.lists": "/lists", "synthetic.folder": "/tmp/x"}
    for name in ("small", "paper"):
        assert load_profile(name, here | {"seed": 3}).portable() == load_profile(name, {"seed": 3})


def test_text_kept_with_weights_is_refused_with_their_name():
    for text in ("seed = = 1", "colour = 1", "[" * 5_000):
        with pytest.raises(InputError, match=r"^weights\.safetensors: "):
            parse_profile(text, "weights.safetensors")


def test_fingerprints_depend_on_values_only():
    assert fingerprint(FrontEnd(), [1, "a"]) == fingerprint(FrontEnd(mels=50), (1, "a"))
    parts = ([FrontEnd(), [1, "a"]], [FrontEnd(mels=51), [1, "a"]])
    parts += ([FrontEnd(), [1, "b"]], [FrontEnd(), ["a", 1]])
    assert len({fingerprint(*each) for each in parts}) == 4


def test_profiles_are_values():
    assert Profile() == Profile()
    with pytest.raises(ValidationError):
        Compute().devices = 2


def test_a_profile_like_another_names_only_what_differs(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text('like = "paper"\nname = "mine"\n[student]\nepochs = 3\n')
    mine, paper = load_profile(path), load_profile("paper")
    student = paper.student.model_copy(update={"epochs": 3})
    assert mine == paper.model_copy(update={"name": "mine", "student": student})


LIKE = ('"nobody"', '"mine"', '"mine.toml"', '""', "3")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        *(
            (f"like = {other}", "mine.toml: 'like' must name one of all-ages, compact")
            for other in LIKE
        ),
        ('like = "paper"\n[seed]\nof = 1\n', "'seed' must be a valid integer"),
    ],
)
def test_a_wrong_profile_like_another_is_refused(tmp_path, monkeypatch, content, said):
    monkeypatch.chdir(tmp_path)
    Path("mine.toml").write_text(content)
    (problem,) = problems("mine.toml")
    assert said in problem
