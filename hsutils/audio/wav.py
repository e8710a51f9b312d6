"""WAV files -> samples, refusing what would quietly turn into wrong audio."""

import math
from io import BytesIO
from pathlib import Path
from typing import NamedTuple

import numpy as np
import soundfile
from scipy.signal import resample_poly

from hsutils.errors import InputError

SAMPLE_RATE = 2_000
"""Hz, of every recording of the Challenge."""

SHORTEST_SECONDS = 512 / 22_050
"""One frame of the spectrogram: a shorter recording would be mostly padding."""

# A program that writes into a pipe cannot return to fill in the length; it leaves 0 or a huge one.
_PIPED_LENGTH = 0x7FFF_F000


def read_waveform(path: Path | str, sample_rate: int = SAMPLE_RATE) -> np.ndarray:
    """The recording as one channel at `sample_rate`.

    Args:
        path: a WAV file of any sample rate, channel count and sample format.
        sample_rate: Hz, of the result.

    Returns:
        float32 array (samples,) in [-1, 1]; channels are averaged, other rates are resampled.

    Raises:
        InputError: as `read_samples`.
    """
    samples, file_rate = read_samples(path)
    scale = 32_768 if samples.dtype == np.int16 else 1
    waveform = samples.mean(axis=1, dtype=np.float32) / np.float32(scale)
    if file_rate != sample_rate:
        common = math.gcd(file_rate, sample_rate)
        waveform = resample_poly(waveform, sample_rate // common, file_rate // common)
    return np.clip(waveform, -1, 1, dtype=np.float32)


def read_samples(path: Path | str) -> tuple[np.ndarray, int]:
    """The samples as they are stored, and their rate.

    Returns:
        Array (samples, channels), int16 for 16-bit files and float32 in [-1, 1] for all others;
        sample rate in Hz.

    Raises:
        InputError: if the file cannot be read, is cut short, is empty, is shorter than one
            frame (`SHORTEST_SECONDS`), or holds NaN, infinity or values beyond full scale.
    """
    path = Path(path)
    try:
        data = _data_chunk(path)
        with soundfile.SoundFile(_closed(path, data)) as file:
            sample_rate = file.samplerate
            dtype = "int16" if file.subtype == "PCM_16" else "float32"
            samples = file.read(dtype=dtype, always_2d=True)
    except (soundfile.SoundFileError, OSError) as error:
        raise InputError(f"{path}: not a readable WAV file ({error}); use a good copy") from error
    if problem := _problem(data, samples, sample_rate):
        raise InputError(f"{path}: {problem}")
    return samples, sample_rate


class _DataChunk(NamedTuple):
    """Where a WAV file keeps its samples, in bytes."""

    start: int = 0
    declared: int = 0
    held: int = 0


def _data_chunk(path: Path) -> _DataChunk:
    """The first `data` chunk; all zero if there is none or the file is no RIFF file."""
    size = path.stat().st_size
    with path.open("rb") as file:
        riff = file.read(12)
        if riff[:4] not in (b"RIFF", b"RIFX") or riff[8:] != b"WAVE":
            return _DataChunk()
        order = "little" if riff[:4] == b"RIFF" else "big"
        while len(chunk := file.read(8)) == 8:
            length = int.from_bytes(chunk[4:], order)
            if chunk[:4] == b"data":
                empty = length == 0 and int.from_bytes(riff[4:8], order) == size - 8
                return _DataChunk(file.tell(), length, 0 if empty else size - file.tell())
            file.seek(length + length % 2, 1)
    return _DataChunk()


def _closed(path: Path, data: _DataChunk) -> Path | BytesIO:
    """The file, or a copy that declares a length where its writer left 0, which reads as empty."""
    if data.declared or not data.held:
        return path
    content = bytearray(path.read_bytes())
    content[data.start - 4 : data.start] = b"\xff" * 4
    return BytesIO(content)


def _problem(data: _DataChunk, samples: np.ndarray, sample_rate: int) -> str:
    """What makes these samples unusable and what to do about it, or "" if nothing does."""
    # libsndfile reads what there is of a file cut short and says nothing.
    if data.held < data.declared < _PIPED_LENGTH:
        missing = data.declared - data.held
        return f"cut short, {missing:,} bytes of audio are missing; use an undamaged copy"
    if len(samples) == 0:
        return "holds no samples; use an undamaged copy, or remove it and its row"
    if samples.dtype != np.int16:
        if not np.isfinite(samples).all():
            return "holds NaN or infinite samples; export it again, best as 16-bit PCM"
        if (peak := np.abs(samples).max()) > 1:
            return f"peaks at {peak:.3g}, beyond full scale; rescale it to [-1, 1]"
    seconds = len(samples) / sample_rate
    if seconds < SHORTEST_SECONDS:
        return (
            f"lasts {seconds * 1000:.1f} ms, less than one spectrogram frame "
            f"({SHORTEST_SECONDS * 1000:.1f} ms); remove it together with its row"
        )
    return ""
