"""From pieces of sound to segments of transcript."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from ark_asr.decoding.text import clean
from ark_asr.engines.base import Engine
from ark_asr.models.tokenizer import Tokenizer
from ark_asr.pipeline.listener import Heard, Listener
from ark_asr.pipeline.stopwatch import Stopwatch
from ark_asr.types import Audio, Segment, TranscribeOptions


class Scribe:
    """Writes pieces of sound down, those of a recording as well as utterances of a live stream.

    Args:
        engine: The model.
        tokenizer: Of the same checkpoint.
        options: How to transcribe.
        watch: Where the time of each stage is added.
        cancelled: Asked before every token.

    Attributes:
        listener: What hears the pieces.
    """

    def __init__(
        self,
        engine: Engine,
        tokenizer: Tokenizer,
        options: TranscribeOptions,
        watch: Stopwatch,
        cancelled: Callable[[], bool],
    ) -> None:
        self.listener = Listener(engine, tokenizer, options, watch, cancelled)
        self._tokenizer = tokenizer

    def write(self, pieces: Sequence[Audio]) -> tuple[Segment, ...]:
        """One batch through the model; the pieces may be of several recordings."""
        return tuple(map(self._segment, self.listener.hear(pieces)))

    def _segment(self, heard: Heard) -> Segment:
        hypothesis = heard.hypothesis
        raw_text = self._tokenizer.decode(hypothesis.token_ids)
        text = clean(raw_text)
        count = len(hypothesis.token_ids)
        return Segment(
            start=heard.audio.start,
            end=heard.audio.end,
            text=text,
            raw_text=raw_text,
            confidence=math.exp(sum(hypothesis.logprobs) / count) if text else None,
            tokens=count,
            flags=() if hypothesis.stop == "end" else (hypothesis.stop,),
        )
