"""Speech with noise behind it, at a known ratio, the same every time."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from ark_asr.audio import SAMPLE_RATE, load_audio
from ark_asr.audio.wav import wav_bytes
from ark_asr.batch.places import recording
from ark_asr.batch.records import Record
from ark_asr.corpora.manifest import with_field
from ark_asr.corpora.sound import all_sounds, measure
from ark_asr.errors import AudioError, OptionError
from ark_asr.types import FloatArray
from ark_asr.writers import write_atomic

MIXED_KEY = "mixed"
_ROOM = 0.99  # the greatest sample where speech and noise together would be too loud
_SILENT = 1e-12  # mean square


@dataclass(frozen=True, slots=True)
class Ratios:
    """Signal-to-noise ratios to draw from, evenly: in dB, from ``low`` to ``high``."""

    low: float
    high: float

    @classmethod
    def parse(cls, text: str) -> Ratios:
        """``10`` or ``5:20``.

        Raises:
            OptionError: It is something else.
        """
        first, colon, last = text.partition(":")
        try:
            found = cls(float(first), float(last if colon else first))
        except ValueError:
            found = cls(np.nan, np.nan)
        if not -100 <= found.low <= found.high <= 100:
            raise OptionError(f"--snr {text}: give a ratio in dB, or two of them: 10, 5:20")
        return found


@dataclass(frozen=True, slots=True)
class Mixture:
    """How a mixed recording came to be; its row has it under ``mixed``.

    Attributes:
        clean: The speech, as the manifest named it, from ``begin`` to ``end`` (negative: to its
            ends).
        noise: Likewise, from second ``noise_begin`` on; from its start again where it ends.
        snr_db: Power of the speech over that of the noise, both over the whole clip.
        gain: What speech and noise were multiplied with, so that nothing clips.
    """

    clean: str
    begin: float
    end: float
    noise: str
    noise_begin: float
    snr_db: float
    gain: float
    seed: int


@dataclass(frozen=True, slots=True)
class Noise:
    """A recording of noise, and how long it is."""

    record: Record
    seconds: float


def measure_noises(records: Sequence[Record], threads: int | None = None) -> list[Noise]:
    """The noises of a manifest or folder.

    Raises:
        OptionError: One cannot be read.
    """
    noises = []
    for record, seconds in all_sounds(records, measure, threads):
        if isinstance(seconds, AudioError):
            raise OptionError(f"noise cannot be used: {seconds}")
        noises.append(Noise(record, seconds))
    return noises


def mix_all(
    records: Sequence[Record],
    noises: Sequence[Noise],
    ratios: Ratios,
    folder: Path,
    *,
    seed: int = 0,
    threads: int | None = None,
) -> Iterator[tuple[Record, Record | AudioError]]:
    """Write each record's speech with noise; the record of what was written, or why it was not.

    Noise, its place and the ratio depend on the seed, the speech's name and times, and the list of
    noises; neither on other records nor on threads. Written are 16-bit WAV files of 16 kHz, mono,
    named by the number of the record.

    Args:
        records: The speech.
        noises: At least one.
        ratios: To draw from.
        folder: Where the recordings are written.
        seed: Another one gives other mixtures.
        threads: ``None`` for all cores.

    Raises:
        OptionError: A recording cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    one = partial(_mix, noises=noises, ratios=ratios, folder=folder, seed=seed)
    return all_sounds(records, one, threads)


def mix(speech: FloatArray, noise: FloatArray, snr_db: float) -> tuple[FloatArray, float]:
    """Both together at a ratio, and the gain that keeps them within full scale.

    Args:
        speech: float32 ``[n]``.
        noise: float32 ``[n]``.
        snr_db: Mean power of the speech over that of the noise.

    Raises:
        AudioError: One of them is silent, so there is no ratio.
    """
    powers = [float(np.mean(np.square(sound, dtype=np.float64))) for sound in (speech, noise)]
    for power, what in zip(powers, ("speech", "noise"), strict=True):
        if power < _SILENT:
            raise AudioError(f"the {what} is silent, so no ratio can be kept")
    scale = np.sqrt(powers[0] / powers[1] / 10 ** (snr_db / 10))
    both = speech + np.float32(scale) * noise
    peak = float(np.abs(both).max())
    gain = min(_ROOM / peak, 1.0) if peak > _ROOM else 1.0
    return np.asarray(both * np.float32(gain), dtype=np.float32), gain


def _mix(
    record: Record, *, noises: Sequence[Noise], ratios: Ratios, folder: Path, seed: int
) -> Record:
    dice = _dice(seed, record)
    noise = noises[int(dice.integers(len(noises)))]
    snr_db = round(float(dice.uniform(ratios.low, ratios.high)), 2)
    speech = _load(record, record.begin, record.end)
    spare = max(noise.seconds - len(speech) / SAMPLE_RATE, 0.0)
    # A noise that is long enough is not cut at its end; a shorter one may begin anywhere.
    begin = round(float(dice.uniform(0.0, spare or noise.seconds)), 3)
    try:
        samples, gain = mix(speech, _stretch(noise, begin, len(speech)), snr_db)
    except AudioError as error:
        raise AudioError(f"{record.path}: {error} ({noise.record.path})") from None
    path = folder / f"{record.number:07}.wav"
    try:
        write_atomic(path, wav_bytes(samples, SAMPLE_RATE))
    except OSError as error:
        raise OptionError(f"{path}: cannot be written ({error.strerror or error})") from None
    made = Mixture(
        clean=record.audio, begin=record.begin, end=record.end, noise=noise.record.audio,
        noise_begin=begin, snr_db=snr_db, gain=round(gain, 6), seed=seed,
    )  # fmt: skip
    mixed = replace(record, audio=str(path), path=str(path), begin=-1.0, end=-1.0)
    mixed = with_field(mixed, "duration", round(len(samples) / SAMPLE_RATE, 3))
    return with_field(mixed, MIXED_KEY, asdict(made))


def _dice(seed: int, record: Record) -> np.random.Generator:
    name = f"{seed}\0{record.audio}\0{record.begin}\0{record.end}"
    return np.random.default_rng(int.from_bytes(hashlib.sha256(name.encode()).digest()[:16]))


def _load(record: Record, begin: float, end: float) -> FloatArray:
    with recording(record.path) as source:
        times: dict[str, Any] = {"begin": begin if begin > 0 else None}
        times["end"] = end if end >= 0 else None
        return load_audio(source, **times).samples


def _stretch(noise: Noise, begin: float, length: int) -> FloatArray:
    """So many samples of a noise from a second on, its whole again and again if it is short."""
    wanted = length / SAMPLE_RATE
    offset = max(noise.record.begin, 0.0)
    if begin + wanted <= noise.seconds:
        found = _load(noise.record, offset + begin, offset + begin + wanted + 0.01)
        if len(found) >= length:
            return found[:length]
    whole = _load(noise.record, noise.record.begin, noise.record.end)
    first = round(begin * SAMPLE_RATE) % len(whole)
    return np.take(whole, np.arange(first, first + length), mode="wrap")
