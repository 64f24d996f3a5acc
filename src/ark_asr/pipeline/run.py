"""One recording on its way from sound to text."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from itertools import islice

import numpy as np

from ark_asr.audio import Source, cut, open_audio
from ark_asr.engines.base import Engine
from ark_asr.models.tokenizer import TextCodec
from ark_asr.pipeline.options import check_options
from ark_asr.pipeline.scribe import Scribe
from ark_asr.pipeline.stopwatch import Stopwatch
from ark_asr.types import Audio, Segment, TranscribeOptions


class Run:
    """The state of one transcription; iterating walks the road, batch by batch.

    Only one batch of clips is in memory at a time, whatever the length of the recording. The first
    batch is a single clip, so that its words are there early.

    Attributes:
        sound: The open recording.
        watch: Its times.
        heard: Seconds of sound read so far.
    """

    def __init__(
        self,
        engine: Engine,
        tokenizer: TextCodec,
        source: Source,
        options: TranscribeOptions,
        *,
        source_rate: int | None = None,
        cancelled: Callable[[], bool] | None = None,
    ) -> None:
        check_options(options)
        self.watch = Stopwatch()
        self.heard = 0.0
        self._options = options
        self._cancelled = cancelled or (lambda: False)
        self._features = tokenizer.features
        self._scribe = Scribe(engine, tokenizer, options, self.watch, self._cancelled)
        with self.watch.stage("decode"):
            self.sound = open_audio(
                source,
                sample_rate=self._features.sample_rate,
                begin=options.begin,
                end=options.end,
                source_rate=source_rate,
            )

    def __iter__(self) -> Iterator[tuple[Segment, ...]]:
        with closing(self.sound):
            cuts = self.cuts()
            size = 1
            while not self._cancelled():
                with self.watch.stage("decode"):
                    batch = list(islice(cuts, size))
                if not batch:
                    break
                yield self.transcribe(batch)
                size = self._options.batch_size

    def cuts(self) -> Iterator[Audio]:
        """The recording in pieces that the model can take, in order."""
        limit = self._features.clip_seconds
        vad = self._options.vad
        if vad is None:
            vad = self.sound.duration is None or self.sound.duration > limit
        # Less than one frame (10 ms) is no sound that a model could hear.
        return (
            audio
            for audio in cut(self._blocks(), limit, vad=vad)
            if self._features.frames(len(audio.samples))
        )

    def _blocks(self) -> Iterator[Audio]:
        gain = np.float32(self._options.gain)
        for block in self.sound:
            self.heard += block.duration
            yield block if gain == 1 else replace(block, samples=block.samples * gain)

    def transcribe(self, cuts: Sequence[Audio]) -> tuple[Segment, ...]:
        """One batch through the model; the pieces may be of several recordings."""
        segments = self._scribe.write(cuts)
        if any(segment.text for segment in segments):
            self.watch.text_is_there()
        return segments
