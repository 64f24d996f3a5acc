"""From pieces of sound to what the search made of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from ark_asr.audio import LogMel
from ark_asr.decoding.beam import beam
from ark_asr.decoding.drafts import Drafted
from ark_asr.decoding.guards import Guard, Loop, NoWords, TooManyTokens, Unsure
from ark_asr.decoding.hotwords import HotWords
from ark_asr.decoding.rules import Rule, SuppressIds
from ark_asr.decoding.search import Cancelled, greedy, retrace
from ark_asr.engines.base import AnyEngine, Ask, Engine, Reorders, Verifies, Writer
from ark_asr.errors import OptionError
from ark_asr.models.tokenizer import TextCodec
from ark_asr.pipeline.options import beam_width
from ark_asr.pipeline.stopwatch import Stopwatch
from ark_asr.types import (
    Audio,
    FloatArray,
    Hypothesis,
    Prompt,
    Retry,
    TranscribeOptions,
    Trouble,
)

# Below this mean log-probability nine of ten of ark-mini's words are wrong; see docs/lectures.md.
_LEAST_LOGPROB = -1.2


@dataclass(frozen=True, slots=True, eq=False)
class Heard:
    """One piece of sound and what was understood of it.

    Attributes:
        audio: The piece.
        embeddings: What the model made of it, float32 ``[N, hidden]``; ``[N, 0]`` of an engine
            that keeps it to itself.
        hypothesis: What the search chose.
        padding: Seconds of silence that were added at either end of the piece.
        mended: The trouble of the first try, if this is a better one without any.
        retry: How this try differs from the first one.
        said: Ids that the model was told it had answered already.
    """

    audio: Audio
    embeddings: FloatArray
    hypothesis: Hypothesis
    padding: float = 0.0
    mended: Trouble | None = None
    retry: Retry | None = None
    said: tuple[int, ...] = ()

    @property
    def start(self) -> float:
        """Second of the recording at which the piece starts."""
        return self.audio.start + self.padding

    @property
    def end(self) -> float:
        """Second of the recording at which the piece ends."""
        return self.audio.end - self.padding

    @property
    def flags(self) -> tuple[str, ...]:
        """Reason codes of anything unusual; see `ark_asr.types.FLAGS`."""
        found: list[str] = [self.hypothesis.trouble] if self.hypothesis.trouble else []
        if self.hypothesis.stop in ("length", "cancelled"):
            found.append(self.hypothesis.stop)
        if self.mended:
            found.append(f"mended:{self.mended}")
        if self.retry:
            found.append(f"retry:{self.retry}")
        return tuple(found)


class Listener:
    """Features, encoder and search, for one set of options.

    Args:
        engine: The model.
        tokenizer: Of the same checkpoint.
        options: How to transcribe.
        watch: Where the time of each stage is added.
        cancelled: Asked before every token.

    Raises:
        OptionError: The engine cannot search in a beam or go on from earlier text, or the model
            cannot write a hot word.
    """

    def __init__(
        self,
        engine: AnyEngine,
        tokenizer: TextCodec,
        options: TranscribeOptions,
        watch: Stopwatch,
        cancelled: Callable[[], bool],
    ) -> None:
        self._engine = engine
        self._tokenizer = tokenizer
        self._options = options
        self._watch = watch
        self._cancelled = cancelled
        self._log_mel = LogMel(tokenizer.features)
        self._rules: list[Rule] = [SuppressIds(tokenizer.suppressed_ids, engine.output_ids)]
        self._most = TooManyTokens()
        self._guards: list[Guard] = [NoWords(tokenizer.decode), Loop(), Unsure(_LEAST_LOGPROB)]
        if options.max_new_tokens is None:
            self._guards.append(self._most)
        if options.context and not self.goes_on:
            raise OptionError(
                f"context is {options.context}; {type(engine).__name__} cannot go on from earlier "
                "text, leave it out"
            )
        self._width = beam_width(options)
        self._hot_words: HotWords | None = None
        if options.hotwords:
            boost, ids = options.hotword_boost, engine.output_ids
            self._hot_words = HotWords(options.hotwords, boost, tokenizer, ids)
        if self._width > 1 and not isinstance(engine, Reorders):
            raise OptionError(
                f"{type(engine).__name__} follows one hypothesis only: no beam_size above 1, nbest "
                "or hotwords"
            )

    def hear(
        self,
        pieces: Sequence[Audio],
        *,
        said: Sequence[int] = (),
        draft: Sequence[int] = (),
        cancelled: Cancelled | None = None,
    ) -> list[Heard]:
        """Understand pieces together; each result depends on its own piece alone.

        Args:
            pieces: Each short enough for the model.
            said: Ids with which every answer begins; they are not part of the hypotheses.
            draft: Ids that may follow, of one piece; up to rounding they change the time only.
            cancelled: Asked before every token instead of the listener's own; see `greedy`.
        """
        if isinstance(self._engine, Writer):
            with self._watch.stage("decoder"):
                return self._written(self._engine, pieces, said, cancelled or self._cancelled)
        with self._watch.stage("features"):
            mels = [self._log_mel(piece.samples) for piece in pieces]
        with self._watch.stage("encoder"):
            embeddings = self._engine.embed_audio(mels)
        with self._watch.stage("decoder"):
            hypotheses = self.search(embeddings, said=said, draft=draft, cancelled=cancelled)
        return [
            Heard(*parts, said=tuple(said))
            for parts in zip(pieces, embeddings, hypotheses, strict=True)
        ]

    @property
    def goes_on(self) -> bool:
        """Whether `hear` can be told what was said already."""
        return not isinstance(self._engine, Writer) or self._engine.goes_on

    @property
    def takes_rules(self) -> bool:
        """Whether `search` can be asked: the engine can be stepped."""
        return not isinstance(self._engine, Writer)

    def search(
        self,
        embeddings: Sequence[FloatArray],
        *,
        said: Sequence[int] = (),
        draft: Sequence[int] = (),
        bans: Sequence[Rule] = (),
        cancelled: Cancelled | None = None,
    ) -> list[Hypothesis]:
        """The words of embedded pieces.

        Args:
            embeddings: float32 ``[N_i, hidden]`` each.
            said: As for `hear`.
            draft: As for `hear`.
            bans: As for `greedy`.
            cancelled: As for `hear`.
        """
        engine, options = self._stepwise, self._options
        limits = [options.max_new_tokens or self._most.limit(len(a)) + 1 for a in embeddings]
        asked = [self._tokenizer.prompt(len(audio), options.instruction) for audio in embeddings]
        prompts = [Prompt([*ids, *said], a) for ids, a in zip(asked, embeddings, strict=True)]
        if self._width > 1 and isinstance(engine, Reorders):
            return beam(
                engine,
                prompts,
                width=self._width,
                rules=self._rules,
                stop_ids=self._tokenizer.stop_ids,
                max_new_tokens=limits,
                bans=bans,
                hot_words=self._hot_words,
                guards=self._guards,
                cancelled=cancelled or self._cancelled,
            )
        if draft and isinstance(engine, Verifies):
            engine = Drafted(engine, draft)
        return greedy(
            engine,
            prompts,
            rules=self._rules,
            stop_ids=self._tokenizer.stop_ids,
            max_new_tokens=limits,
            bans=bans,
            guards=self._guards,
            cancelled=cancelled or self._cancelled,
        )

    @property
    def _stepwise(self) -> Engine:
        if isinstance(self._engine, Writer):
            raise OptionError(f"{type(self._engine).__name__} searches by itself, without rules")
        return self._engine

    def _written(
        self, engine: Writer, pieces: Sequence[Audio], said: Sequence[int], cancelled: Cancelled
    ) -> list[Heard]:
        """By an engine that searches by itself; guards look at it afterwards."""
        options = self._options
        slots = [engine.slots(len(piece.samples)) for piece in pieces]
        asks = [
            Ask(piece, options.max_new_tokens or self._most.limit(n) + 1, options.instruction, said)
            for piece, n in zip(pieces, slots, strict=True)
        ]
        questions = [cancelled] * len(asks) if callable(cancelled) else cancelled
        found = engine.write(asks, questions)
        return [
            Heard(
                piece,
                np.empty((n, 0), np.float32),
                retrace(hypothesis, n, self._guards),
                said=tuple(said),
            )
            for piece, n, hypothesis in zip(pieces, slots, found, strict=True)
        ]
