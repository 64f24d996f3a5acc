"""One recording on its way from sound to text."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import closing
from itertools import islice

from ark_asr.audio import LogMel, Source, cut, open_audio
from ark_asr.decoding.rules import SuppressIds
from ark_asr.decoding.search import greedy
from ark_asr.decoding.text import clean
from ark_asr.engines.base import Engine
from ark_asr.models.tokenizer import Tokenizer
from ark_asr.pipeline.options import check_options
from ark_asr.pipeline.stopwatch import Stopwatch
from ark_asr.types import Audio, Clip, Hypothesis, Prompt, Segment, TranscribeOptions

# Text needs fewer tokens than there are audio embeddings (12.5 a second), but a very short clip can
# hold a long word. Who needs more tokens than this is repeating itself.
_SPARE_TOKENS = 16


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
        tokenizer: Tokenizer,
        source: Source,
        options: TranscribeOptions,
        *,
        source_rate: int | None = None,
        cancelled: Callable[[], bool] | None = None,
    ) -> None:
        check_options(options)
        self.watch = Stopwatch()
        self.heard = 0.0
        self._engine = engine
        self._tokenizer = tokenizer
        self._options = options
        self._cancelled = cancelled or (lambda: False)
        self._features = tokenizer.config.features
        self._log_mel = LogMel(self._features)
        self._rules = [SuppressIds(tokenizer.suppressed_ids, engine.output_ids)]
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
            cuts = cut(self._blocks(), self._features.clip_seconds, vad=self._options.vad)
            # Less than one frame (10 ms) is no sound that a model could hear.
            clips = (audio for audio in cuts if self._features.frames(len(audio.samples)))
            size = 1
            while not self._cancelled():
                with self.watch.stage("decode"):
                    batch = list(islice(clips, size))
                if not batch:
                    break
                with self.watch.stage("features"):
                    mels = [Clip(a.start, a.end, self._log_mel(a.samples)) for a in batch]
                yield self._transcribe(mels)
                size = self._options.batch_size

    def _blocks(self) -> Iterator[Audio]:
        for block in self.sound:
            self.heard += block.duration
            yield block

    def _transcribe(self, clips: list[Clip]) -> tuple[Segment, ...]:
        options = self._options
        with self.watch.stage("encoder"):
            audio = self._engine.embed_audio([clip.mel for clip in clips])
        with self.watch.stage("decoder"):
            hypotheses = greedy(
                self._engine,
                [Prompt(self._tokenizer.prompt(len(a), options.instruction), a) for a in audio],
                rules=self._rules,
                stop_ids=self._tokenizer.stop_ids,
                max_new_tokens=[options.max_new_tokens or len(a) + _SPARE_TOKENS for a in audio],
                cancelled=self._cancelled,
            )
        segments = tuple(map(self._segment, clips, hypotheses))
        if any(segment.text for segment in segments):
            self.watch.text_is_there()
        return segments

    def _segment(self, clip: Clip, hypothesis: Hypothesis) -> Segment:
        raw_text = self._tokenizer.decode(hypothesis.token_ids)
        text = clean(raw_text)
        count = len(hypothesis.token_ids)
        return Segment(
            start=clip.start,
            end=clip.end,
            text=text,
            raw_text=raw_text,
            confidence=math.exp(sum(hypothesis.logprobs) / count) if text else None,
            tokens=count,
            flags=() if hypothesis.stop == "end" else (hypothesis.stop,),
        )
