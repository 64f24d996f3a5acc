"""Live captions: sound comes in, events come out.

The session walks the same road as a recording does. Speech is cut into utterances by the very
cutter of long recordings; while an utterance goes on it is looked at again and again, and when it
is over it is transcribed once, as a clip of a recording would be, and never reopened. All decisions
are taken on the clock of the sound, window by window, so they do not depend on the size of the
chunks it comes in.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import fields, replace
from typing import Literal

import numpy as np

from ark_asr.audio import SAMPLE_RATE, WINDOW, ClipCutter, CutOptions, Detector
from ark_asr.audio.clips import LEAST_CLIP_SECONDS
from ark_asr.audio.feeds import audible, fault
from ark_asr.decoding.text import clean
from ark_asr.engines.base import AnyEngine
from ark_asr.errors import AudioError, OptionError
from ark_asr.kinds import of_kind
from ark_asr.models.calibration import Calibration
from ark_asr.models.tokenizer import TextCodec
from ark_asr.pipeline.options import check_options
from ark_asr.pipeline.scribe import Scribe
from ark_asr.pipeline.settling import Settling
from ark_asr.pipeline.stopwatch import Stopwatch
from ark_asr.types import Audio, FloatArray, LiveEvent, LiveOptions, Segment, TranscribeOptions

# Words at the edge of an utterance need some room; half the pause keeps utterances apart.
_PAD = 0.15
# A captioned utterance is cut near its end, so that words settle in the order of time.
_SEARCH = 4.0
# After this part of the pause that ends an utterance it is written down, in the hope that nobody
# goes on: then the result is there when the pause is over. Only where the rest is time enough.
_HOPE = 0.6
_PARTS = {"share": "part of the time", "threshold": "probability"}
_MAY_BE_ZERO = ("lead", "threshold")
# Captions per word come back when this part of the allowed lag is left.
_CAUGHT_UP = 0.25


class LiveSession:
    """One stream of sound, with its captions; one thread at a time.

    Args:
        engine: The model.
        tokenizer: Of the same checkpoint.
        options: How to caption.
        transcribe: How utterances are written down.
        detector: Tells speech from silence; Silero VAD if missing.
        clock: Seconds; what the machine needs is measured with it.
        calibration: What was measured of the model, if it was.
    """

    def __init__(
        self,
        engine: AnyEngine,
        tokenizer: TextCodec,
        options: LiveOptions,
        transcribe: TranscribeOptions,
        *,
        detector: Detector | None = None,
        clock: Callable[[], float] = time.perf_counter,
        calibration: Calibration | None = None,
    ) -> None:
        check_options(transcribe)
        check_live_options(options)
        self._scribe = Scribe(
            engine, tokenizer, transcribe, Stopwatch(), lambda: False, calibration=calibration
        )
        self._tokenizer = tokenizer
        self._options = options
        self._clock = clock
        self._cutter = ClipCutter(
            min(options.max_utterance, tokenizer.features.clip_seconds),
            options=_cutting(options),
            detector=detector,
        )
        self._rest: FloatArray = np.empty(0, np.float32)
        self._heard = 0  # samples that the cutter has taken
        self._utterance = 1
        self._settling = Settling(tokenizer.decode)
        self._seen = 0.0  # end of the sound of the latest look
        self._looked = -math.inf  # second of the sound at which it was
        self._cost = 0.0  # seconds of work of a look
        self._ready: tuple[Audio, tuple[Segment, ...]] | None = None  # written down in hope
        self._quiet_since = 0.0
        self._next_silence = options.silence
        self._waiting = 0.0
        self._began = clock()
        self._behind = False

    @property
    def position(self) -> float:
        """Seconds of sound that have been fed."""
        return (self._heard + len(self._rest)) / SAMPLE_RATE

    def feed(self, samples: FloatArray, *, waiting: float = 0.0) -> list[LiveEvent]:
        """Hear more.

        Args:
            samples: float32 ``[n]``, mono, 16 kHz, any number of them.
            waiting: Seconds of sound that have already arrived behind these.

        Raises:
            AudioError: The samples are not such an array, not finite, or beyond all measure.
        """
        if not isinstance(samples, np.ndarray):
            raise AudioError(f"live sound must be float32 [n], not {type(samples).__name__}")
        if samples.ndim != 1 or not np.issubdtype(samples.dtype, np.floating):
            raise AudioError(f"live sound must be float32 [n], not {samples.dtype} {samples.shape}")
        if not audible(samples).all():
            raise AudioError(f"live sound after {self.position:.2f} s is {fault(samples)}")
        self._waiting, self._began = waiting, self._clock()
        joined = np.concatenate([self._rest, samples.astype(np.float32, copy=False)])
        whole = len(joined) // WINDOW * WINDOW
        self._rest = joined[whole:].copy()
        events: list[LiveEvent] = []
        for first in range(0, whole, WINDOW):
            events += self._hear(joined[first : first + WINDOW])
        return events

    def finish(self) -> list[LiveEvent]:
        """The stream is over: finish the utterance that was going on."""
        self._waiting, self._began = 0.0, self._clock()
        ended = self._cutter.feed(self._audio(self._rest))
        self._heard += len(self._rest)
        self._rest = self._rest[:0]
        return [self._final(clip) for clip in [*ended, *self._cutter.finish()]]

    def _hear(self, window: FloatArray) -> list[LiveEvent]:
        clips = self._cutter.feed(self._audio(window))
        self._heard += len(window)
        events = [self._final(clip) for clip in clips]
        now = self._heard / SAMPLE_RATE
        growing = self._cutter.growing
        if growing is None:
            if now >= self._next_silence:
                events.append(self._event("silence", self._quiet_since, now))
                self._next_silence += self._options.silence
            return events
        if now >= self._looked + self._options.step:
            events += self.look()
        if self._cutter.silence >= _HOPE * self._options.pause:
            self._prepare(growing)
        return events

    def look(self) -> list[LiveEvent]:
        """Look at the utterance that is going on, though ``step`` may not be over.

        For sound that comes in long windows: with a ``step`` that is never over and one look after
        each window, no look is spent on sound whose captions nobody sees.

        Returns:
            One ``partial``; nothing if nobody speaks, nothing new was said, or looking would take
            more than its share of the time.
        """
        growing, now = self._cutter.growing, self._heard / SAMPLE_RATE
        if growing is None or growing.end <= self._seen:
            return []
        if now < self._looked + self._cost / self._options.share or self._is_behind():
            return []
        self._seen, self._looked = growing.end, now
        return [self._partial(growing)]

    def _partial(self, growing: Audio) -> LiveEvent:
        """An unfinished utterance: go on from what is settled."""
        began = self._clock()
        settled, listener = self._settling.tokens, self._scribe.listener
        said = settled if listener.goes_on else ()
        (heard,) = listener.hear([growing], said=said, draft=self._settling.pending)
        tokens: Sequence[int] = heard.hypothesis.token_ids
        if not listener.goes_on:
            tokens = self._settling.behind(tokens)
        logprobs = heard.hypothesis.logprobs[-len(tokens) :]
        full = clean(self._tokenizer.decode([*settled, *tokens]))
        self._settling.look(tokens)
        self._cost = self._clock() - began
        text = clean(self._tokenizer.decode(self._settling.tokens))
        event = self._event("partial", growing.start, growing.end)
        return replace(
            event,
            settled=text,
            pending=full.removeprefix(text),
            confidence=math.exp(float(np.mean(logprobs))) if tokens else None,
        )

    def _prepare(self, growing: Audio) -> None:
        """Write an utterance down that will be over if nobody goes on."""
        slow = self._behind or self._cost > (1 - _HOPE) * self._options.pause
        if not slow and (self._ready is None or not _same_span(self._ready[0], growing)):
            self._ready = growing, self._write(growing)

    def _final(self, clip: Audio) -> LiveEvent:
        """A finished utterance, over exactly its span."""
        ready, self._ready = self._ready, None
        segments = ready[1] if ready and _same_span(ready[0], clip) else self._write(clip)
        event = self._event("final", clip.start, clip.end)
        self._utterance += 1
        self._settling = Settling(self._tokenizer.decode)
        self._quiet_since = clip.end
        self._next_silence = clip.end + self._options.silence
        return replace(
            event,
            settled=" ".join(segment.text for segment in segments if segment.text),
            confidence=_confidence(segments),
            segments=segments,
        )

    def _write(self, clip: Audio) -> tuple[Segment, ...]:
        """What the latest look found is most likely how it begins."""
        draft = [*self._settling.tokens, *self._settling.pending]
        return self._scribe.write([clip], draft=draft)

    def _event(
        self, kind: Literal["partial", "final", "silence"], start: float, end: float
    ) -> LiveEvent:
        silent = kind == "silence"
        return LiveEvent(
            kind,
            self._utterance - 1 if silent else self._utterance,
            start,
            end,
            lag=self._lag,
            behind=self._behind,
        )

    @property
    def _lag(self) -> float:
        return self._waiting + self._clock() - self._began

    def _is_behind(self) -> bool:
        """Whether looks must be left out until the captions have caught up."""
        limit = self._options.max_lag * (_CAUGHT_UP if self._behind else 1.0)
        self._behind = self._lag > limit
        return self._behind

    def _audio(self, samples: FloatArray) -> Audio:
        return Audio(samples, SAMPLE_RATE, self._heard / SAMPLE_RATE)


def check_live_options(options: LiveOptions) -> None:
    """Refuse what makes no sense.

    Raises:
        OptionError: Names the option.
    """
    of_kind("options", options, LiveOptions)
    for item in fields(options):
        name, value = item.name, getattr(options, item.name)
        most, may_be_zero = 1 if name in _PARTS else math.inf, name in _MAY_BE_ZERO
        if (0 < value < math.inf and value <= most) or (value == 0 and may_be_zero):
            continue
        least = "0 or more" if may_be_zero else "above 0"
        if name in _PARTS:
            raise OptionError(f"{name} is {value!r}; it is a {_PARTS[name]}, {least}, at most 1")
        raise OptionError(f"{name} is {value!r}; it must be a number of seconds, {least}")
    for name, shortest in (("pause", 2 * _PAD), ("max_utterance", LEAST_CLIP_SECONDS)):
        if (value := getattr(options, name)) < shortest:
            raise OptionError(f"{name} is {value} s; it must be at least {shortest:g} s")
    _cutting(options)


def _cutting(options: LiveOptions) -> CutOptions:
    usual = CutOptions()
    return CutOptions(
        on=options.threshold,
        off=min(usual.off, options.threshold),
        join_pause=options.pause,
        pad=_PAD,
        lead=options.lead,
        search=_SEARCH,
    )


def _same_span(one: Audio, other: Audio) -> bool:
    return one.start == other.start and len(one.samples) == len(other.samples)


def _confidence(segments: Sequence[Segment]) -> float | None:
    """That of several segments: their geometric mean, weighted by their tokens."""
    known = [(s.confidence, s.tokens) for s in segments if s.confidence is not None and s.tokens]
    if not known:
        return None
    logs = sum(math.log(max(value, 1e-9)) * tokens for value, tokens in known)
    return math.exp(logs / sum(tokens for _, tokens in known))
