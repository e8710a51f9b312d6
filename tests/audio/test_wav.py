"""Audio files are read as they are, within bounds; all else is refused in one line."""

import os
import struct
import tracemalloc
import warnings
from pathlib import Path

import numpy as np
import pytest
import soundfile
from scipy.signal import resample

from hsutils.audio import wav
from hsutils.audio.spectrograms import READ_SECONDS, read_log_mel
from hsutils.audio.wav import read_samples, read_waveform, read_windows
from hsutils.config import RECORDED_RATE as RATE
from hsutils.config import FrontEnd
from hsutils.errors import InputError

NOTES = b"LIST" + struct.pack("<I", 5) + b"notes\0"


def noise(seed: int = 0, samples: int = 3_000) -> np.ndarray:
    return np.random.default_rng(seed).integers(-9_000, 9_000, samples).astype(np.int16)


def riff(data: bytes, declared: int | None = None, before=b"", order="<", rate=RATE) -> bytes:
    """A mono 16-bit WAV file by hand, with chunks `before` the samples and any declared size."""
    fmt = struct.pack(f"{order}4sIHHIIHH", b"fmt ", 16, 1, 1, rate, 2 * rate, 2, 16)
    size = len(data) if declared is None else declared
    body = b"WAVE" + fmt + before + b"data" + struct.pack(f"{order}I", size) + data
    whole = len(body) if declared is None else declared
    return (b"RIFF" if order == "<" else b"RIFX") + struct.pack(f"{order}I", whole) + body


def flac(frames: int) -> bytes:
    """The 42 bytes that begin a FLAC file of so many frames."""
    stream = struct.pack(">HH6xQ16x", 4096, 4096, (RATE << 44) | (15 << 36) | frames)
    return b"fLaC\x80\0\0\x22" + stream


def encoded(
    kind: str, subtype: str | None = None, rate: int = 8_000, samples: int = 3_000
) -> bytes:
    """Noise in another format."""
    path = Path(os.environ["HSUTILS_CACHE"]) / "encoded"
    soundfile.write(path, noise(samples=samples) / 32_768, rate, subtype, format=kind)
    return path.read_bytes()


def refusal(path: Path) -> str:
    with pytest.raises(InputError) as caught:
        read_samples(path)
    (line,) = caught.value.problems
    with pytest.raises(InputError):
        read_waveform(path)
    assert line.startswith(f"{path}: ")
    return line


