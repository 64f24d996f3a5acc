"""From probabilities to stretches of speech."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, fields

from ark_asr.audio.vad import VAD_RATE, WINDOW, Detector, SpeechDetector
from ark_asr.errors import AudioError, OptionError
from ark_asr.kinds import Checked
from ark_asr.types import Audio, FloatArray, Region


@dataclass(frozen=True, slots=True)
class CutOptions(Checked):
    """How speech is found and cut into clips; all times in seconds.

    Attributes:
        on: Probability from which speech begins.
        off: Probability below which it ends.
        min_speech: Shorter speech that stands alone is taken for a noise.
        min_pause: Speech ends only where ``off`` is undercut for so long.
        pad: Kept before and after speech, as far as neighbours leave room.
        lead: Kept before speech instead of ``pad``; it never reaches into the clip before.
        join_pause: Speech on both sides of a shorter pause goes into one clip, while it fits:
            context helps the model, long silence inside a clip does not.
        search: Where speech is longer than a clip, the cut is sought in so much of the clip's end.
    """

    on: float = 0.5
    off: float = 0.35
    min_speech: float = 0.25
    min_pause: float = 0.1
    pad: float = 0.2
    lead: float | None = None
    join_pause: float = 1.0
    search: float = 8.0

    def __post_init__(self) -> None:
        """Refuse what makes no sense.

        Raises:
            OptionError: Names the option.
        """
        Checked.__post_init__(self)
        for item in fields(self):
            value = getattr(self, item.name)
            if value is not None and not 0 <= value < float("inf"):
                raise OptionError(f"{item.name} must not be negative or infinite")
        if not self.off <= self.on <= 1:
            raise OptionError(
                f"off ({self.off}) must be at most on ({self.on}), and that at most 1"
            )
        if self.join_pause < 2 * self.pad:
            raise OptionError(
                f"join_pause ({self.join_pause}) must be at least twice pad ({self.pad})"
            )


@dataclass(frozen=True, slots=True)
class Stretch:
    """Samples ``[first, last)`` of a stream, counted from its first one."""

    first: int
    last: int


class SpeechTracker:
    """Probabilities to stretches of speech, with two thresholds.

    Attributes:
        first: First sample of the speech that is going on; ``None`` in silence.
        heard: Samples that have been judged.
    """

    def __init__(self, options: CutOptions) -> None:
        self._options = options
        self._min_pause = round(options.min_pause * VAD_RATE)
        self.first: int | None = None
        self.heard = 0
        self._quiet_since: int | None = None

    def push(self, probability: float) -> Stretch | None:
        """Judge one more window; the stretch that has ended by it, if one has."""
        start, self.heard = self.heard, self.heard + WINDOW
        if self.first is None:
            if probability >= self._options.on:
                self.first, self._quiet_since = start, None
            return None
        if probability >= self._options.off:
            self._quiet_since = None
            return None
        if self._quiet_since is None:
            self._quiet_since = start
        if self.heard - self._quiet_since < self._min_pause:
            return None
        return self._end(self._quiet_since)

    @property
    def spoken(self) -> int:
        """Samples of the speech that is going on, were it to end now; 0 in silence."""
        if self.first is None:
            return 0
        return (self.heard if self._quiet_since is None else self._quiet_since) - self.first

    def finish(self, total: int) -> Stretch | None:
        """The recording is over after ``total`` samples."""
        self.heard = total
        return None if self.first is None else self._end(total)

    def _end(self, last: int) -> Stretch:
        assert self.first is not None  # noqa: S101
        ended = Stretch(self.first, last)
        self.first = self._quiet_since = None
        return ended


class Joined:
    """Checks that blocks follow each other at the rate of the detector.

    Attributes:
        origin: Second of the recording at which the first block starts.
        samples: Samples that have been taken.
    """

    def __init__(self, rate: int | None = VAD_RATE) -> None:
        self.origin = 0.0
        self.samples = 0
        self.rate = rate

    def take(self, block: Audio) -> FloatArray:
        """The samples of the next block.

        Raises:
            AudioError: It has another rate, or does not start where the one before it ended.
        """
        if self.rate is None:
            self.rate = block.sample_rate
        if block.sample_rate != self.rate:
            raise AudioError(f"a block at {block.sample_rate} Hz; expected {self.rate} Hz")
        if self.samples == 0:
            self.origin = block.start
        due = self.origin + self.samples / self.rate
        if abs(block.start - due) * self.rate > 1:
            raise AudioError(f"a block starts at {block.start:.4f} s; it was due at {due:.4f} s")
        self.samples += len(block.samples)
        return block.samples


def find_speech(
    blocks: Iterable[Audio], *, options: CutOptions | None = None, detector: Detector | None = None
) -> list[Region]:
    """Where someone speaks, without padding or joining.

    Args:
        blocks: A recording at 16 kHz, in blocks that follow each other.
        options: Thresholds and shortest times.
        detector: Gives the probabilities; Silero VAD if missing. It is reset first.

    Raises:
        AudioError: The blocks have another rate or do not follow each other.
    """
    options = options or CutOptions()
    joined = Joined()
    shortest = options.min_speech * VAD_RATE
    return [
        Region(joined.origin + found.first / VAD_RATE, joined.origin + found.last / VAD_RATE)
        for found in _stretches(blocks, joined, options, detector or SpeechDetector())
        if found.last - found.first >= shortest
    ]


def _stretches(
    blocks: Iterable[Audio], joined: Joined, options: CutOptions, detector: Detector
) -> Iterator[Stretch]:
    detector.reset()
    tracker = SpeechTracker(options)
    for block in blocks:
        for probability in detector.feed(joined.take(block)):
            if (ended := tracker.push(float(probability))) is not None:
                yield ended
    if (ended := tracker.finish(joined.samples)) is not None:
        yield ended
