"""Recordings of any length, cut into clips that the model can take.

Clips hold all speech, in order, without overlap; they end in pauses where there are pauses, else at
the quietest point. Only the clip in the making is kept in memory.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator

import numpy as np

from ark_asr.audio.regions import CutOptions, Joined, SpeechTracker, Stretch
from ark_asr.audio.vad import VAD_RATE, WINDOW, Detector, SpeechDetector
from ark_asr.errors import OptionError
from ark_asr.types import Audio, FloatArray

# What a cut inside speech leaves over must be long enough to be heard.
_LEAST_SECONDS = 0.25
LEAST_CLIP_SECONDS = 1.0
_ENERGY_SECONDS = 0.01
_SMOOTH_FRAMES = 10
# A window that is surely speech counts as so much louder than its energy.
_SPEECH_DB = 20.0
_SILENCE_DB = -120.0


def cut(
    blocks: Iterable[Audio],
    max_seconds: float,
    *,
    vad: bool = True,
    options: CutOptions | None = None,
    detector: Detector | None = None,
) -> Iterator[Audio]:
    """Cut a recording into clips, as it comes in.

    Args:
        blocks: A recording in blocks of any size that follow each other; at 16 kHz if ``vad``.
        max_seconds: The longest clip.
        vad: Keep only speech. Off: everything is kept, cut at the quietest points.
        options: Thresholds, pauses and padding.
        detector: Gives the probabilities; Silero VAD if missing. It is reset first.

    Yields:
        Clips in order, each with its true start; none if nobody speaks.

    Raises:
        AudioError: The blocks have another rate or do not follow each other.
        OptionError: ``max_seconds`` is below one second, or padding is longer than half of it.
    """
    cutter = ClipCutter(max_seconds, vad=vad, options=options, detector=detector)
    for block in blocks:
        yield from cutter.feed(block)
    yield from cutter.finish()


class ClipCutter:
    """Takes blocks, gives clips; one per recording. Arguments are those of `cut`."""

    def __init__(
        self,
        max_seconds: float,
        *,
        vad: bool = True,
        options: CutOptions | None = None,
        detector: Detector | None = None,
    ) -> None:
        if not LEAST_CLIP_SECONDS <= max_seconds < math.inf:
            raise OptionError(f"clips of {max_seconds:g} s: at least {LEAST_CLIP_SECONDS:g} s")
        self._options = options or CutOptions()
        self._max_seconds = max_seconds
        name = "pad" if self._options.lead is None else "lead"
        lead: float = getattr(self._options, name)
        if lead > max_seconds / 2:
            raise OptionError(f"{name} is {lead:g} s; at most half a clip, {max_seconds / 2:g} s")
        self._lead = round(lead * VAD_RATE)
        self._detector = (detector or SpeechDetector()) if vad else None
        if self._detector is not None:
            self._detector.reset()
        self._joined = Joined(VAD_RATE if vad else None)
        self._tracker = SpeechTracker(self._options)
        self._tape = _Tape()
        self._probabilities: list[float] = []  # of the windows on the tape
        self._speech: list[Stretch] = []  # ended stretches of the clip in the making
        self._start: int | None = None  # its first sample
        self._free = 0  # samples before this one are used up
        self._split = False  # the clip in the making is the rest of a longer one

    def feed(self, block: Audio) -> list[Audio]:
        """Take the next block; the clips that it completes."""
        samples = self._joined.take(block)
        self._tape.add(samples)
        clips = []
        if self._detector is None:
            while self._joined.samples - self._free > self._most:
                clips.append(self._clip(self._free, self._quietest(self._free)))
        else:
            for probability in self._detector.feed(samples).tolist():
                self._probabilities.append(probability)
                clips += self._advance(self._tracker.push(probability))
        self._forget()
        return clips

    def finish(self) -> list[Audio]:
        """The recording is over; the clips that were still in the making."""
        total = self._joined.samples
        if self._detector is None:
            return [self._clip(self._free, total)] if total > self._free else []
        clips = self._advance(self._tracker.finish(total))
        return clips + (self._complete() if self._start is not None else [])

    @property
    def growing(self) -> Audio | None:
        """What there is of the clip in the making; ``None`` while it may still be but a noise."""
        if self._start is None:
            return None
        tracker = self._tracker
        spoken = tracker.spoken + sum(stretch.last - stretch.first for stretch in self._speech)
        if not self._split and spoken < self._samples(self._options.min_speech):
            return None
        until = tracker.heard
        if tracker.first is None:
            until = self._speech[-1].last if self._speech else self._start
        last = min(until + self._samples(self._options.pad), self._joined.samples)
        if last <= self._start:  # the clip before was cut in what now proves to be a pause
            return None
        return self._audio(self._start, min(last, self._start + self._most))

    @property
    def silence(self) -> float:
        """Seconds since the last word of the clip in the making; 0 while someone speaks."""
        if self._start is None or self._tracker.first is not None:
            return 0.0
        return (self._tracker.heard - self._speech[-1].last) / self._rate

    @property
    def _most(self) -> int:
        return int(self._max_seconds * self._rate)

    @property
    def _rate(self) -> int:
        return self._joined.rate or VAD_RATE

    def _advance(self, ended: Stretch | None) -> list[Audio]:
        """Judge one more window, after which the tracker stands where it stands."""
        tracker = self._tracker
        if ended is not None:
            self._speech.append(ended)
        if self._start is None:
            if tracker.first is None:
                return []
            self._start = max(tracker.first - self._lead, self._free)
        clips = []
        until = tracker.heard if tracker.first is not None else self._speech[-1].last
        while until - self._start > self._most:
            clips += self._divide()
        pause = tracker.heard - until
        if tracker.first is None and pause >= self._samples(self._options.join_pause):
            clips += self._complete()
        return clips

    def _divide(self) -> list[Audio]:
        """End the clip in the making in a pause, or inside speech, and go on with the rest."""
        assert self._start is not None  # noqa: S101
        start, pad, speech = self._start, self._samples(self._options.pad), list(self._speech)
        if self._tracker.first is not None:
            speech.append(Stretch(self._tracker.first, self._tracker.heard))
        if len(speech) == 1:
            self._start = self._quietest(start)
            self._split = True
            return [self._clip(start, self._start)]
        # The longest pause near the clip's end; without one there, the last pause of all.
        late = start + self._most - self._samples(self._options.search)
        pauses = range(1, len(speech))
        candidates = [i for i in pauses if speech[i - 1].last >= late] or [pauses[-1]]
        index = max(candidates, key=lambda i: speech[i].first - speech[i - 1].last)
        before, after = speech[index - 1].last, speech[index].first
        middle = (before + after) // 2
        self._start = max(after - self._lead, middle)
        self._speech = self._speech[index:]
        return self._kept(start, min(before + pad, middle), speech[:index], rest=True)

    def _complete(self) -> list[Audio]:
        """End the clip in the making after its last speech."""
        assert self._start is not None  # noqa: S101
        start, speech = self._start, self._speech
        last = speech[-1].last + self._samples(self._options.pad)
        self._start, self._speech = None, []
        return self._kept(start, min(last, self._joined.samples), speech, rest=False)

    def _kept(self, first: int, last: int, speech: list[Stretch], *, rest: bool) -> list[Audio]:
        """The clip, unless it holds but a noise that stood alone, or nothing behind a cut."""
        whole, self._split = not self._split, rest
        heard = sum(stretch.last - stretch.first for stretch in speech)
        if last <= first or (whole and heard < self._samples(self._options.min_speech)):
            return []
        return [self._clip(first, min(last, first + self._most))]

    def _clip(self, first: int, last: int) -> Audio:
        self._free = last
        return self._audio(first, last)

    def _audio(self, first: int, last: int) -> Audio:
        start = self._joined.origin + first / self._rate
        return Audio(self._tape.read(first, last), self._rate, start)

    def _quietest(self, start: int) -> int:
        """Where to end a clip inside speech: lowest energy, and least like speech."""
        least = min(self._samples(_LEAST_SECONDS), self._most // 4)
        search = min(max(self._samples(self._options.search), 2 * least), self._most // 2)
        first, step = start + self._most - search, self._samples(_ENERGY_SECONDS)
        count = (search - least) // step
        frames = self._tape.read(first, first + count * step).reshape(count, step)
        power = np.mean(frames.astype(np.float64) ** 2, axis=1)
        smooth = np.convolve(power, np.full(_SMOOTH_FRAMES, 1 / _SMOOTH_FRAMES), mode="same")
        loudness = np.maximum(10 * np.log10(smooth + 1e-30), _SILENCE_DB)
        if self._probabilities:
            middles = first + (np.arange(count) + 0.5) * step
            windows = (middles // WINDOW).astype(int) - self._tape.first // WINDOW
            loudness += _SPEECH_DB * np.array(self._probabilities)[windows]
        quietest = count - 1 - int(np.argmin(loudness[::-1]))  # the latest of equals: longer clips
        return first + quietest * step + step // 2

    def _samples(self, seconds: float) -> int:
        return round(seconds * self._rate)

    def _forget(self) -> None:
        """Let go of what no clip will need."""
        needed = self._start
        if needed is None:
            needed = self._free
            if self._detector is not None:
                needed = max(needed, self._tracker.heard - self._lead)
        before = self._tape.first // WINDOW
        self._tape.forget(needed)
        del self._probabilities[: self._tape.first // WINDOW - before]


class _Tape:
    """The latest samples of a stream.

    Attributes:
        first: Index of the first sample that is kept.
    """

    def __init__(self) -> None:
        self.first = 0
        self._pieces: list[FloatArray] = []

    def add(self, samples: FloatArray) -> None:
        """Append."""
        self._pieces.append(samples)

    def read(self, first: int, last: int) -> FloatArray:
        """A copy of samples ``[first, last)``."""
        if len(self._pieces) > 1:
            self._pieces = [np.concatenate(self._pieces)]
        return self._pieces[0][first - self.first : last - self.first].copy()

    def forget(self, before: int) -> None:
        """Let go of the samples before that index."""
        while self._pieces and self.first + len(self._pieces[0]) <= before:
            self.first += len(self._pieces.pop(0))
        # `read` makes one piece of all: without this copy its used part would never go.
        if self._pieces and before > self.first:
            self._pieces[0] = self._pieces[0][before - self.first :].copy()
            self.first = before
