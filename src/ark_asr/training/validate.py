"""How well a model in training writes down what is said: greedy word error rate."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import jiwer

from ark_asr.audio import LogMel
from ark_asr.decoding.rules import SuppressIds
from ark_asr.decoding.search import greedy
from ark_asr.decoding.text import clean
from ark_asr.engines.base import Engine
from ark_asr.errors import ArkError, OptionError
from ark_asr.evaluation.intervals import Interval, interval
from ark_asr.models.tokenizer import Tokenizer
from ark_asr.training.rows import Row, read_samples
from ark_asr.types import FloatArray, Hypothesis, Prompt


@dataclass(frozen=True, slots=True)
class Score:
    """Word errors of one set.

    Attributes:
        errors: Substitutions, deletions and insertions.
        words: Words of the references.
        clips: Clips scored.
        pairs: Reference and hypothesis of each clip.
        interval: 95 % of the rates of sets drawn from these clips with replacement.
    """

    errors: int
    words: int
    clips: int
    pairs: tuple[tuple[str, str], ...]
    interval: Interval | None = None

    @property
    def wer(self) -> float:
        """Word error rate, 0.05 for five words in a hundred."""
        return self.errors / self.words if self.words else 0.0


def plain(text: str) -> str:
    """The form in which words are compared: lower case, no punctuation but apostrophes."""
    text = text.lower().replace("\N{RIGHT SINGLE QUOTATION MARK}", "'")
    kept = "".join(c if c.isalnum() or c == "'" else " " for c in text)
    return " ".join(kept.split())


def transcribe_rows(
    engine: Engine,
    tokenizer: Tokenizer,
    rows: Sequence[Row],
    batch: int = 16,
    search: Callable[..., list[Hypothesis]] = greedy,
) -> list[str]:
    """Transcripts of rows, in their order; clips of similar length are decoded together.

    Args:
        engine: Who hears them.
        tokenizer: The model's text side.
        rows: What is heard.
        batch: Clips that are decoded together.
        search: `greedy`, or another that takes its arguments.

    Raises:
        OptionError: Names the row whose sound cannot be read.
    """
    features = tokenizer.config.features
    log_mel = LogMel(features)
    order = sorted(range(len(rows)), key=lambda i: rows[i].seconds)
    texts = [""] * len(rows)
    for first in range(0, len(order), batch):
        chosen = order[first : first + batch]
        sounds = [_samples(rows[i], features.sample_rate) for i in chosen]
        mels = [log_mel(sound[: features.clip_samples]) for sound in sounds]
        audio = engine.embed_audio(mels)
        prompts = [Prompt(tokenizer.prompt(len(a)), a) for a in audio]
        found = search(
            engine,
            prompts,
            rules=[SuppressIds(tokenizer.suppressed_ids, engine.output_ids)],
            stop_ids=tokenizer.stop_ids,
            max_new_tokens=[len(a) + 8 for a in audio],
        )
        for i, hypothesis in zip(chosen, found, strict=True):
            texts[i] = clean(tokenizer.decode(hypothesis.token_ids))
    return texts


def _samples(row: Row, sample_rate: int) -> FloatArray:
    try:
        return read_samples(row, sample_rate)
    except (ArkError, OSError) as error:
        raise OptionError(f"cannot score {row.where}: {error}") from None


def score(references: Sequence[str], hypotheses: Sequence[str]) -> Score:
    """Corpus word errors of plain texts; pairs with an empty reference count as insertions."""
    pairs = tuple((plain(r), plain(h)) for r, h in zip(references, hypotheses, strict=True))
    words = [len(reference.split()) for reference, _ in pairs]
    errors = [_errors(reference, hypothesis) for reference, hypothesis in pairs]
    return Score(sum(errors), sum(words), len(pairs), pairs, interval(errors, words))


def _errors(reference: str, hypothesis: str) -> int:
    if not reference:
        return len(hypothesis.split())
    found = jiwer.process_words(reference, hypothesis)
    return int(found.substitutions + found.deletions + found.insertions)
