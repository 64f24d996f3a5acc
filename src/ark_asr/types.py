"""The records that travel down the road from sound to text.

Each is frozen and carries its own time in seconds of the source recording, so no stage needs to
know where the one before it cut.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, TypeAlias, get_args

import numpy as np
from numpy.typing import NDArray

from ark_asr.kinds import Checked

FloatArray: TypeAlias = NDArray[np.float32]
IntArray: TypeAlias = NDArray[np.int64]

WordTimes: TypeAlias = Literal["attention", "estimate"]
StopReason: TypeAlias = Literal["end", "length", "guard", "cancelled"]
Trouble: TypeAlias = Literal["loop", "too-many-tokens", "empty", "unsure", "drift"]
Retry: TypeAlias = Literal["shorter", "padded", "no-repeats", "context"]
# What `Segment.flags` can hold; docs/lectures.md says what each means.
FLAGS: tuple[str, ...] = (
    "length", "cancelled", *get_args(Trouble), *(f"mended:{it}" for it in get_args(Trouble)),
    *(f"retry:{it}" for it in get_args(Retry)),
)  # fmt: skip


@dataclass(frozen=True, slots=True, eq=False)
class Audio:
    """A stretch of sound.

    Attributes:
        samples: float32 ``[n]``, mono, nominally within ±1.
        sample_rate: Hz; 16,000 for everything a model hears.
        start: Second of the source recording at which ``samples[0]`` was heard.
    """

    samples: FloatArray
    sample_rate: int
    start: float = 0.0

    @property
    def duration(self) -> float:
        """Length in seconds."""
        return len(self.samples) / self.sample_rate

    @property
    def end(self) -> float:
        """Second of the source recording at which the last sample ends."""
        return self.start + self.duration

    def cut(self, start: float, end: float) -> Audio:
        """The part between two seconds *of the source recording*, clipped to what is here."""
        rate, count = self.sample_rate, len(self.samples)
        first, last = (min(max(round((at - self.start) * rate), 0), count) for at in (start, end))
        return Audio(self.samples[first:last], rate, self.start + first / rate)


@dataclass(frozen=True, slots=True)
class Region:
    """A stretch in which someone speaks, in seconds of the source recording."""

    start: float
    end: float

    @property
    def duration(self) -> float:
        """Length in seconds."""
        return self.end - self.start


@dataclass(frozen=True, slots=True)
class Hypothesis:
    """What the search chose for one clip.

    Attributes:
        token_ids: Ids in the order they were chosen; the stop id is not among them.
        logprobs: Natural-log probability of each of ``token_ids`` among the ids that can be text.
        stop: ``end`` (the model ended), ``length`` (token limit), ``guard`` or ``cancelled``.
        trouble: What a guard said of it, also if the model ended by itself.
        alternatives: The next best of a beam search, best first, if they were asked for.
    """

    token_ids: tuple[int, ...]
    logprobs: tuple[float, ...]
    stop: StopReason
    trouble: Trouble | None = None
    alternatives: tuple[Hypothesis, ...] = ()


@dataclass(frozen=True, slots=True)
class Word:
    """One word, or one character of a script that writes no spaces, and when it was spoken.

    Attributes:
        start: Seconds from the start of the recording.
        end: Seconds from the start of the recording; never before ``start``.
        text: As it stands in the segment's text, its punctuation included, no space around it.
        confidence: Probability that it is right, 0 to 1; uncalibrated, the product of its tokens'.
        speaker: Who said it, where speakers were told apart.
    """

    start: float
    end: float
    text: str
    confidence: float
    speaker: str | None = None


@dataclass(frozen=True, slots=True)
class Alternative:
    """Another reading of a segment.

    Attributes:
        text: Cleaned text; not that of the segment, nor that of another alternative.
        confidence: Geometric mean of the token probabilities, 0 to 1; ``None`` without any words.
    """

    text: str
    confidence: float | None


@dataclass(frozen=True, slots=True)
class Segment:
    """One stretch of transcript.

    Attributes:
        start: Seconds from the start of the recording.
        end: Seconds from the start of the recording.
        text: Cleaned text.
        raw_text: The decoder's own words, control tokens included.
        confidence: Share of its words that is expected to be right, 0 to 1; of a model that was not
            calibrated, the geometric mean of the token probabilities. ``None`` if nothing was said.
        tokens: Number of tokens chosen.
        flags: Reason codes of anything unusual; see `FLAGS`.
        words: In order of time, not overlapping, inside the segment; empty if not asked for.
        speaker: Who said it, where speakers were told apart.
        alternatives: The next best readings, best first, if they were asked for.
    """

    start: float
    end: float
    text: str
    raw_text: str
    confidence: float | None
    tokens: int
    flags: tuple[str, ...] = ()
    words: tuple[Word, ...] = ()
    speaker: str | None = None
    alternatives: tuple[Alternative, ...] = ()


@dataclass(frozen=True, slots=True)
class Timings:
    """Where the time went, in seconds of wall clock (``audio`` is seconds of sound)."""

    audio: float
    total: float
    first_text: float | None = None
    decode: float = 0.0
    features: float = 0.0
    encoder: float = 0.0
    decoder: float = 0.0
    words: float = 0.0

    @property
    def rtf(self) -> float:
        """Real-time factor: processing time over audio time."""
        return self.total / self.audio if self.audio else 0.0


@dataclass(frozen=True, slots=True)
class Transcript:
    """All that was heard in one recording.

    Attributes:
        segments: In order of time; only those of different channels may overlap.
        duration: Seconds of the recording, or of the part that was asked for.
        model: Name of the model.
        source: Name of the recording as the caller gave it; empty for arrays and streams.
        timings: Where the time went.
        warnings: One line each, for example the second at which a file is damaged.
    """

    segments: tuple[Segment, ...]
    duration: float
    model: str
    source: str = ""
    timings: Timings | None = None
    warnings: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        """The segments' texts, joined by single spaces."""
        return " ".join(segment.text for segment in self.segments if segment.text)


