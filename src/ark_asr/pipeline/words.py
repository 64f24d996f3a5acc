"""Words: when they were spoken and how likely they are right."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ark_asr.decoding.align import align, follows, frame_count, loudness, spread
from ark_asr.decoding.words import SpelledWord, spell
from ark_asr.engines.base import Aligner, AnyEngine
from ark_asr.errors import OptionError
from ark_asr.models.calibration import Calibration
from ark_asr.models.tokenizer import TextCodec
from ark_asr.pipeline.confidence import Confidence
from ark_asr.pipeline.listener import Heard
from ark_asr.pipeline.stopwatch import Stopwatch
from ark_asr.types import FloatArray, IntArray, Prompt, TranscribeOptions, Word

# Where no heads were chosen by calibration: those that follow the sound of the same clip at least
# half as well as the best one does.
_WORSE = 0.5


class WordTimer:
    """Gives segments their words.

    Args:
        engine: The model.
        tokenizer: Of the same checkpoint.
        options: How to transcribe; ``word_times`` says where times come from.
        calibration: What was measured of the checkpoint, if it was.
        watch: Where the time is added.

    Raises:
        OptionError: Times are wanted from attention, which the engine cannot show.
        ModelFormatError: The model's files cannot show it.
    """

    def __init__(
        self,
        engine: AnyEngine,
        tokenizer: TextCodec,
        options: TranscribeOptions,
        calibration: Calibration | None,
        watch: Stopwatch,
    ) -> None:
        self._tokenizer = tokenizer
        self._instruction = options.instruction
        self._confidence = Confidence(tokenizer, calibration.confidence if calibration else None)
        self._heads = calibration.heads if calibration else None
        self._watch = watch
        self._engine: Aligner | None = None
        if options.word_times == "estimate":
            return
        if not isinstance(engine, Aligner):
            raise OptionError(
                "this model's files do not show attention, from which word times are read; take a "
                "package made by `ark-asr models convert`, or ask for word_times='estimate'"
            )
        engine.attend([], [], self._heads)  # a model that cannot says so now, not after hours
        self._engine = engine

    def words(self, heard: Heard) -> tuple[Word, ...]:
        """The words of one piece, in order, not overlapping, inside it."""
        with self._watch.stage("words"):
            hypothesis = heard.hypothesis
            spelled = spell(hypothesis.token_ids, self._tokenizer.decode)
            if not spelled:
                return ()
            times = np.clip(self._times(heard, spelled), heard.start, heard.end).tolist()
            confidences = self._confidence.of_words(spelled, hypothesis.logprobs)
            return tuple(
                Word(start, end, word.text, confidence)
                for (start, end), word, confidence in zip(times, spelled, confidences, strict=True)
            )

    def _times(self, heard: Heard, spelled: Sequence[SpelledWord]) -> FloatArray:
        """Start and end of each word, ``[words, 2]``, in seconds of the recording."""
        # Not in the silence that was added: nobody spoke there, and a word would be left no time.
        audio = heard.audio.cut(heard.start, heard.end)
        tokens = len(heard.hypothesis.token_ids)
        level = loudness(audio.samples, frame_count(audio.duration, tokens))
        frame = audio.duration / len(level)
        if self._engine is None:
            return audio.start + frame * spread([len(word.text) for word in spelled], level)
        starts = np.isin(np.arange(tokens), [word.first for word in spelled])
        attention = self._attention(self._engine, heard)
        before = (audio.start - heard.audio.start) / frame
        slot_frames = self._engine.slot_seconds / frame
        spans = align(attention, level, slot_frames, starts, before=before)
        times: FloatArray = np.array([_frames(word, spans) for word in spelled])
        return audio.start + frame * times

    def _attention(self, engine: Aligner, heard: Heard) -> FloatArray:
        """Mean of the chosen heads, ``[tokens, slots]``."""
        asked = self._tokenizer.prompt(len(heard.embeddings), self._instruction)
        # With what came before: an answer that goes on from it may begin in the middle of the clip.
        prompt = Prompt([*asked, *heard.said], heard.embeddings)
        (attention,) = engine.attend([prompt], [heard.hypothesis.token_ids], self._heads)
        if self._heads is None:
            score = follows(attention)
            best = score.max()
            attention = attention[score >= best - _WORSE * abs(best)]
        mean: FloatArray = attention.mean(axis=0)
        return mean


def _frames(word: SpelledWord, spans: IntArray) -> tuple[float, float]:
    """Where a word begins and ends; words that share a token share its frames."""
    first, last = word.tokens[0], word.tokens[-1]
    (begin, after), (start, end) = spans[first], spans[last]
    return (
        begin + (word.first - first) * (after - begin),
        start + (word.end - last) * (end - start),
    )
