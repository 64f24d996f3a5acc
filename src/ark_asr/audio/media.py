"""Decoding with PyAV: any container or codec that FFmpeg reads, as a `Feed`.

Timestamps are trusted where they say that sound is missing (silence takes its place, so that later
times stay true) and ignored where they merely jitter or start anew.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import chain

import av
import numpy as np
from av.audio.frame import AudioFrame
from numpy.typing import NDArray

from ark_asr.audio.container import open_container
from ark_asr.audio.damage import DamageLog, LostFrames
from ark_asr.audio.demuxers import (
    COUNTED,
    INDIRECT,
    MAY_PAUSE,
    ONE_RATE,
    STATES_LENGTH,
    seeks_exactly,
)
from ark_asr.audio.feeds import (
    Chunk,
    audible,
    check_channel,
    check_claimed,
    fault,
    to_float,
    to_mono,
)
from ark_asr.audio.joined import is_joined
from ark_asr.audio.sources import Input
from ark_asr.audio.stated import stated_bytes
from ark_asr.audio.tracks import choice, find_track
from ark_asr.errors import AudioDecodeError, AudioError
from ark_asr.types import FloatArray

# Timestamps of common containers are rounded to a millisecond, and Vorbis frames come up to 10 ms
# late; only more than this is a hole.
_GAP_SECONDS = 0.02
# Timestamps that fall behind the samples by so little at a time are those of a sound card that ran
# fast. A larger step is something else, and no sound is dropped for it.
_DRIFT_SECONDS = 0.005
# Only a clear step back means that timestamps start anew (joined files).
_STEP_BACK_SECONDS = 1.0
# A hole cannot reach beyond the end; where the end is not known, it is at most this long.
_LONGEST_GAP_SECONDS = 3600.0
# Decoders with a memory (MP3's bit reservoir, Opus, AAC) need a run-up after a seek.
_RUN_UP_SECONDS = 2.0
# Opus sends a frame every 0.4 s where nobody speaks.
_UNSENT_SECONDS = 0.42
_SHORT_SECONDS = 1.0
# A demuxer that fails so often without a packet in between will not get past the damage.
_MANY_ERRORS = 100
_SILENCE_PIECE = 1 << 20
_FIRST_FRAMES = 64


@dataclass(frozen=True, slots=True, eq=False)
class _Frame:
    """Decoded mono samples; ``second`` is the container's own time, if it gives one."""

    samples: FloatArray
    rate: int
    second: float | None