@dataclass(frozen=True, slots=True)
class Prompt:
    """What the decoder is given for one clip.

    Attributes:
        token_ids: ``[L]``, one audio id per audio embedding.
        audio: Audio embeddings float32 ``[N, hidden]``.
    """

    token_ids: Sequence[int]
    audio: FloatArray


@dataclass(frozen=True, slots=True)
class TranscribeOptions(Checked):
    """How to transcribe; the defaults suit most recordings.

    Attributes:
        begin: First second to transcribe; ``None`` from the start.
        end: Last second to transcribe; ``None`` to the end.
        batch_size: Clips that are decoded together.
        max_new_tokens: Upper limit of tokens per clip; ``None`` for one that grows with the clip.
        instruction: The words behind the audio in the prompt; ``None`` for those of its training.
        vad: Look for speech, or else cut at quiet points only. ``None``: if longer than one clip.
        gain: Factor by which all samples are multiplied.
        channel: The one channel to hear, counted from 0; ``None`` for the mean of all.
        track: The audio track of a film, counted from 1; ``None`` for the best. See `open_audio`.
        context: Tokens of the previous clip's text that each goes on from, one by one. 0: none.
        mend: Try a clip again that a guard has found fault with.
        strict: A clip that stays in trouble is an error.
        words: Give each segment its words, with times and confidence.
        word_times: ``attention``, which not every layout shows, or ``estimate``, by the letters.
        beam_size: Hypotheses followed at once, 1 to 8; ``None`` for 1 (greedy), or what is needed.
        nbest: Readings of each segment, its own text included; more than one needs a beam.
        hotwords: Likely names and terms, perhaps with a weight (``Čapek :2``); they need a beam.
        hotword_boost: How much they are preferred: at most so many nats for each of their tokens.
    """

    begin: float | None = None
    end: float | None = None
    batch_size: int = 16
    max_new_tokens: int | None = None
    instruction: str | None = None
    vad: bool | None = True
    gain: float = 1.0
    channel: int | None = None
    track: int | None = None
    context: int = 0
    mend: bool = True
    strict: bool = False
    words: bool = False
    word_times: WordTimes = "attention"
    beam_size: int | None = None
    nbest: int = 1
    hotwords: tuple[str, ...] = ()
    hotword_boost: float = 0.5


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a transcription is.

    Attributes:
        done: Seconds of the recording that are finished.
        total: Seconds of the recording; ``None`` while not known (a stream).
        elapsed: Seconds since the start.
        segments: Those that have become ready since the last report.
        resumed: Seconds of the recording that an earlier run had finished.
    """

    done: float
    total: float | None
    elapsed: float
    segments: tuple[Segment, ...] = field(default=())
    resumed: float = 0.0

    @property
    def speed(self) -> float:
        """Seconds of recording per second of wall clock."""
        return (self.done - self.resumed) / self.elapsed if self.elapsed else 0.0

    @property
    def left(self) -> float | None:
        """Estimated seconds until the end, if the total is known."""
        if self.total is None or not self.speed:
            return None
        return max(self.total - self.done, 0.0) / self.speed


@dataclass(frozen=True, slots=True)
class LiveOptions(Checked):
    """How to caption sound as it comes in; all times in seconds.

    Attributes:
        step: Least sound between two looks at an utterance; grows by itself on a slow machine.
        pause: Silence that ends an utterance.
        max_utterance: Longer speech is cut, in a short pause or at its quietest point.
        share: Part of the time that may be spent on looking at unfinished utterances.
        max_lag: Captions that are further behind than this wait for the end of an utterance.
        silence: Time between two ``silence`` events.
        lead: Sound before an utterance that is heard with it, as far as the one before leaves room.
        threshold: Probability from which sound is taken for speech.
    """

    step: float = 0.4
    pause: float = 0.3
    max_utterance: float = 10.0
    share: float = 0.5
    max_lag: float = 2.0
    silence: float = 5.0
    lead: float = 0.15
    threshold: float = 0.5


@dataclass(frozen=True, slots=True)
class LiveEvent:
    """What has become known of sound that is coming in.

    Attributes:
        kind: ``partial``: an utterance is going on; ``final``: it is over, its words will not
            change; ``silence``: nobody has spoken since ``start``.
        utterance: Number of the utterance, from 1; that of the latest one in silence.
        start: Seconds from the start of the stream.
        end: Seconds from the start of the stream.
        settled: Words that two looks agreed on; it only grows. In a ``final``: of a last look.
        pending: What follows ``settled`` directly, its space included, and may still change.
        confidence: 0 to 1; ``None`` if nothing was said.
        lag: Seconds that the captions are behind the sound.
        behind: The machine cannot keep up: captions come per utterance until it has caught up.
        segments: Of a ``final``: all that is known about it; more than one if it had to be mended.
    """

    kind: Literal["partial", "final", "silence"]
    utterance: int
    start: float
    end: float
    settled: str = ""
    pending: str = ""
    confidence: float | None = None
    lag: float = 0.0
    behind: bool = False
    segments: tuple[Segment, ...] = ()

    @property
    def text(self) -> str:
        """Settled and pending words."""
        return self.settled + self.pending
