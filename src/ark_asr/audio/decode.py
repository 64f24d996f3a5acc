"""Any recording as a stream of mono float32 blocks at the rate a model hears.

A source becomes a feed (mono, at its own rate, without holes), soxr resamples it, and the result
is handed out in blocks of `Audio`. Memory does not grow with the length of the recording, and every
block knows its true second.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Generator, Iterator
from types import TracebackType
from typing import Self

import numpy as np
import soxr

from ark_asr.audio.feeds import ArrayFeed, Feed, hertz
from ark_asr.audio.media import MediaFeed
from ark_asr.audio.sources import Source, name_of, open_input
from ark_asr.audio.tracks import check_only_track, check_track
from ark_asr.errors import AudioError, AudioWarning
from ark_asr.kinds import of_kind
from ark_asr.types import Audio, FloatArray

SAMPLE_RATE = 16_000
BLOCK_SECONDS = 4.0
# Longer than half the resampling filter, so that a cut sounds as if all had been decoded.
_FILTER_SECONDS = 0.25
# No recording is as long; later times do not fit into the numbers of the libraries.
_EVER = 1e9
# Seconds before 0 that a sum of floats may leave; less than a sample of any rate.
_SLIP = 1e-6


def open_audio(
    source: Source,
    *,
    sample_rate: int = SAMPLE_RATE,
    begin: float | None = None,
    end: float | None = None,
    source_rate: int | None = None,
    channel: int | None = None,
    track: int | None = None,
) -> AudioStream:
    """Open a recording and decode its first block.

    Args:
        source: A path; ``-`` for standard input; bytes; a binary file object (it is read from its
            start and not closed); a numpy array, ``[n]``, ``[channels, n]`` or ``[n, channels]``
            (the shorter axis is the channels), of floats within ±1, int16, int32 or uint8; or an
            `Audio`, whose ``start`` then counts. Paths that end in ``.raw`` or ``.pcm`` are
            headerless 16-bit little-endian mono.
        sample_rate: Hz of the result.
        begin: First second of the recording that is wanted.
        end: Last second of the recording that is wanted; past its end means to its end.
        source_rate: Hz of an array or of headerless samples (16-bit little-endian mono).
        channel: The one channel that is wanted, from 0; ``None`` for the mean of all.
        track: The one audio track of a file that is wanted, counted from 1 in the order of FFmpeg's
            audio streams; ``None`` for the one that FFmpeg thinks best. A warning says which one
            that is, where there are several.

    Raises:
        AudioNotFoundError: There is no such file.
        AudioDecodeError: Nothing in it can be decoded.
        AudioError: No audio stream, no samples, a directory, not permitted, begin or end make no
            sense, no such track or channel, or samples that are not finite. All are one line that
            names the source.
        OptionError: ``track`` can be no number of a track, or ``begin`` or ``end`` is no number.
    """
    _check_times(name_of(source), begin, end)
    sample_rate = hertz("sample_rate", sample_rate)
    if source_rate is not None:
        source_rate = hertz("source_rate", source_rate)
    _check_channel(channel)
    check_track(track)
    feed, name, start = _open_feed(source, source_rate, channel, track)
    try:
        return AudioStream(feed, name, sample_rate, start=start, begin=begin, end=end)
    except BaseException:
        feed.close()
        raise


def load_audio(
    source: Source,
    *,
    sample_rate: int = SAMPLE_RATE,
    begin: float | None = None,
    end: float | None = None,
    source_rate: int | None = None,
    channel: int | None = None,
    track: int | None = None,
) -> Audio:
    """Read a whole recording into memory; arguments and errors are those of `open_audio`.

    Warns:
        AudioWarning: Once per damaged place; what could be decoded is returned. Also if there are
            several tracks and none was asked for.
    """
    with open_audio(
        source,
        sample_rate=sample_rate,
        begin=begin,
        end=end,
        source_rate=source_rate,
        channel=channel,
        track=track,
    ) as stream:
        blocks = list(stream)
    for line in stream.warnings:
        warnings.warn(line, AudioWarning, stacklevel=2)
    samples = np.concatenate([block.samples for block in blocks])
    return Audio(samples, sample_rate, blocks[0].start)


class AudioStream:
    """An open recording: a context manager and an iterator of `Audio` blocks of a few seconds.

    The blocks follow each other without a hole, the first one starts at ``begin``.

    Attributes:
        name: What the user calls the recording.
        sample_rate: Hz of the blocks.
        channels: Of the recording; the blocks are mono.
        start: Second of the recording at which the first block starts.
        duration: Best estimate of the seconds that it yields; ``None`` if not known.
        notes: One line for each thing that one should know of how it is read.
        warnings: The notes, then one line per damaged place; grows while blocks are taken.
    """

    def __init__(
        self,
        feed: Feed,
        name: str,
        sample_rate: int,
        *,
        start: float,
        begin: float | None,
        end: float | None,
    ) -> None:
        self.name = name
        self.sample_rate = sample_rate
        self.channels = feed.channels
        self.notes = feed.notes
        self.warnings = feed.warnings
        self._feed = feed
        self._start = start
        self._first = max(round(((begin or 0.0) - start) * sample_rate), 0)
        self._last = math.inf if end is None or end > _EVER else round((end - start) * sample_rate)
        self.start = start + self._first / sample_rate
        self.duration = self._expected()
        self._blocks = self._make_blocks()
        # Decoding the first block here lets every error of a bad source appear where it is opened.
        self._ahead = next(self._blocks, None)
        if self._ahead is None:
            raise AudioError(self._why_empty())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def __iter__(self) -> Iterator[Audio]:
        return self

    def __next__(self) -> Audio:
        if self._ahead is not None:
            block, self._ahead = self._ahead, None
            return block
        return next(self._blocks)

    @property
    def damage(self) -> list[str]:
        """The warnings without the notes: what is not as it was recorded."""
        return self.warnings[len(self.notes) :]

    def close(self) -> None:
        """Give back files; the stream yields nothing more."""
        self._ahead = None
        self._blocks.close()
        self._feed.close()

    def _expected(self) -> float | None:
        if self._feed.duration is None:
            return None if self._last == math.inf else (self._last - self._first) / self.sample_rate
        last = min(self._feed.duration * self.sample_rate, self._last)
        return max(last - self._first, 0.0) / self.sample_rate

    def _why_empty(self) -> str:
        length, end = self._feed.duration, self._start + self._last / self.sample_rate
        if self._first == 0 and self._last > 0:
            return f"{self.name}: has no samples"
        if self._last < 0:
            return f"{self.name}: starts at {self._start:g} s; end ({end:g} s) is before that"
        if self._last <= self._first:
            return f"{self.name}: not one sample lies between {self.start:g} s and end ({end:g} s)"
        since = f", from {self._start:g} s on" if self._start else ""
        known = f" (it is {length:.2f} s long{since})" if length is not None else ""
        return f"{self.name}: begin ({self.start:g} s) is beyond the end{known}"

    def _make_blocks(self) -> Generator[Audio]:
        size = round(BLOCK_SECONDS * self.sample_rate)
        at = self._first
        held: list[FloatArray] = []
        for piece in self._samples():
            held.append(piece)
            if sum(map(len, held)) < size:
                continue
            joined = np.concatenate(held)
            whole = len(joined) // size * size
            for offset in range(0, whole, size):
                yield self._block(joined[offset : offset + size], at)
                at += size
            held = [joined[whole:]]
        rest = np.concatenate(held) if held else np.empty(0, np.float32)
        if len(rest):
            yield self._block(rest, at)

    def _block(self, samples: FloatArray, at: int) -> Audio:
        return Audio(samples, self.sample_rate, self._start + at / self.sample_rate)

    def _samples(self) -> Iterator[FloatArray]:
        """Resampled samples from ``_first`` to ``_last``."""
        # Input and output samples coincide once per ``grid`` input samples; starting there gives
        # the same phase as a resampler that has run since the start.
        rate = self._feed.rate
        grid = rate // math.gcd(rate, self.sample_rate)
        run_up = self._first / self.sample_rate - _FILTER_SECONDS
        start = max(math.floor(run_up * rate / grid), 0) * grid
        at = start * self.sample_rate // rate
        for piece in _resample(self._feed, start, self.sample_rate):
            lower = min(max(self._first - at, 0), len(piece))
            upper = int(min(max(self._last - at, 0), len(piece)))
            at += len(piece)
            if upper > lower:
                yield piece[lower:upper]
            if at >= self._last:
                return


def _resample(feed: Feed, first: int, sample_rate: int) -> Iterator[FloatArray]:
    rate, resampler = feed.rate, None
    if rate != sample_rate:
        resampler = soxr.ResampleStream(rate, sample_rate, 1, dtype="float32", quality="HQ")
    for chunk in feed.chunks(first):
        if chunk.rate != rate:
            if resampler is not None:
                yield resampler.resample_chunk(np.empty(0, np.float32), last=True)
            rate, resampler = chunk.rate, None
            if rate != sample_rate:
                resampler = soxr.ResampleStream(rate, sample_rate, 1, dtype="float32", quality="HQ")
        yield chunk.samples if resampler is None else resampler.resample_chunk(chunk.samples)
    if resampler is not None:
        yield resampler.resample_chunk(np.empty(0, np.float32), last=True)


def _open_feed(
    source: Source, source_rate: int | None, channel: int | None, track: int | None
) -> tuple[Feed, str, float]:
    if isinstance(source, Audio):
        rate = _rate_of(source)
        if source_rate is not None and source_rate != rate:
            raise AudioError(f"Audio: its rate is {rate} Hz; leave source_rate ({source_rate}) out")
        check_only_track("Audio", track)
        start = max(source.start, 0.0)
        return ArrayFeed(source.samples, rate, "Audio", channel), "Audio", start
    if isinstance(source, np.ndarray):
        if source_rate is None:
            raise AudioError("array: source_rate is missing; say how many samples a second has")
        check_only_track("array", track)
        return ArrayFeed(source, source_rate, "array", channel), "array", 0.0
    opened = open_input(source, source_rate)
    try:
        return MediaFeed(opened, channel, track), opened.name, 0.0
    except BaseException:
        opened.close()
        raise


def _rate_of(audio: Audio) -> int:
    if not isinstance(audio.samples, np.ndarray):
        raise AudioError(
            f"Audio: its samples are no numpy array, but {type(audio.samples).__name__}"
        )
    of_kind("Audio: its start", audio.start, float)
    if not -_SLIP < audio.start <= _EVER:  # nor is it nan
        raise AudioError(f"Audio: its start is {audio.start:g} s; no recording has that second")
    return hertz("Audio: its sample_rate", audio.sample_rate)


def _check_channel(channel: int | None) -> None:
    number = isinstance(channel, int) and not isinstance(channel, bool)
    if channel is not None and not (number and channel >= 0):
        raise AudioError(f"channel is {channel!r}; it must be a whole number, 0 for the first")


def _check_times(name: str, begin: float | None, end: float | None) -> None:
    for what, value in (("begin", begin), ("end", end)):
        of_kind(what, value, float | None)
        if value is not None and not math.isfinite(value):
            raise AudioError(f"{name}: {what} is {value}; it must be a finite number of seconds")
        if value is not None and value < 0:
            raise AudioError(f"{name}: {what} is {value:g} s; it must not be negative")
    if begin is not None and begin > _EVER:
        raise AudioError(f"{name}: begin ({begin:g} s) is beyond the end of any recording")
    if end is not None and end <= (begin or 0.0):
        raise AudioError(f"{name}: end ({end:g} s) must come after begin ({begin or 0.0:g} s)")
