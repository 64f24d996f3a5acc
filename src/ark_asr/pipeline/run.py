"""One recording on its way from sound to text."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from itertools import islice
from typing import get_args

import numpy as np

from ark_asr.audio import Source, cut, open_audio
from ark_asr.audio.feeds import audible
from ark_asr.engines.base import AnyEngine
from ark_asr.errors import OptionError, TroubleError
from ark_asr.models.calibration import Calibration
from ark_asr.models.tokenizer import TextCodec
from ark_asr.pipeline.drift import Neighbours
from ark_asr.pipeline.journal import Finished
from ark_asr.pipeline.listener import Heard
from ark_asr.pipeline.options import check_options
from ark_asr.pipeline.scribe import Scribe
from ark_asr.pipeline.stopwatch import Stopwatch
from ark_asr.types import Audio, Segment, TranscribeOptions, Trouble

_GROWTH = 3  # times as many clips as are done: 1, 3, 12, then what is asked for


class Run:
    """The state of one transcription; iterating walks the road, batch by batch.

    Only one batch of clips is in memory at a time, whatever the length of the recording. The first
    batch is a single clip, so that its words are there early, and the next ones grow: who reads
    along has something to read while a large one is decoded.

    Attributes:
        sound: The open recording.
        watch: Its times.
        heard: Seconds of sound read so far.
        clips: Clips that are done.
        neighbours: What later clips know of them.
    """

    def __init__(
        self,
        engine: AnyEngine,
        tokenizer: TextCodec,
        source: Source,
        options: TranscribeOptions,
        *,
        source_rate: int | None = None,
        cancelled: Callable[[], bool] | None = None,
        calibration: Calibration | None = None,
    ) -> None:
        check_options(options)
        self.watch = Stopwatch()
        self.heard = 0.0
        self.clips = 0
        self._options = options
        self._cancelled = cancelled or (lambda: False)
        self._features = tokenizer.features
        self._scribe = Scribe(
            engine, tokenizer, options, self.watch, self._cancelled, calibration=calibration
        )
        retry = options.mend and self._scribe.listener.goes_on
        self.neighbours = Neighbours(self._scribe.mender, tokenizer, retry=retry)
        with self.watch.stage("decode"):
            self.sound = open_audio(
                source,
                sample_rate=self._features.sample_rate,
                begin=options.begin,
                end=options.end,
                source_rate=source_rate,
                channel=options.channel,
                track=options.track,
            )

    def __iter__(self) -> Iterator[tuple[Segment, ...]]:
        with closing(self.sound):
            cuts = self.cuts()
            with self.watch.stage("decode"):
                deque(islice(cuts, self.clips), maxlen=0)
            while not self._cancelled():
                with self.watch.stage("decode"):
                    batch = list(islice(cuts, self._batch_size))
                if not batch or self._cancelled():
                    break
                segments = self._follow(batch)
                self.clips += len(batch)
                yield segments

    def go_on(self, done: Finished) -> None:
        """Begin after the clips that another run has finished, knowing what it knew."""
        self.clips = done.clips
        self.neighbours.said.extend(done.said)

    @property
    def _batch_size(self) -> int:
        if self._options.context:
            return 1
        return max(1, min(self._options.batch_size, _GROWTH * self.clips))

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
        for block in self.sound:
            if self._cancelled():
                return
            self.heard += block.duration
            yield block if self._options.gain == 1 else self._amplified(block)

    def _amplified(self, block: Audio) -> Audio:
        gain = self._options.gain
        with np.errstate(over="ignore", invalid="ignore"):
            samples = block.samples * np.float32(gain)
        if not audible(samples).all():
            raise OptionError(f"gain is {gain:g}; it makes {self.sound.name} louder than any sound")
        return replace(block, samples=samples)

    def _follow(self, cuts: Sequence[Audio]) -> tuple[Segment, ...]:
        """The next batch of this recording."""
        said = self.neighbours.context(self._options.context)
        found = self._scribe.mender.hear(cuts, said=said)
        if not self._cancelled():
            found = self.neighbours.follow(cuts, found)
        return self.checked(self._write(heard for parts in found for heard in parts))

    def transcribe(self, cuts: Sequence[Audio]) -> list[tuple[Segment, ...]]:
        """One batch through the model, each piece for itself; they may be of several recordings."""
        return [self._write(parts) for parts in self._scribe.mender.hear(cuts)]

    def _write(self, parts: Iterable[Heard]) -> tuple[Segment, ...]:
        segments = tuple(map(self._scribe.segment, parts))
        if any(segment.text for segment in segments):
            self.watch.text_is_there()
        return segments

    def checked(self, segments: tuple[Segment, ...]) -> tuple[Segment, ...]:
        """The same segments, unless they must be without trouble and are not.

        Raises:
            TroubleError: Names recording, seconds and trouble of the first.
        """
        troubles = {*get_args(Trouble), "length"}
        for segment in segments if self._options.strict else ():
            if found := troubles.intersection(segment.flags):
                raise TroubleError(
                    f"{self.sound.name}: {segment.start:.2f} to {segment.end:.2f} s were not "
                    f"understood ({', '.join(sorted(found))}); without strict that is but a flag"
                )
        return segments