SOUND = noise().tobytes()
BROKEN = ("cut short, samples are missing", "not a readable audio file")  # by libsndfile's version
REFUSED = {
    "cut": (riff(SOUND)[:-101], "101 bytes of audio are missing"),
    "cut, notes": (riff(SOUND, before=NOTES)[:-9], "9 bytes of audio are missing"),
    "empty": (riff(b""), "holds no samples"),
    "piped, size 0": (riff(SOUND, declared=0), "holds no samples"),
    "46 samples": (riff(SOUND[:92]), "lasts 23.0 ms, less than"),
    "no bytes": (b"", "not a readable audio file"),
    "not RIFF": (b"RIFF, but not really", "not a readable audio file"),
    "silence": (riff(bytes(6_000)), "no sound in its first 3,000 samples"),
    "a constant": (riff(b"\1\2" * 3_000), "no sound in its first 3,000 samples"),
    "100 Hz": (riff(SOUND, rate=100), "has 100 Hz, not 500 to"),
    "2 GHz": (riff(SOUND, rate=2**31 - 1), "has 2,147,483,647 Hz"),
    "FLAC of unknown length": (flac(0), "does not say how long it is"),
    "FLAC that claims 128 GiB": (flac(2**36 - 1), BROKEN),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_read_is_refused_in_one_line(tmp_path, name):
    content, problems = REFUSED[name]
    problems = (problems,) if isinstance(problems, str) else problems
    (tmp_path / "a0001.wav").write_bytes(content)
    said = refusal(tmp_path / "a0001.wav")
    assert any(problem in said for problem in problems)


def test_flac_written_into_a_pipe_is_refused_before_it_is_read(own_cache, tmp_path):
    content = bytearray(encoded("FLAC"))
    content[21:26] = bytes([content[21] & 0xF0]) + bytes(4)  # the number of samples: unknown
    (tmp_path / "a.flac").write_bytes(content)
    with pytest.raises(InputError, match="how long it is, as FLAC written into a pipe"):
        next(read_windows(tmp_path / "a.flac", 56))
    assert "does not say how long it is" in refusal(tmp_path / "a.flac")


@pytest.mark.parametrize("kind", ["RF64", "W64", "AU", "CAF"])
def test_formats_whose_end_cannot_be_told_are_recognized_by_content(own_cache, tmp_path, kind):
    (tmp_path / "a.wav").write_bytes(encoded(kind))
    assert f"holds {kind}, none of WAV, WAVEX, FLAC, AIFF, OGG, MP3;" in refusal(tmp_path / "a.wav")


@pytest.mark.parametrize("share", [0.1, 0.5, 0.95])
@pytest.mark.parametrize("kind", ["AIFF", "OGG", "OGG OPUS", "MP3"])
def test_a_lossy_or_aiff_file_cut_short_is_refused(own_cache, tmp_path, kind, share):
    content = encoded(*kind.split(), samples=60_000)
    (tmp_path / "a.wav").write_bytes(content[: int(share * len(content))])
    said = refusal(tmp_path / "a.wav")
    assert "cut short" in said or "not a readable audio file" in said


@pytest.mark.parametrize("kind", ["AIFF", "OGG", "OGG OPUS", "MP3"])
def test_lossy_and_aiff_files_hold_the_sound_that_was_written(own_cache, tmp_path, kind):
    """At 8 kHz a codec keeps the noise below 1 kHz; Opus may shift it by part of a sample."""
    (tmp_path / "a.bin").write_bytes(encoded(*kind.split(), samples=60_000))
    found = read_waveform(tmp_path / "a.bin")
    expected = resample(noise(samples=60_000) / 32_768, 15_000)
    assert found.shape == expected.shape
    assert np.corrcoef(found, expected)[0, 1] > 0.95


def test_an_mp3_without_a_count_of_its_frames_is_read_to_its_end(own_cache, tmp_path):
    path, constant = tmp_path / "a.mp3", {"bitrate_mode": "CONSTANT", "compression_level": 0.3}
    soundfile.write(path, noise(samples=90_000) / 32_768, 44_100, **constant)
    content = path.read_bytes()
    path.write_bytes(content[content.index(content[:2], 4) :])
    assert b"Info" in content and b"Info" not in path.read_bytes()
    assert 0 <= len(read_samples(path)[0]) - 90_000 < 2 * wav.MP3_FRAMES


@pytest.mark.parametrize("share", [0.2, 0.5, 0.99])
def test_a_flac_file_cut_short_is_refused(own_cache, tmp_path, share):
    content = encoded("FLAC", "PCM_16", RATE)
    (tmp_path / "a.flac").write_bytes(content[: int(share * len(content))])
    said = refusal(tmp_path / "a.flac")
    assert any(problem in said for problem in BROKEN)


@pytest.mark.parametrize("subtype", ["GSM610", "MS_ADPCM", "IMA_ADPCM", "G721_32"])
def test_compressed_samples_are_refused(own_cache, tmp_path, subtype):
    (tmp_path / "a.wav").write_bytes(encoded("WAV", subtype))
    assert f"holds {subtype} samples; convert it" in refusal(tmp_path / "a.wav")


ELSEWHERE = {"PCM_S8", "VORBIS", "OPUS", "MPEG_LAYER_III"}
FORMATS = [("WAV", subtype) for subtype in sorted(wav.SAMPLE_FORMATS - ELSEWHERE)]
FORMATS += [("FLAC", subtype) for subtype in ("PCM_S8", "PCM_16", "PCM_24")]


@pytest.mark.parametrize(("kind", "subtype"), FORMATS)
def test_every_sample_format_is_read_as_it_is(own_cache, tmp_path, kind, subtype):
    (tmp_path / "a.wav").write_bytes(encoded(kind, subtype, RATE))
    steps = {"PCM_U8": 2**-7, "PCM_S8": 2**-7, "ULAW": 2**-5, "ALAW": 2**-5}.get(subtype, 2**-15)
    assert np.abs(read_waveform(tmp_path / "a.wav") - noise() / 32_768).max() <= steps


def test_a_pipe_does_not_hang_and_folders_and_absent_files_are_named(tmp_path):
    os.mkfifo(tmp_path / "pipe.wav")
    assert refusal(tmp_path / "pipe.wav").endswith("not a regular file")
    assert refusal(tmp_path).endswith("a folder; name the files in it")
    assert refusal(tmp_path / "absent.wav").endswith("no such file")


def test_a_name_that_is_not_utf_8_is_read(tmp_path):
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.wav"))
    path.write_bytes(riff(SOUND))
    np.testing.assert_array_equal(read_samples(path)[0][:, 0], noise())


def write_floats(path: Path, *more: float) -> np.ndarray:
    """Write noise, and these samples behind it."""
    samples = np.append(noise() / 32_768, more).astype(np.float32)
    soundfile.write(path, samples, RATE, subtype="FLOAT")
    return samples


@pytest.mark.parametrize("value", [np.nan, np.inf, 1.6])
def test_float_samples_without_a_meaning_are_refused(tmp_path, value):
    write_floats(tmp_path / "a.wav", value)
    problem = "peaks at 1.6 times" if value == 1.6 else "holds NaN or infinite"
    assert problem in refusal(tmp_path / "a.wav")


def test_what_a_resampler_overshoots_is_clipped_with_one_warning(tmp_path, monkeypatch):
    monkeypatch.setattr(wav, "_clipped", [])
    for name in ("a.wav", "b.wav"):
        samples = write_floats(tmp_path / name, 1.0047, -1.4)
    with pytest.warns(UserWarning, match=r"a\.wav: peaks at 1.4 times full scale") as caught:
        waveforms = [read_waveform(tmp_path / name) for name in ("a.wav", "b.wav")]
    assert len(caught) == 1
    for waveform in waveforms:
        np.testing.assert_array_equal(waveform, np.clip(samples, -1, 1))


def test_a_last_bit_beyond_full_scale_is_no_matter(tmp_path):
    write_floats(tmp_path / "a.wav", 1.00003)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert read_waveform(tmp_path / "a.wav").max() == 1


UNUSUAL = {
    "piped by SoX": riff(SOUND, declared=0x7FFFF000),
    "piped by FFmpeg": riff(SOUND, declared=0xFFFFFFFF),
    "big-endian": riff(noise().byteswap().tobytes(), order=">"),
    "junk at the end": riff(SOUND) + b"junk",
    "notes before the samples": riff(SOUND, before=NOTES),
}


@pytest.mark.parametrize("name", UNUSUAL)
def test_unusual_but_legal_headers_are_read_in_full(tmp_path, name):
    (tmp_path / "a.wav").write_bytes(UNUSUAL[name])
    np.testing.assert_array_equal(read_waveform(tmp_path / "a.wav") * 32_768, noise())


def test_channels_are_averaged_and_cancelling_ones_refused(tmp_path):
    left, right = noise(0), noise(1)
    soundfile.write(tmp_path / "a.wav", np.stack([left, right], axis=1), RATE)
    waveform = read_waveform(tmp_path / "a.wav")
    assert waveform.dtype == np.float32
    np.testing.assert_allclose(waveform * 32_768, (left / 2 + right / 2), atol=1e-2)
    soundfile.write(tmp_path / "b.wav", np.stack([left, -left], axis=1), RATE)
    with pytest.raises(InputError, match="its channels cancel each other; keep one of them"):
        read_waveform(tmp_path / "b.wav")


@pytest.mark.parametrize("rate", [1_000, 4_000, 44_100])
def test_resampling_agrees_with_the_fourier_method_and_stays_within_full_scale(tmp_path, rate):
    tone = 0.5 * np.sin(2 * np.pi * 100 * np.arange(2 * rate) / rate)
    soundfile.write(tmp_path / "a.wav", tone, rate, subtype="FLOAT")
    waveform, middle = read_waveform(tmp_path / "a.wav"), slice(200, -200)
    assert waveform.shape == (2 * RATE,)
    np.testing.assert_allclose(waveform[middle], resample(tone, 2 * RATE)[middle], atol=2e-3)
    soundfile.write(tmp_path / "a.wav", np.sign(tone + 1e-9), rate)
    assert np.abs(read_waveform(tmp_path / "a.wav")).max() <= 1


@pytest.mark.parametrize("rate", [500, 1_999, RATE, 11_025, 48_000])
@pytest.mark.parametrize("asked", [RATE, 8_000])
def test_the_first_seconds_are_those_of_the_whole(tmp_path, rate, asked):
    soundfile.write(tmp_path / "a.wav", noise(samples=3 * rate), rate)
    whole = read_waveform(tmp_path / "a.wav", asked)
    for seconds in (0.3, 1.2345, 9.0):
        first = read_waveform(tmp_path / "a.wav", asked, seconds)
        np.testing.assert_array_equal(first, whole[: round(seconds * asked)])


def test_no_more_is_read_than_the_front_end_needs(tmp_path):
    front_end, minute = FrontEnd(clip_seconds=3.0), noise(samples=60 * 8_000)
    stereo = np.stack([minute, minute[::-1]], axis=1)
    with soundfile.SoundFile(tmp_path / "long.wav", "w", 8_000, 2, "PCM_16") as file:
        for _ in range(20):
            file.write(stereo)
    tracemalloc.start()
    read_log_mel(tmp_path / "long.wav", front_end)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    one_channel = 4 * 8_000 * READ_SECONDS
    assert peak < 5 * one_channel < 8 * 20 * 60 * 8_000