class MediaFeed:
    """One audio stream of a file, mixed to mono.

    Args:
        source: The file.
        channel: The one to read, from 0; ``None`` for the mean of all.
        track: The audio stream, from 1; ``None`` for the best one.

    Raises:
        AudioDecodeError: Nothing can be decoded.
        AudioError: No audio stream, no such track or channel, or no rate that sound can have.
    """

    def __init__(self, source: Input, channel: int | None = None, track: int | None = None) -> None:
        self._source = source
        self._channel = channel
        self._track = track
        self.channels = 0
        self._at = 0.0  # second that is being decoded, for the damage log
        self._emitting = True  # damage in the run-up after a seek does not matter
        self._open()
        try:
            several = choice(self._container, source.name, self._stream) if track is None else None
            self.notes = (*source.notes, *([several] if several else []))
            self._damage = DamageLog(source.name, self.notes)
            self.warnings = self._damage.lines
            self._frames = self._decode()
            self._head = self._first_frames(self._frames)
            check_channel(source.name, channel, self.channels)
            self.rate = self._head[0].rate
            check_claimed(source.name, self.rate)
            self._zero = self._find_zero()
            self.duration = self._length()
        except BaseException:
            self._container.close()
            raise

    def close(self) -> None:
        """Give back files."""
        self._container.close()
        self._source.close()

    def chunks(self, first: int) -> Iterator[Chunk]:
        """All samples from index ``first`` on, holes filled with silence."""
        frames, at = self._start_at(first)
        rate, shift, before, timed = self.rate, 0.0, 0.0, True
        self._emitting = at >= first
        for frame in frames:
            if frame.rate != rate:  # from here on, indices count in the new rate
                timed = timed and self._name not in ONE_RATE
                at, first = round(at * frame.rate / rate), round(first * frame.rate / rate)
                rate = frame.rate
            if frame.second is not None and timed:
                hole = frame.second - self._zero + shift - at / rate
                if hole < -_STEP_BACK_SECONDS or hole > self._longest_hole(at / rate):
                    self._damage.note(at / rate, "timestamps start anew")
                    shift -= hole
                elif hole > _GAP_SECONDS:
                    unsent = self._name in MAY_PAUSE and hole < _UNSENT_SECONDS
                    if at > 0 and not unsent:
                        self._damage.note(at / rate, f"{hole:.2f} s are missing")
                    for piece in _silence(round(hole * rate)):
                        yield from _after(first - at, Chunk(piece, rate))
                        at += len(piece)
                elif hole < -_GAP_SECONDS and abs(hole - before) < _DRIFT_SECONDS:
                    drop = min(round(-hole * rate), len(frame.samples))
                    frame = replace(frame, samples=frame.samples[drop:])  # noqa: PLW2901
                before = hole
            yield from _after(first - at, Chunk(frame.samples, rate))
            at += len(frame.samples)
            self._at = at / rate
            self._emitting = at >= first
        self._check_length(at / rate)

    def _open(self) -> None:
        source, options = self._source, {"protocol_whitelist": "file"}
        raw = source.raw_rate
        if raw is not None:
            options |= {"sample_rate": str(raw), "ch_layout": "mono"}
        try:
            form = None if raw is None else "s16le"
            self._container = open_container(source.file, form, options)
        except AudioError:  # of a file object that gives what is no bytes
            raise
        except (av.FFmpegError, ValueError) as error:
            raise AudioDecodeError(
                f"{source.name}: is no sound or video file that can be decoded ({_short(error)})"
            ) from None
        except OSError as error:
            raise AudioError(f"{source.name}: cannot be read ({_short(error)})") from None
        self._name = self._container.format.name.split(",")[0]
        if self._name in INDIRECT:
            self._container.close()
            raise AudioError(f"{source.name}: has no audio stream")
        try:
            self._stream = find_track(self._container, source.name, self._track)
        except AudioError:
            self._container.close()
            raise
        self._tick = self._stream.time_base or Fraction(1, self._stream.rate)

    def _first_frames(self, frames: Iterator[_Frame]) -> list[_Frame]:
        """Frames up to the first one with a time."""
        head = []
        for frame in frames:
            head.append(frame)
            if frame.second is not None or len(head) == _FIRST_FRAMES:
                break
        if head:
            return head
        if self._damaged():
            raise AudioDecodeError(f"{self._source.name}: nothing in it can be decoded")
        raise AudioError(f"{self._source.name}: has no samples")

    def _find_zero(self) -> float:
        """Time of the container at which the recording starts."""
        last = self._head[-1]
        first = (last.second or 0.0) - sum(len(f.samples) / f.rate for f in self._head[:-1])
        start = self._container.start_time
        # Pictures can come before, or sound that is damaged; some decoders give nothing at first.
        if start is None or not (len(self._container.streams) > 1 or self._damaged()):
            return first
        earlier = start / av.time_base
        return earlier if first - earlier > _GAP_SECONDS else first

    def _length(self) -> float | None:
        stream = self._stream
        if stream.duration:
            length = float(stream.duration * self._tick)
            late = float((stream.start_time or 0) * self._tick) - self._zero
            return length + (late if late > _GAP_SECONDS else 0.0)
        if not self._container.duration:
            return None
        length = float(self._container.duration / av.time_base)
        # Matroska states where the recording ends, not how long it is.
        return length - (self._zero if self._name == "matroska" else 0.0)

    def _start_at(self, first: int) -> tuple[Iterator[_Frame], int]:
        """Frames from ``first`` or earlier on, and the index of their first sample."""
        source, back = self._source, first / self.rate - _RUN_UP_SECONDS
        exact = seeks_exactly(self._name, self._stream.codec_context.name) and source.seekable
        if exact and back > _RUN_UP_SECONDS and not is_joined(source, self._name):
            self._emitting = False
            ticks = int((back + self._zero) / self._tick)
            try:
                self._container.seek(ticks, stream=self._stream)
                frames = self._decode()
                head = self._first_frames(frames)[-1]
            except (av.FFmpegError, AudioError):
                head = None
            if head is not None and head.second is not None:
                at = round((head.second - self._zero) * self.rate)
                if 0 <= at <= first and head.rate == self.rate:
                    return chain([head], frames), at
            self._container.close()
            if not isinstance(source.file, str):
                source.file.seek(0)
            self._open()
            return self._decode(), 0
        return chain(self._head, self._frames), 0

    def _longest_hole(self, second: float) -> float:
        if self.duration is None:
            return _LONGEST_GAP_SECONDS
        return max(self.duration - second, 0.0) + _STEP_BACK_SECONDS

    def _check_length(self, second: float) -> None:
        stated = self.duration
        several = self._stream.duration is None and len(self._container.streams) > 1
        # An MP3 knows its encoder delay only from the header that also states its length.
        exact = self._name in STATES_LENGTH or (self._name == "mp3" and self._stream.start_time)
        if exact and not several and stated is not None and stated - second > _SHORT_SECONDS:
            self._damage.note(second, f"it ends there, but its header states {stated:.1f} s")
            return
        size = self._container.size
        if self._source.seekable and size > 0 and (whole := stated_bytes(self._source)):
            stated = second * whole / size
            if stated - second > _SHORT_SECONDS:
                what = f"it ends there, but its header states about {stated:.1f} s"
                self._damage.note(second, what)

    def _decode(self) -> Iterator[_Frame]:
        """Whatever can be decoded from where the container stands; the rest is noted."""
        packets = self._container.demux(self._stream)
        lost = LostFrames(self._name) if self._name in COUNTED else None
        in_a_row = 0
        while in_a_row < _MANY_ERRORS:
            try:
                packet = next(packets)
            except StopIteration:
                return
            except (av.FFmpegError, OSError) as error:
                in_a_row += 1
                self._note(_short(error))
                packets = self._container.demux(self._stream)
                continue
            in_a_row = 0
            problem = None
            try:
                frames = packet.decode()
            except av.FFmpegError as error:
                problem, frames = _short(error), []
            late = lost.seconds if lost is not None else 0.0
            if lost is not None and lost.in_packet(packet, failed=problem is not None):
                problem = problem or "several frames are lost"
            if problem is not None:
                self._note(problem)
            for frame in frames:
                yield self._mono(frame, late)

    def _mono(self, frame: AudioFrame, late: float) -> _Frame:
        samples = frame.to_ndarray()
        if not frame.format.is_planar:
            samples = samples.reshape(-1, frame.layout.nb_channels).T
        self.channels = self.channels or len(samples)
        chosen = self._chosen(samples)
        if not (good := audible(chosen)).all():
            self._note(f"samples are {fault(chosen)}")
            chosen = np.where(good, chosen, np.zeros((), chosen.dtype))
        mono = to_mono(to_float(chosen))
        second = None
        if frame.pts is not None and frame.time_base is not None:
            second = float(frame.pts * frame.time_base) + late
        return _Frame(mono, frame.sample_rate, second)

    def _chosen(self, samples: NDArray[np.generic]) -> NDArray[np.generic]:
        """The channels to mix; silence where the chosen one has come to an end."""
        if self._channel is None:
            return samples
        if self._channel >= len(samples):
            self._note(f"channel {self._channel + 1} is missing")
            return np.zeros((1, samples.shape[1]), np.float32)
        return samples[self._channel : self._channel + 1]

    def _damaged(self) -> bool:
        return len(self.warnings) > len(self.notes)

    def _note(self, what: str) -> None:
        if self._emitting:
            self._damage.note(self._at, what)


def _silence(count: int) -> Iterator[FloatArray]:
    while count > 0:
        yield np.zeros(min(count, _SILENCE_PIECE), np.float32)
        count -= _SILENCE_PIECE


def _after(skip: int, chunk: Chunk) -> Iterator[Chunk]:
    if skip <= 0:
        yield chunk
    elif skip < len(chunk.samples):
        yield Chunk(chunk.samples[skip:], chunk.rate)


def _short(error: Exception) -> str:
    return str(getattr(error, "strerror", None) or error).splitlines()[0].lower()
