"""What can be found out about a model from transcribed speech: its heads and its confidence.

Heads are judged on the reference, fed as if the model had said it (`follows`), so a model that
hears little can still be judged. Confidence is judged on what the model says by itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

import kaldialign
import numpy as np
from numpy.typing import NDArray

from ark_asr.audio import load_audio
from ark_asr.batch.places import recording
from ark_asr.batch.records import Record
from ark_asr.decoding.align import follows
from ark_asr.decoding.words import spell
from ark_asr.engines import load_model
from ark_asr.engines.attention import chosen_heads
from ark_asr.engines.base import Aligner
from ark_asr.errors import ArkError, ModelFormatError, OptionError
from ark_asr.evaluation import text as steps
from ark_asr.evaluation.reliability import calibration_error, fit_curve, held_out
from ark_asr.models.calibration import Calibration, Head
from ark_asr.models.store import ModelFolder
from ark_asr.models.tokenizer import Tokenizer
from ark_asr.pipeline.confidence import Confidence
from ark_asr.pipeline.listener import Heard, Listener
from ark_asr.pipeline.stopwatch import Stopwatch
from ark_asr.types import Audio, FloatArray, IntArray, Prompt, TranscribeOptions

# Heads that follow the sound at least half as well as the best one, and no more than these.
_AS_GOOD = 0.5
_MOST_HEADS = 8
_LEAST_WORDS = 100  # for a curve
_BATCH = 16


@dataclass(frozen=True, slots=True, eq=False)
class Words:
    """What a model said, word by word.

    Attributes:
        raw: Product of each word's token probabilities, ``[words]``.
        right: Whether it stands in the reference, ``[words]``.
        recording: Number of its recording, ``[words]``.
    """

    raw: FloatArray
    right: NDArray[np.bool_]
    recording: IntArray


@dataclass(frozen=True, slots=True, eq=False)
class Findings:
    """What was measured.

    Attributes:
        heads: Every decoder head and how well it follows the sound, the best first.
        words: All that the model said.
        error: Expected calibration error of its own probabilities.
        error_after: And of the curve, each recording by a curve that was fitted without it.
        recordings: How many were used.
        skipped: One line for each that was not.
        calibration: What follows from it.
    """

    heads: tuple[tuple[Head, float], ...]
    words: Words
    error: float
    error_after: float
    recordings: int
    skipped: tuple[str, ...]
    calibration: Calibration


def calibrate_model(
    folder: ModelFolder, records: Sequence[Record], *, threads: int | None = None
) -> Findings:
    """Open a model and measure it; see `calibrate`.

    Raises:
        ModelFormatError: The model's files show no attention.
        OptionError: Too few words were said to learn anything from.
    """
    engine, tokenizer = load_model(folder, threads=threads)
    try:
        if not isinstance(engine, Aligner) or not isinstance(tokenizer, Tokenizer):
            raise ModelFormatError(
                f"{folder.path}: a model of the layout {folder.kind} shows no attention and "
                "cannot be calibrated; convert it to a package"
            )
        return calibrate(engine, tokenizer, records)
    finally:
        engine.close()


def calibrate(
    engine: Aligner,
    tokenizer: Tokenizer,
    records: Sequence[Record],
    *,
    progress: Callable[[float], None] | None = None,
) -> Findings:
    """Measure a model on recordings whose text is known.

    Args:
        engine: The model.
        tokenizer: Of the same checkpoint.
        records: Recordings, each with its reference and no longer than one clip.
        progress: Told the fraction done, 0 to 1.

    Raises:
        OptionError: Too few words were said to learn anything from.
    """
    listener = Listener(engine, tokenizer, TranscribeOptions(), Stopwatch(), lambda: False)
    skipped: list[str] = []
    judged: list[tuple[float, bool, int]] = []
    scores, weights = [], []
    count = 0
    usable = _usable(records, tokenizer, skipped)
    while batch := list(islice(usable, _BATCH)):
        heard = listener.hear([audio for _, audio in batch])
        references = [tokenizer.encode(record.text) for record, _ in batch]
        prompts = [Prompt(tokenizer.prompt(len(h.embeddings)), h.embeddings) for h in heard]
        for ids, attention in zip(references, engine.attend(prompts, references), strict=True):
            scores.append(follows(attention))
            weights.append(max(len(ids) - 1, 0))
        for (record, _), one in zip(batch, heard, strict=True):
            judged += [(*word, count) for word in judge(one, record.text, tokenizer)]
            count += 1
        if progress is not None:
            progress(min((count + len(skipped)) / len(records), 1.0))
    if len(judged) < _LEAST_WORDS:
        raise OptionError(
            f"the model said {len(judged)} words about {count} recordings; {_LEAST_WORDS} are "
            "needed at least, better thousands"
        )
    if len({number for *_, number in judged}) < 2:
        raise OptionError(
            "all words are about one recording, so nothing can be judged by what it has not seen; "
            "give several, better hundreds"
        )
    if not any(weights):
        raise OptionError("no reference is longer than one token, so heads cannot be judged")
    raw, right, recording = (np.array(column) for column in zip(*judged, strict=True))
    words = Words(raw.astype(np.float32), right, recording)
    found = np.average(scores, axis=0, weights=weights)
    heads = sorted(
        zip(chosen_heads(tokenizer.config.decoder, None), found.tolist(), strict=True),
        key=lambda one: -one[1],
    )
    best = [head for head, score in heads[:_MOST_HEADS] if score >= _AS_GOOD * heads[0][1]]
    basis = f"{count} recordings, {len(judged)} words, {right.mean():.1%} right"
    return Findings(
        heads=tuple(heads),
        words=words,
        error=calibration_error(words.raw, right),
        error_after=calibration_error(held_out(words.raw, right, recording), right),
        recordings=count,
        skipped=tuple(skipped),
        calibration=Calibration(tuple(sorted(best)), fit_curve(words.raw, right), basis),
    )


def judge(heard: Heard, reference: str, tokenizer: Tokenizer) -> list[tuple[float, bool]]:
    """Each word that was said: its own probability, and whether it stands in the reference.

    Words are compared as the scheme ``basic`` does. A word of several parts ("well-known") is right
    if all of them are; one without any (a dash) is left out.
    """
    spelled = spell(heard.hypothesis.token_ids, tokenizer.decode)
    raw = Confidence(tokenizer, None).of_words(spelled, heard.hypothesis.logprobs)
    parts = [steps.words(steps.plain(word.text)) for word in spelled]
    said = [(part, number) for number, some in enumerate(parts) for part in some]
    wanted = steps.words(steps.plain(reference))
    pairs = kaldialign.align(wanted, [part for part, _ in said], "")
    matches = [ref == hyp for ref, hyp in pairs if hyp]
    wrong = {number for (_, number), match in zip(said, matches, strict=True) if not match}
    return [(raw[i], i not in wrong) for i, some in enumerate(parts) if some]


def _usable(
    records: Sequence[Record], tokenizer: Tokenizer, skipped: list[str]
) -> Iterator[tuple[Record, Audio]]:
    """Records with their sound; what is wrong with the others is noted."""
    features = tokenizer.features
    for record in records:
        try:
            with recording(record.path) as source:
                audio = load_audio(
                    source,
                    sample_rate=features.sample_rate,
                    begin=record.begin if record.begin > 0 else None,
                    end=record.end if record.end > 0 else None,
                )
        except ArkError as error:
            skipped.append(str(error))
            continue
        if not record.text.strip():
            skipped.append(f"{record.audio} (line {record.number}): has no reference")
        elif not features.frames(len(audio.samples)):
            skipped.append(f"{record.audio} (line {record.number}): holds no sound")
        elif audio.duration > features.clip_seconds:
            skipped.append(f"{record.audio} (line {record.number}): longer than one clip")
        else:
            yield record, audio
