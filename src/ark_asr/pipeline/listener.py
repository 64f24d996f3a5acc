"""From pieces of sound to what the search made of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ark_asr.audio import LogMel
from ark_asr.decoding.rules import Rule, SuppressIds
from ark_asr.decoding.search import greedy
from ark_asr.engines.base import Engine
from ark_asr.models.tokenizer import Tokenizer
from ark_asr.pipeline.stopwatch import Stopwatch
from ark_asr.types import Audio, FloatArray, Hypothesis, Prompt, TranscribeOptions

# Text needs fewer tokens than there are audio embeddings (12.5 a second), but a very short clip can
# hold a long word. Who needs more tokens than this is repeating itself.
_SPARE_TOKENS = 16


@dataclass(frozen=True, slots=True, eq=False)
class Heard:
    """One piece of sound and what was understood of it.

    Attributes:
        audio: The piece.
        embeddings: What the model's ear made of it, float32 ``[N, hidden]``.
        hypothesis: What the search chose.
    """

    audio: Audio
    embeddings: FloatArray
    hypothesis: Hypothesis


class Listener:
    """Features, encoder and search, for one set of options.

    Args:
        engine: The model.
        tokenizer: Of the same checkpoint.
        options: How to transcribe.
        watch: Where the time of each stage is added.
        cancelled: Asked before every token.
    """

    def __init__(
        self,
        engine: Engine,
        tokenizer: Tokenizer,
        options: TranscribeOptions,
        watch: Stopwatch,
        cancelled: Callable[[], bool],
    ) -> None:
        self._engine = engine
        self._tokenizer = tokenizer
        self._options = options
        self._watch = watch
        self._cancelled = cancelled
        self._log_mel = LogMel(tokenizer.config.features)
        self._rules: list[Rule] = [SuppressIds(tokenizer.suppressed_ids, engine.output_ids)]

    def hear(self, pieces: Sequence[Audio], *, said: Sequence[int] = ()) -> list[Heard]:
        """Understand pieces together; each result depends on its own piece alone.

        Args:
            pieces: Each short enough for the model.
            said: Ids with which every answer begins; they are not part of the hypotheses.
        """
        with self._watch.stage("features"):
            mels = [self._log_mel(piece.samples) for piece in pieces]
        with self._watch.stage("encoder"):
            embeddings = self._engine.embed_audio(mels)
        with self._watch.stage("decoder"):
            hypotheses = self.search(embeddings, said=said)
        return [Heard(*parts) for parts in zip(pieces, embeddings, hypotheses, strict=True)]

    def search(
        self, embeddings: Sequence[FloatArray], *, said: Sequence[int] = ()
    ) -> list[Hypothesis]:
        """The words of embedded pieces, ``[N_i, hidden]`` each; ``said`` as for `hear`."""
        options = self._options
        asked = [self._tokenizer.prompt(len(audio), options.instruction) for audio in embeddings]
        return greedy(
            self._engine,
            [Prompt([*ids, *said], a) for ids, a in zip(asked, embeddings, strict=True)],
            rules=self._rules,
            stop_ids=self._tokenizer.stop_ids,
            max_new_tokens=[options.max_new_tokens or len(a) + _SPARE_TOKENS for a in embeddings],
            cancelled=self._cancelled,
        )
