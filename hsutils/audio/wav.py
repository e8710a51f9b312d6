"""Audio files -> samples, refusing what would quietly turn into wrong audio."""

import math
import re
import shutil
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryFile
from typing import BinaryIO

import numpy as np
import soundfile
from scipy.signal import resample_poly

from hsutils.config import RECORDED_RATE
from hsutils.errors import InputError

SHORTEST_SECONDS = 512 / 22_050  # one frame of the paper's spectrogram; less is mostly padding
RATES = (500, 384_000)  # Hz: heart sounds need the lowest; above the highest resampling is slow
BLOCK = 2**20  # samples read at once
OVERSHOOT = 1.5  # times full scale: resampling and lossy compression leave less, other units more
LAST_BIT = 2**-15  # beyond full scale, which is no matter
RECORDINGS = (".wav", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".aif", ".aiff", ".aifc")
"""Endings of the files that are recordings, in a folder that may hold others."""
FORMATS = ("WAV", "WAVEX", "FLAC", "AIFF", "OGG", "MP3")
"""Formats in which a file that was cut short can be recognized."""
SAMPLE_FORMATS = {"PCM_S8", "PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE"}
SAMPLE_FORMATS |= {"ULAW", "ALAW", "VORBIS", "OPUS", "MPEG_LAYER_III"}
MP3_FRAMES = 2 * 1_152  # samples by which an MP3 without a count of its frames may be shorter

_CUT_SHORT = re.compile(r"^data : (\d+) \(should be (\d+)\)$", re.MULTILINE)
_UNKNOWN = 2**48  # frames: more than any file holds
_CUT_AIFF = "not equal to frame count\n*** calculated from length of 'SSND' chunk"
_clipped: list[Path | str] = []  # the first recording that was


def read_waveform(
    path: Path | str, sample_rate: int = RECORDED_RATE, seconds: float = math.inf
) -> np.ndarray:
    """The first `seconds` of a recording as one channel at `sample_rate` (Hz).

    Returns:
        float32 array (samples,) in [-1, 1]; channels are averaged, other rates are resampled.

    Raises:
        InputError: as `read_samples`, or if the channels cancel each other.

    Warns:
        UserWarning: once, of the first recording that exceeds full scale: it is clipped.
    """
    # The resampler's filter reaches at most 20 ms beyond a sample.
    samples, file_rate = read_samples(path, seconds + 0.1)
    waveform = one_channel(samples)
    if not np.ptp(waveform):
        raise InputError(f"{path}: its channels cancel each other; keep one of them")
    peak = np.abs(waveform).max()
    if peak > 1 + LAST_BIT and not _clipped:
        _clipped.append(path)
        text = f"{path}: peaks at {peak:.6g} times full scale; it and others like it are clipped"
        warnings.warn(text, stacklevel=2)
    waveform = resampled(waveform, file_rate, sample_rate)
    return waveform[: round(seconds * sample_rate)] if math.isfinite(seconds) else waveform


def one_channel(samples: np.ndarray) -> np.ndarray:
    """The mean of all channels (samples, channels), float32, of full scale [-1, 1]."""
    full_scale = np.float32(32_768 if samples.dtype == np.int16 else 1)
    return samples.mean(axis=1, dtype=np.float32) / full_scale


def resampled(waveform: np.ndarray, file_rate: int, sample_rate: int = RECORDED_RATE) -> np.ndarray:
    """A waveform (samples,) at another sample rate (Hz), float32, clipped to [-1, 1]."""
    return np.clip(resample_poly(waveform, sample_rate, file_rate), -1, 1, dtype=np.float32)


def read_samples(path: Path | str, seconds: float = math.inf) -> tuple[np.ndarray, int]:
    """The samples of the first `seconds` as they are stored, and their rate in Hz.

    Returns:
        Array (samples, channels), int16 of 16-bit files, else float32 of full scale [-1, 1].

    Raises:
        InputError: if the file is none of `FORMATS`, `SAMPLE_FORMATS` and `RATES`, is cut short,
            is shorter than `SHORTEST_SECONDS`, holds no sound, or NaN, or more than `OVERSHOOT`.
    """
    with _opened(path) as file:
        wanted = file.frames if math.isinf(seconds) else round(seconds * file.samplerate)
        samples, sample_rate = _read(file, min(wanted, file.frames), path), file.samplerate
    if not np.ptp(samples, axis=0).any():
        raise InputError(f"{path}: no sound in its first {len(samples):,} samples; leave it out")
    return samples, sample_rate


