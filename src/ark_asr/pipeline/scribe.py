"""From pieces of sound to segments of transcript."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ark_asr.decoding.text import clean
from ark_asr.engines.base import AnyEngine
from ark_asr.models.calibration import Calibration
from ark_asr.models.tokenizer import TextCodec
from ark_asr.pipeline.confidence import Confidence
from ark_asr.pipeline.listener import Heard, Listener
from ark_asr.pipeline.mending import Mender
from ark_asr.pipeline.stopwatch import Stopwatch
from ark_asr.pipeline.words import WordTimer
from ark_asr.types import Alternative, Audio, Hypothesis, Segment, TranscribeOptions


class Scribe:
    """Writes pieces of sound down, those of a recording as well as utterances of a live stream.

    Args:
        engine: The model.
        tokenizer: Of the same checkpoint.
        options: How to transcribe.
        watch: Where the time of each stage is added.
        cancelled: Asked before every token.
        calibration: What was measured of the model, if it was.

    Raises:
        OptionError: What is asked for is not to be had of the engine.
        ModelFormatError: Nor of the files of the model.

    Attributes:
        listener: What hears the pieces.
        mender: Hears them through it, and again where that is needed.
    """

    def __init__(
        self,
        engine: AnyEngine,
        tokenizer: TextCodec,
        options: TranscribeOptions,
        watch: Stopwatch,
        cancelled: Callable[[], bool],
        *,
        calibration: Calibration | None = None,
    ) -> None:
        self.listener = Listener(engine, tokenizer, options, watch, cancelled)
        self.mender = Mender(self.listener, tokenizer.features.clip_seconds, retry=options.mend)
        self._tokenizer = tokenizer
        self._confidence = Confidence(tokenizer, calibration.confidence if calibration else None)
        self._timer = (
            WordTimer(engine, tokenizer, options, calibration, watch) if options.words else None
        )
        self._nbest = options.nbest

    def write(self, pieces: Sequence[Audio], *, draft: Sequence[int] = ()) -> tuple[Segment, ...]:
        """One batch through the model, in order; of one piece there may be a draft already."""
        heard = self.mender.hear(pieces, draft=draft)
        return tuple(self.segment(one) for parts in heard for one in parts)

    def segment(self, heard: Heard) -> Segment:
        """The transcript of one piece."""
        hypothesis = heard.hypothesis
        raw_text = self._tokenizer.decode(hypothesis.token_ids)
        text = clean(raw_text)
        return Segment(
            start=heard.start,
            end=heard.end,
            text=text,
            raw_text=raw_text,
            confidence=self._confidence.of_text(hypothesis) if text else None,
            tokens=len(hypothesis.token_ids),
            flags=heard.flags,
            words=self._timer.words(heard) if self._timer else (),
            alternatives=self._alternatives(hypothesis, text),
        )

    def _alternatives(self, hypothesis: Hypothesis, text: str) -> tuple[Alternative, ...]:
        """The next best readings; hypotheses can differ and still read the same."""
        found: dict[str, Alternative] = {}
        for other in hypothesis.alternatives:
            reading = clean(self._tokenizer.decode(other.token_ids))
            confidence = self._confidence.of_text(other) if reading else None
            if reading != text:
                found.setdefault(reading, Alternative(reading, confidence))
        return tuple(found.values())[: self._nbest - 1]
