"""The table tells the truth about the folder, and a broken folder is refused in plain words."""

import struct
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile
from scipy.signal import resample

from hsutils.errors import InputError
from hsutils.data.challenge import COLUMNS, grouping_evidence, read_recordings, read_waveform

RATE = 2_000
ODD = b"LIST" + struct.pack("<I", 5) + b"odd..\0"
NOTES = b"LIST" + struct.pack("<I", 92) + b"x" * 92


def noise(seed: int, samples: int = 3_000) -> np.ndarray:
    return np.random.default_rng(seed).integers(-9_000, 9_000, samples).astype(np.int16)


def write_folder(folder: Path, labels: dict[str, int], seed: int = 0) -> Path:
    folder.mkdir(parents=True)
    for number, record in enumerate(labels):
        soundfile.write(folder / f"{record}.wav", noise(seed + number), RATE)
    rows = "".join(f"{record},{label}\n" for record, label in labels.items())
    (folder / "REFERENCE.csv").write_text(rows)
    return folder


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Two folders of three recordings."""
    write_folder(tmp_path / "training-a", {"a0002": 1, "a0001": -1, "a0003": 1})
    write_folder(tmp_path / "training-b", {"b0001": -1, "b0002": -1, "b0003": 1}, seed=10)
    return tmp_path


def problems(root: Path, **arguments: Path) -> list[str]:
    with pytest.raises(InputError) as caught:
        read_recordings(root, **arguments)
    return caught.value.problems


def riff(data: bytes, declared: int | None = None, before: bytes = b"", order: str = "<") -> bytes:
    """A mono 16-bit WAV file by hand, with chunks `before` the samples and any declared size."""
    fmt = struct.pack(f"{order}4sIHHIIHH", b"fmt ", 16, 1, 1, RATE, 2 * RATE, 2, 16)
    size = len(data) if declared is None else declared
    body = b"WAVE" + fmt + before + b"data" + struct.pack(f"{order}I", size) + data
    whole = len(body) if declared is None else declared
    return (b"RIFF" if order == "<" else b"RIFX") + struct.pack(f"{order}I", whole) + body


def test_the_table_has_one_sorted_row_a_recording(root):
    recordings = read_recordings(root)
    assert tuple(recordings) == COLUMNS
    assert recordings["record"].tolist() == ["a0001", "a0002", "a0003", "b0001", "b0002", "b0003"]
    assert recordings["label"].tolist() == [0, 1, 1, 0, 0, 1]
    assert recordings["database"].tolist() == list("aaabbb")
    assert (recordings["seconds"] == 1.5).all()
    assert (recordings["sample_rate"] == RATE).all()
    assert recordings["group"].tolist() == recordings["record"].tolist()
    assert all(Path(path).is_absolute() for path in recordings["path"])


def test_quality_is_usable_unless_the_quality_file_says_otherwise(root):
    (root / "training-a" / "REFERENCE-SQI.csv").write_text("a0001,-1,0\na0002,1,1\n")
    assert read_recordings(root)["quality"].tolist() == [0, 1, 1, 1, 1, 1]


def test_folders_are_found_at_any_depth_and_validation_at_none(root):
    deep = root / "training"
    write_folder(deep / "training-c", {"c0001": 1}, seed=20)
    write_folder(root / "validation", {"a0001": -1})
    write_folder(deep / "validation" / "training-d", {"d0001": 1})
    write_folder(deep / "training-c" / "validation", {"c0001": 1})
    assert set(read_recordings(root)["database"]) == set("abc")
    assert set(read_recordings(deep / "training-c")["database"]) == {"c"}


def test_the_digest_follows_the_samples_and_not_the_header(root):
    before = read_recordings(root).set_index("record")["digest"]
    samples = noise(0)
    (root / "training-a" / "a0002.wav").write_bytes(
        riff(samples.tobytes(), before=b"LIST" + struct.pack("<I", 3) + b"abc\0")
    )
    soundfile.write(root / "training-b" / "b0001.wav", noise(10) + 1, RATE)
    after = read_recordings(root).set_index("record")["digest"]
    assert (before != after).to_dict() == {record: record == "b0001" for record in before.index}


def test_recordings_with_the_same_audio_form_one_group_named_by_the_first(root):
    run = noise(99, samples=1_500)
    for name, seed in {"a/a0003": 1, "b/b0001": 2, "b/b0003": 3}.items():
        soundfile.write(root / f"training-{name}.wav", np.append(noise(50 + seed), run), RATE)
    group = read_recordings(root).set_index("record")["group"]
    assert group[group != group.index].to_dict() == {"b0001": "a0003", "b0003": "a0003"}


@pytest.mark.parametrize(
    "name", ["Online_Appendix_training_set.csv", "Online Appendix_training set.csv"]
)
def test_annotated_subjects_join_recordings_and_are_counted(root, name):
    header = "Challenge record name,Database,Class (-1=normal 1=abnormal)"
    rows = ["a0001,training-a,-1,C45S1,", "a0002,training-a,1,C45S2,", "a0003,training-a,1,D4,"]
    rows += ["b0001,training-b,-1,x é,7", "b0003,training-b,1,y,7"]
    text = "\n".join([f"{header},Original record name,Subject ID", *rows])
    (root / name).write_text(text, encoding="latin-1")
    recordings = read_recordings(root)
    assert recordings["subject"].tolist() == ["a-C45", "a-C45", "", "b-7", "", "b-7"]
    assert recordings["group"].tolist() == ["a0001", "a0001", "a0003", "b0001", "b0002", "b0001"]
    evidence = grouping_evidence(recordings)
    assert evidence["known_subject"].to_dict() == {"a": 2, "b": 2, "all": 4}
    assert evidence["subjects"].to_dict() == {"a": 1, "b": 1, "all": 2}
    assert evidence.loc["all", "share"] == pytest.approx(4 / 6)
    pd.testing.assert_frame_equal(recordings, read_recordings(root, annotations=root / name))


def test_a_missing_or_foreign_annotation_file_is_refused(root):
    assert "none.csv: not a readable CSV" in problems(root, annotations=root / "none.csv")[0]
    (root / "other.csv").write_text("record,subject\n")
    assert "Subject ID" in problems(root, annotations=root / "other.csv")[0]


def test_a_missing_and_an_empty_folder_say_what_to_do(tmp_path):
    assert "no such folder" in problems(tmp_path / "none")[0]
    assert "run `hsutils fetch`" in problems(tmp_path)[0]


def test_folders_without_a_single_recording_are_refused(tmp_path):
    write_folder(tmp_path / "training-a", {})
    assert "holds no recordings" in problems(tmp_path)[0]


def test_all_problems_are_told_at_once_each_naming_its_file(root):
    folder = root / "training-a"
    (folder / "REFERENCE.csv").write_text("a0001,-1\na0001,1\na0002,0\na0009,1\na0008\n")
    (root / "training-b" / "REFERENCE-SQI.csv").write_text("b0001,-1,2\n")
    (root / "training-b" / "b0002.wav").write_bytes(b"RIFF, but not really")
    (root / "training-c").mkdir()
    told = "\n".join(problems(root, annotations=root / "none.csv"))
    for expected in (
        "REFERENCE.csv, line 2: a0001 was listed before",
        "REFERENCE.csv, line 3: a0002 has '0'; write -1 or 1",
        "REFERENCE.csv, line 5: 2 fields expected, not 1",
        "a0009 has a row but no a0009.wav",
        "a0003.wav: has no row",
        "REFERENCE-SQI.csv, line 1: b0001 has '2'; write 0 or 1",
        "b0002.wav: not a readable WAV file",
        "training-c/REFERENCE.csv: missing",
        "none.csv: not a readable CSV",
    ):
        assert expected in told


def test_a_recording_in_two_folders_is_refused_once_a_folder(root):
    write_folder(root / "copy" / "training-a", {"a0001": -1, "a0002": 1})
    (line,) = problems(root)
    assert "2 recordings are also in" in line


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        pytest.param(riff(noise(0).tobytes())[:-101], "101 bytes of audio are missing", id="cut"),
        pytest.param(riff(noise(0).tobytes(), before=ODD)[:-9], "9 bytes of", id="cut, odd chunk"),
        pytest.param(riff(b""), "holds no samples", id="empty"),
        pytest.param(
            riff(b"")[:4] + struct.pack("<I", 136) + riff(b"")[8:] + NOTES,
            "holds no samples",
            id="empty, notes",
        ),
        pytest.param(riff(noise(0, samples=46).tobytes()), "less than one spectrogram", id="46"),
        pytest.param(b"", "not a readable WAV file", id="no bytes"),
    ],
)
def test_a_broken_file_is_refused_by_table_and_waveform_alike(root, content, complaint):
    path = root / "training-a" / "a0001.wav"
    path.write_bytes(content)
    (line,) = problems(root)
    assert complaint in line
    assert "a0001.wav" in line
    with pytest.raises(InputError, match=complaint):
        read_waveform(path)


@pytest.mark.parametrize("value", [np.nan, np.inf, 1.5])
def test_float_samples_without_a_meaning_are_refused(root, value):
    samples = np.zeros(3_000, dtype=np.float32)
    samples[7] = value
    soundfile.write(root / "training-a" / "a0001.wav", samples, RATE, subtype="FLOAT")
    (line,) = problems(root)
    assert ("beyond full scale" if value == 1.5 else "NaN or infinite") in line


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(riff(noise(0).tobytes(), declared=0), id="piped, size 0"),
        pytest.param(riff(noise(0).tobytes(), declared=0xFFFFFFFF), id="piped, size unknown"),
        pytest.param(riff(noise(0).byteswap().tobytes(), order=">"), id="big-endian"),
        pytest.param(riff(noise(0).tobytes()) + b"junk", id="junk at the end"),
        pytest.param(
            riff(noise(0).tobytes(), before=ODD),
            id="odd chunk before the samples",
        ),
    ],
)
def test_unusual_but_legal_headers_are_read_in_full(tmp_path, content):
    path = tmp_path / "a.wav"
    path.write_bytes(content)
    np.testing.assert_array_equal(read_waveform(path)[:3_000] * 32_768, noise(0))


def test_47_samples_are_enough(tmp_path):
    path = tmp_path / "a.wav"
    path.write_bytes(riff(noise(0, samples=47).tobytes()))
    assert read_waveform(path).shape == (47,)


def test_channels_are_averaged(tmp_path):
    left, right = noise(0) // 2 * 2, noise(1) // 2 * 2
    soundfile.write(tmp_path / "a.wav", np.stack([left, right], axis=1), RATE)
    waveform = read_waveform(tmp_path / "a.wav")
    assert waveform.dtype == np.float32
    np.testing.assert_allclose(waveform * 32_768, (left + right) / 2, atol=1e-2)


@pytest.mark.parametrize("rate", [1_000, 4_000, 44_100])
def test_resampling_keeps_a_tone_and_agrees_with_the_fourier_method(tmp_path, rate):
    tone = 0.5 * np.sin(2 * np.pi * 100 * np.arange(2 * rate) / rate)
    soundfile.write(tmp_path / "a.wav", tone, rate, subtype="FLOAT")
    waveform = read_waveform(tmp_path / "a.wav")
    assert waveform.shape == (2 * RATE,)
    middle = slice(200, -200)
    np.testing.assert_allclose(waveform[middle], resample(tone, 2 * RATE)[middle], atol=2e-3)


def test_full_scale_stays_within_one_after_resampling(tmp_path):
    square = np.where(np.arange(8_000) // 50 % 2, 32_767, -32_768).astype(np.int16)
    soundfile.write(tmp_path / "a.wav", square, 4_000)
    assert np.abs(read_waveform(tmp_path / "a.wav")).max() <= 1


def test_another_rate_or_channel_count_is_noticed_once_not_refused(root):
    soundfile.write(root / "training-a" / "a0002.wav", noise(0, samples=44_100), 44_100)
    soundfile.write(root / "training-b" / "b0001.wav", np.stack([noise(10)] * 2, axis=1), RATE)
    with pytest.warns(UserWarning, match=r"2 of 6 .*a0002: 44,100 Hz, channels: 1") as caught:
        recordings = read_recordings(root)
    assert len(caught) == 1
    assert recordings["sample_rate"].tolist() == [RATE, 44_100, RATE, RATE, RATE, RATE]
    assert recordings["seconds"].tolist() == [1.5, 1.0, 1.5, 1.5, 1.5, 1.5]


@pytest.mark.real
def test_the_challenge_has_3240_recordings_of_which_665_are_abnormal(real_data):
    recordings = read_recordings(real_data)
    assert len(recordings) == 3_240
    assert recordings["label"].sum() == 665
    assert (recordings["quality"] == 0).sum() == 364
    assert recordings["digest"].is_unique
    assert recordings["seconds"].sum() / 3_600 == pytest.approx(20.2, abs=0.05)
    assert recordings["group"].nunique() == 3_240 - 45 + 6