def read_windows(path: Path | str, seconds: float) -> Iterator[tuple[np.ndarray, int]]:
    """All of a recording in equal windows of at most `seconds`: what `read_samples` gives, of each.

    One window is in memory at a time. Raises as `read_samples`, but silence may be in a window.
    """
    with _opened(path) as file:
        count = math.ceil(file.frames / (seconds * file.samplerate))
        edges = [file.frames * part // count for part in range(count + 1)]
        for start, stop in pairwise(edges):
            yield _read(file, stop - start, path), file.samplerate


@contextmanager
def _opened(path: Path | str) -> Iterator[soundfile.SoundFile]:
    piped, path = str(path) == "-", Path(path)
    try:
        if path.is_dir():
            raise InputError(f"{path}: a folder; name the files in it")
        if not path.is_file() and not piped:
            problem = "not a regular file" if path.exists() else "no such file"
            raise InputError(f"{path}: {problem}")
        # Opened here, since libsndfile takes no names that are not UTF-8.
        with TemporaryFile() if piped else path.open("rb") as stream:
            if piped:
                shutil.copyfileobj(sys.stdin.buffer, stream)
                stream.seek(0)
            if _is_cut_ogg(stream):
                raise InputError(f"{path}: cut short, its last page is missing; use a good copy")
            with soundfile.SoundFile(stream) as file:
                if problem := _header_problem(file):
                    raise InputError(f"{path}: {problem}")
                yield file
    except (soundfile.SoundFileError, OSError) as error:
        why = getattr(error, "error_string", error)
        raise InputError(f"{path}: not a readable audio file ({why}); use a good copy") from error


def _read(file: soundfile.SoundFile, wanted: int, path: Path | str) -> np.ndarray:
    """The next samples of a file, block by block: a header may claim any number of them."""
    dtype, blocks = "int16" if file.subtype == "PCM_16" else "float32", []
    while len(block := file.read(min(wanted, BLOCK), dtype, always_2d=True)):
        blocks.append(block)
        wanted -= len(block)
    if not blocks or wanted > (MP3_FRAMES if file.format == "MP3" else 0):
        raise InputError(f"{path}: cut short, samples are missing; use a good copy")
    samples = np.concatenate(blocks)
    if dtype == "float32":
        peak = np.abs(samples).max()
        if not np.isfinite(peak):
            problem = "holds NaN or infinite samples; export it anew, best as 16-bit PCM"
            raise InputError(f"{path}: {problem}")
        if peak > OVERSHOOT:
            raise InputError(f"{path}: peaks at {peak:.6g} times full scale; rescale it to [-1, 1]")
    return samples


def _is_cut_ogg(stream: BinaryIO) -> bool:
    """Whether an Ogg file lacks a part of its last page, or the page that is flagged as last."""
    largest = 65_307 if stream.read(4) == b"OggS" else 0
    stream.seek(-min(largest, stream.seek(0, 2)), 2)
    page = stream.read().rpartition(b"OggS")[2]
    stream.seek(0)
    if not largest or len(page) < 23:
        return largest > 0
    whole = 23 + page[22] + sum(page[23 : 23 + page[22]])
    return len(page) < whole or not page[1] & 4


def _header_problem(file: soundfile.SoundFile) -> str:
    if file.format not in FORMATS:
        return f"holds {file.format}, none of {', '.join(FORMATS)}; convert it to 16-bit PCM WAV"
    if file.subtype not in SAMPLE_FORMATS:
        return f"holds {file.subtype} samples; convert it to 16-bit PCM WAV"
    # libsndfile reads what there is of a file cut short and says so in its log alone.
    # A program that writes into a pipe cannot fill in the length later; it leaves a huge one.
    found = _CUT_SHORT.search(file.extra_info)
    if found and int(found[1]) < 0x7FFF_F000:
        missing = int(found[1]) - int(found[2])
        return f"cut short, {missing:,} bytes of audio are missing; use a good copy"
    if file.frames >= _UNKNOWN:
        return "does not say how long it is, as FLAC written into a pipe; write it into a file"
    if _CUT_AIFF in file.extra_info:
        return "cut short, samples are missing; use a good copy"
    if not RATES[0] <= file.samplerate <= RATES[1]:
        return f"has {file.samplerate:,} Hz, not {RATES[0]} to {RATES[1]:,}; correct its header"
    if file.frames == 0:
        return "holds no samples; use a good copy, or remove it and its row"
    if (seconds := file.frames / file.samplerate) < SHORTEST_SECONDS:
        least = f"{SHORTEST_SECONDS * 1000:.1f} ms, one spectrogram frame"
        return f"lasts {seconds * 1000:.1f} ms, less than {least}; leave it out"
    return ""
