"""How far one model has moved from another that should say the same: the drift gate.

Both hear the same clips. What is compared comes in the order in which a difference spreads: audio
embeddings, the logits of the first token, every further token while both are led along the first
model's answer, and at last the answers that each gives on its own.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from statistics import median
from typing import Self

import numpy as np

from ark_asr.audio import LogMel, cut, open_audio
from ark_asr.batch.places import recording
from ark_asr.batch.records import Record
from ark_asr.decoding.rules import SuppressIds
from ark_asr.decoding.search import greedy
from ark_asr.decoding.text import clean
from ark_asr.engines import Engine, load_model
from ark_asr.errors import AudioError, MissingExtraError, ModelError
from ark_asr.models.store import ModelFolder
from ark_asr.models.tokenizer import TextCodec
from ark_asr.types import Audio, FloatArray, Hypothesis, IntArray, Prompt

_BATCH = 8
_SPARE_TOKENS = 16  # beyond one token per audio embedding, for very short clips


@dataclass(frozen=True, slots=True)
class ClipDrift:
    """One clip in both models.

    Attributes:
        record: Which recording it is of, from 0.
        seconds: Its length.
        embedding_error: Norm of the difference of the audio embeddings / norm of the first's.
        logit_error: Largest difference of a logit of the first token.
        same_first_token: Whether both would choose the same first token.
        tokens: Of the first model's answer, its end included.
        same_tokens: Those that the second would choose too, led along the first's answer.
        same_answer: Whether both give the same tokens, each on its own.
        texts: What each says on its own.
    """

    record: int
    seconds: float
    embedding_error: float
    logit_error: float
    same_first_token: bool
    tokens: int
    same_tokens: int
    same_answer: bool
    texts: tuple[str, str]


@dataclass(frozen=True, slots=True)
class Drift:
    """All clips together. Shares are 0 to 1.

    Attributes:
        embedding_error: Median of the clips'.
        worst_embedding_error: Of one clip.
        logit_error: Largest of all clips.
        first_token_agreement: Share of clips with the same first token.
        token_agreement: Share of the first model's tokens that the second would choose too.
        same_transcripts: Share of recordings with the same tokens throughout.
        wer: Word error rates of both; ``None`` where no recording has a reference.
    """

    recordings: int
    clips: int
    seconds: float
    embedding_error: float
    worst_embedding_error: float
    logit_error: float
    first_token_agreement: float
    tokens: int
    token_agreement: float
    same_transcripts: float
    wer: tuple[float, float] | None


@dataclass(frozen=True, slots=True)
class Candidate:
    """A loaded model: its engine and its text side."""

    engine: Engine
    text: TextCodec

    @classmethod
    def load(cls, folder: ModelFolder, threads: int | None = None) -> Self:
        """Open a model; errors as for `ark_asr.engines.load_engine`."""
        return cls(*load_model(folder, threads=threads))

    def close(self) -> None:
        """Give back memory and files."""
        self.engine.close()


def compare_clips(
    first: Candidate,
    second: Candidate,
    records: Sequence[Record],
) -> Iterator[ClipDrift]:
    """Let two models hear recordings.

    Args:
        first: The model that is taken as right.
        second: The one whose differences are of interest.
        records: The recordings.

    Raises:
        AudioError: A recording cannot be read.
        ModelError: The two take different clips, prompts or embeddings, so that nothing could be
            compared; or one gives numbers that are not finite.
    """
    pair = _Pair(first, second)
    clips = (
        (number, clip)
        for number, record in enumerate(records)
        for clip in _clips(record, first.text)
    )
    while batch := list(islice(clips, _BATCH)):
        yield from pair.compare(batch)


def summarize(records: Sequence[Record], clips: Sequence[ClipDrift]) -> Drift:
    """Put clips together.

    Raises:
        AudioError: There are none.
        MissingExtraError: There are references, but the extra ``eval`` is not installed.
    """
    if not clips:
        raise AudioError("no recording holds any sound")
    tokens = sum(clip.tokens for clip in clips)
    errors = [clip.embedding_error for clip in clips]
    answers = {clip.record: True for clip in clips}
    for clip in clips:
        answers[clip.record] &= clip.same_answer
    return Drift(
        recordings=len(answers),
        clips=len(clips),
        seconds=sum(clip.seconds for clip in clips),
        embedding_error=median(errors),
        worst_embedding_error=max(errors),
        logit_error=max(clip.logit_error for clip in clips),
        first_token_agreement=sum(clip.same_first_token for clip in clips) / len(clips),
        tokens=tokens,
        token_agreement=sum(clip.same_tokens for clip in clips) / tokens,
        same_transcripts=sum(answers.values()) / len(answers),
        wer=_word_error_rates(records, clips),
    )


class _Pair:
    """Two models that take the same clips and prompts."""

    def __init__(self, first: Candidate, second: Candidate) -> None:
        text, other = first.text, second.text
        if (text.features, text.prompt(1)) != (other.features, other.prompt(1)):
            raise ModelError("the models take different clips or prompts; nothing to compare")
        self._first, self._second, self._text = first.engine, second.engine, text
        self._log_mel = LogMel(text.features)
        shared = np.intersect1d(self._first.output_ids, self._second.output_ids)
        self._ids: IntArray = np.setdiff1d(shared, text.suppressed_ids)

    def compare(self, clips: Sequence[tuple[int, Audio]]) -> Iterator[ClipDrift]:
        mels = [self._log_mel(clip.samples) for _, clip in clips]
        audio, other_audio = (e.embed_audio(mels) for e in (self._first, self._second))
        for one, other in zip(audio, other_audio, strict=True):
            if one.shape != other.shape:
                raise ModelError(
                    f"the models make {list(one.shape)} and {list(other.shape)} of one clip; "
                    "nothing to compare"
                )
        answers = self._answers(self._first, audio)
        other_answers = self._answers(self._second, other_audio)
        logits = next(self._led(self._first, audio, answers))
        other_logits, *later = self._led(self._second, other_audio, answers)
        chosen = np.stack([self._ids[step.argmax(axis=1)] for step in (other_logits, *later)])
        for row, (number, clip) in enumerate(clips):
            answer, other_answer = answers[row], other_answers[row]
            count, ends = len(answer.token_ids), answer.stop == "end"
            same = int(np.sum(chosen[:count, row] == answer.token_ids))
            yield ClipDrift(
                record=number,
                seconds=clip.duration,
                embedding_error=_relative_error(audio[row], other_audio[row]),
                logit_error=float(np.abs(other_logits[row] - logits[row]).max()),
                same_first_token=bool(other_logits[row].argmax() == logits[row].argmax()),
                tokens=count + ends,
                same_tokens=same + (ends and int(chosen[count, row]) in self._text.stop_ids),
                same_answer=answer.token_ids == other_answer.token_ids,
                texts=(self._words(answer), self._words(other_answer)),
            )

    def _prompts(self, audio: Sequence[FloatArray]) -> list[Prompt]:
        return [Prompt(self._text.prompt(len(a)), a) for a in audio]

    def _answers(self, engine: Engine, audio: Sequence[FloatArray]) -> list[Hypothesis]:
        return greedy(
            engine,
            self._prompts(audio),
            rules=[SuppressIds(self._text.suppressed_ids, engine.output_ids)],
            stop_ids=self._text.stop_ids,
            max_new_tokens=[len(a) + _SPARE_TOKENS for a in audio],
        )

    def _led(
        self, engine: Engine, audio: Sequence[FloatArray], answers: Sequence[Hypothesis]
    ) -> Iterator[FloatArray]:
        """Logits ``[rows, ids]`` of every step along answers, the one behind the longest too."""
        steps = max(len(answer.token_ids) for answer in answers)
        tokens = np.zeros((len(answers), steps), np.int64)
        for row, answer in enumerate(answers):
            tokens[row, : len(answer.token_ids)] = answer.token_ids
        columns = np.searchsorted(engine.output_ids, self._ids)
        state = engine.start(self._prompts(audio), steps + 1)
        for step in range(steps):
            yield state.logits[:, columns]
            state = engine.step(state, tokens[:, step])
        yield state.logits[:, columns]

    def _words(self, answer: Hypothesis) -> str:
        return clean(self._text.decode(answer.token_ids))


def _clips(record: Record, text: TextCodec) -> Iterator[Audio]:
    """A recording in pieces that the model can take, cut as `ark-asr batch` does."""
    features = text.features
    begin, end = (None if at < 0 else at for at in (record.begin, record.end))
    with (
        recording(record.path) as source,
        open_audio(source, sample_rate=features.sample_rate, begin=begin, end=end) as sound,
    ):
        long = sound.duration is None or sound.duration > features.clip_seconds
        for clip in cut(sound, features.clip_seconds, vad=long):
            if features.frames(len(clip.samples)):
                yield clip


def _relative_error(expected: FloatArray, found: FloatArray) -> float:
    size = float(np.linalg.norm(expected))
    return float(np.linalg.norm(found - expected)) / max(size, 1e-20)


def _word_error_rates(
    records: Sequence[Record], clips: Sequence[ClipDrift]
) -> tuple[float, float] | None:
    """Of both models, over the recordings that have a reference."""
    if not any(record.text.strip() for record in records):
        return None
    try:
        from ark_asr.evaluation.schemes import BasicScheme
    except ModuleNotFoundError:
        raise MissingExtraError("scoring against references", "eval") from None
    scheme = BasicScheme()
    errors, words = [0.0, 0.0], 0
    for number, record in enumerate(records):
        if not record.text.strip():
            continue
        for which in (0, 1):
            said = " ".join(clip.texts[which] for clip in clips if clip.record == number)
            score = scheme.score(record.text, said)
            errors[which] += score.wer_errors
        words += score.ref_words
    return (errors[0] / words, errors[1] / words) if words else None
