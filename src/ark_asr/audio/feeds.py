"""Mono sound at its own rate, without holes: what every kind of source becomes, and arrays.

A feed counts samples from the start of the recording. Time zero is where a player's clock starts:
the first sample, or the first picture of a video if that comes earlier.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from ark_asr.errors import AudioError
from ark_asr.kinds import shown
from ark_asr.types import FloatArray

_PIECE = 1 << 20
# Without int64: it is what numpy makes of a list of small numbers, which would be near silence.
_ARRAY_TYPES = (np.uint8, np.int16, np.int32)
# Louder cannot be meant: the power of such sound does not fit into a float32.
_LOUDEST = np.float64(1e15)
# Below, nothing of speech is left, and a short recording would claim to last for days.
_LOWEST_RATE, _HIGHEST_RATE = 1_000, 768_000


@dataclass(frozen=True, slots=True, eq=False)
class Chunk:
    """Mono samples float32 ``[n]`` at ``rate`` Hz; each chunk follows the one before it."""

    samples: FloatArray
    rate: int


class Feed(Protocol):
    """A recording, sample by sample.

    Attributes:
        rate: Hz of the first samples.
        duration: Seconds from time zero to the end; ``None`` if not known.
        channels: How many the first samples have.
        notes: One line for each thing that one should know of how it is read.
        warnings: The notes, then one line per damaged place; grows while reading.
    """

    rate: int
    channels: int
    duration: float | None
    notes: tuple[str, ...]
    warnings: list[str]

    def chunks(self, first: int) -> Iterator[Chunk]:
        """All samples from index ``first`` on; can be called once."""
        ...

    def close(self) -> None:
        """Give back files."""
        ...


def audible(samples: NDArray[np.generic]) -> NDArray[np.bool_]:
    """Which samples are numbers that sound can have: finite, and not beyond all measure."""
    if not np.issubdtype(samples.dtype, np.floating):
        return np.ones(samples.shape, np.bool_)
    with np.errstate(invalid="ignore"):
        return np.asarray(np.abs(samples) < _LOUDEST)


def fault(samples: NDArray[np.generic]) -> str:
    """What is wrong with samples of which not all are `audible`, for a message."""
    return "far too large" if np.isfinite(samples).all() else "not finite"


def to_float(samples: NDArray[np.generic]) -> FloatArray:
    """Integer samples to float32 within ±1 (unsigned bytes are centred); floats keep their values.

    The order of a sample's bytes does not matter.

    Raises:
        TypeError: The type is neither float, int16, int32, int64 nor uint8.
    """
    if samples.dtype == np.uint8:
        return np.asarray((samples.astype(np.float32) - 128) / 128, np.float32)
    if samples.dtype.newbyteorder("=") in (np.int16, np.int32, np.int64):
        scale = 2.0 ** (1 - 8 * samples.dtype.itemsize)
        return np.asarray(samples.astype(np.float32) * scale, np.float32)
    if not np.issubdtype(samples.dtype, np.floating):
        raise TypeError(str(samples.dtype))
    return np.asarray(samples, np.float32)


def to_mono(channels: FloatArray) -> FloatArray:
    """The mean of ``[channels, n]``."""
    if len(channels) == 1:
        return np.asarray(channels[0], np.float32)
    return np.asarray(channels.mean(axis=0), np.float32)


def hertz(what: str, rate: object) -> int:
    """A sample rate, whatever it is written as: 16000, 16000.0 or a number of numpy's.

    Args:
        what: What the user calls it.
        rate: Hz.

    Raises:
        AudioError: It is no whole number, or no sound has such a rate.
    """
    number = rate.item() if isinstance(rate, np.generic) else rate
    hint = ""
    if isinstance(number, int | float) and not isinstance(number, bool):
        if _LOWEST_RATE <= number <= _HIGHEST_RATE and number == int(number):
            return int(number)
        if _LOWEST_RATE <= number * 1000 <= _HIGHEST_RATE:
            hint = f"; for {number:g} kHz write {round(number * 1000)}"
    raise AudioError(
        f"{what} is {shown(number)}; it must be a whole number of Hz, "
        f"{_LOWEST_RATE:,} to {_HIGHEST_RATE:,}{hint}"
    )


def check_claimed(name: str, rate: int) -> None:
    """Whether sound can have the rate that a file claims.

    Raises:
        AudioError: It cannot.
    """
    if not _LOWEST_RATE <= rate <= _HIGHEST_RATE:
        raise AudioError(
            f"{name}: claims a rate of {rate:,} Hz; that of sound is {_LOWEST_RATE:,} to "
            f"{_HIGHEST_RATE:,}"
        )


def check_channel(name: str, channel: int | None, channels: int) -> None:
    """Whether there is that channel.

    Raises:
        AudioError: There is none.
    """
    if channel is not None and channel >= channels:
        has = "one channel" if channels == 1 else f"{channels} channels"
        raise AudioError(f"{name}: has {has}, there is none of number {channel + 1}")


class ArrayFeed:
    """Samples that are already in memory; they are converted piece by piece.

    Args:
        samples: ``[n]``, ``[channels, n]`` or ``[n, channels]``: the shorter axis is the channels,
            the first one if both are equally long.
        rate: Hz.
        name: Named in errors.
        channel: The one to read, from 0; ``None`` for the mean of all.
    """

    def __init__(
        self, samples: NDArray[np.generic], rate: int, name: str, channel: int | None = None
    ) -> None:
        if samples.ndim not in (1, 2):
            raise AudioError(f"{name}: has {samples.ndim} dimensions; 1 (mono) or 2 are understood")
        channels = samples[None] if samples.ndim == 1 else samples
        if channels.size == 0:
            raise AudioError(f"{name}: has no samples")
        self._channels = channels if channels.shape[0] <= channels.shape[1] else channels.T
        kind = samples.dtype.newbyteorder("=")
        if not (kind in _ARRAY_TYPES or np.issubdtype(kind, np.floating)):
            raise AudioError(
                f"{name}: samples of type {samples.dtype}; use float, int16, int32 or uint8"
            )
        self.rate = rate
        self.channels = len(self._channels)
        self.duration: float | None = self._channels.shape[1] / rate
        self.notes: tuple[str, ...] = ()
        self.warnings: list[str] = []
        check_channel(name, channel, self.channels)
        if channel is not None:
            self._channels = self._channels[channel : channel + 1]
        for start, piece in self._pieces(0):
            if not (good := audible(piece).all(axis=0)).all():
                at = int(good.argmin())
                bad = start + at
                raise AudioError(
                    f"{name}: sample {bad} ({bad / rate:.2f} s) is {fault(piece[:, at])}"
                )

    def _pieces(self, first: int) -> Iterator[tuple[int, NDArray[np.generic]]]:
        step = _PIECE
        for start in range(first, self._channels.shape[1], step):
            yield start, self._channels[:, start : start + step]

    def chunks(self, first: int) -> Iterator[Chunk]:
        """All samples from index ``first`` on."""
        for _, piece in self._pieces(first):
            yield Chunk(to_mono(to_float(piece)), self.rate)

    def close(self) -> None:
        """Nothing to give back."""
