"""From manifests to batches: deterministic, resumable, and loud about what cannot be read.

The order of batches depends on the seed alone and the sound of a clip on the seed, the epoch and
its row, so a run that goes on from a checkpoint sees what an uninterrupted one would have seen.
"""

from __future__ import annotations

import dataclasses
import io
import json
import math
import wave
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from ark_asr.audio import LogMel, load_audio
from ark_asr.batch.places import is_remote
from ark_asr.errors import ArkError, OptionError
from ark_asr.models.tokenizer import Tokenizer
from ark_asr.training.augment import change_sound, mask_mel
from ark_asr.training.config import AugmentConfig
from ark_asr.training.places import beside, read_bytes, read_text
from ark_asr.types import FloatArray

IGNORED = -100

# Matrix kernels of a CPU are made for one shape, and making them can take as long as using them, so
# clips are padded to lengths of a geometric series and tokens to multiples of this.
FRAME_RATE = 100  # mel frames per second, about
_SERIES = sorted({32 * math.ceil(2 * 1.12**i) for i in range(60)})
TOKEN_STEP = 16


def padded_frames(frames: int) -> int:
    """The length to which a clip of that many frames is padded."""
    return next((length for length in _SERIES if length >= frames), frames)


@dataclass(frozen=True, slots=True)
class Row:
    """One line of a manifest.

    Attributes:
        audio: Path or address of a recording, or of a shard.
        begin: Seconds.
        end: Seconds, if it is known.
        span: First byte and number of bytes of the recording in a shard.
    """

    audio: str
    text: str
    begin: float
    end: float | None
    seconds: float
    augment: bool = False
    span: tuple[int, int] | None = None


def read_manifest(path: str | Path, *, augment: bool = False) -> list[Row]:
    """Rows of a JSON-lines manifest; ``audio`` is relative to it.

    Raises:
        OptionError: Names the line that is not what it must be.
    """
    place = str(path)
    try:
        lines = read_text(place).splitlines()
    except UnicodeDecodeError:
        raise OptionError(f"{place}: is not UTF-8") from None
    except OSError as error:
        raise OptionError(f"{place}: cannot be read ({error.strerror or error})") from None
    rows = []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            rows.append(_row(json.loads(line), place, augment=augment))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise OptionError(f"{place}:{number}: not a usable row ({error!r})") from None
    return rows


def _row(data: dict[str, Any], manifest: str, *, augment: bool) -> Row:
    begin, end = float(data.get("begin_time", -1)), float(data.get("end_time", -1))
    begin = max(begin, 0.0)
    seconds = float(data["duration"]) if "duration" in data else end - begin
    if seconds <= 0:
        raise ValueError("duration, or begin_time and end_time, must be there and make sense")
    span = (int(data["offset"]), int(data["bytes"])) if "offset" in data else None
    return Row(
        beside(manifest, data["audio"]), str(data.get("text_norm") or data["text"]), begin,
        end if end > begin else None, seconds, augment, span,
    )  # fmt: skip


def read_samples(row: Row, sample_rate: int) -> FloatArray:
    """The sound of a row, float32 ``[n]``.

    A piece of a 16-bit WAV file of the right rate is read in place; anything else is decoded.
    """
    far = row.span is not None or is_remote(row.audio)
    source = read_bytes(row.audio, row.span) if far else row.audio
    if row.end is not None and row.audio.endswith(".wav"):
        with wave.open(io.BytesIO(source) if isinstance(source, bytes) else source) as file:
            form = file.getframerate(), file.getnchannels(), file.getsampwidth()
            if form == (sample_rate, 1, 2):
                first = round(row.begin * sample_rate)
                file.setpos(first)
                data = file.readframes(round(row.end * sample_rate) - first)
                return np.frombuffer(data, dtype="<i2").astype(np.float32) / 32768.0
    begin = row.begin or None
    return load_audio(source, sample_rate=sample_rate, begin=begin, end=row.end).samples


@dataclass(frozen=True, slots=True)
class Batch:
    """Clips padded at the right.

    Attributes:
        mels: ``[batch, bins, frames]``.
        frames: int64 ``[batch]``.
        token_ids: Prompt, transcript and end token, int64 ``[batch, length]``.
        labels: ``token_ids`` one step ahead where the model must answer, else ``IGNORED``.
        transcripts: Transcript ids without end token, int64 ``[sum of lengths]``, for CTC.
        transcript_lengths: int64 ``[batch]``.
        letters: UTF-8 bytes of the transcripts, int64 ``[sum of lengths]``, for CTC.
        letter_lengths: int64 ``[batch]``.
        skipped: One line per recording that could not be read.
        number: Of the batch in its run; chance that belongs to the batch is drawn from it.
        texts: Transcripts, if a teacher is to hear the clips as well.
        sounds: Likewise what was recorded, before any augmentation, float32 ``[n]`` each.
    """

    mels: Tensor
    frames: Tensor
    token_ids: Tensor
    labels: Tensor
    transcripts: Tensor
    transcript_lengths: Tensor
    letters: Tensor
    letter_lengths: Tensor
    skipped: tuple[str, ...] = ()
    number: int = 0
    texts: tuple[str, ...] = ()
    sounds: tuple[FloatArray, ...] = ()

    @property
    def empty(self) -> bool:
        """Whether there is nothing to learn from it."""
        return not bool((self.labels != IGNORED).any())


class Batches(Dataset[Batch]):
    """The batches of a run, by number; see :func:`order.plan` for their order."""

    def __init__(
        self, rows: Sequence[Row], order: Sequence[tuple[int, list[int]]], tokenizer: Tokenizer,
        augment: AugmentConfig, *, seed: int, skip_bad: bool, keep_sound: bool = False,
    ) -> None:  # fmt: skip
        self.rows, self.order, self.tokenizer = rows, order, tokenizer
        self.augment, self.seed, self.skip_bad = augment, seed, skip_bad
        self.keep_sound = keep_sound
        self.log_mel = LogMel(tokenizer.config.features)

    def __len__(self) -> int:
        return len(self.order)

    def cost(self, number: int) -> float:
        """Seconds of sound of batch ``number``, padding included: about the work it makes."""
        seconds = [self.rows[index].seconds for index in self.order[number][1]]
        return len(seconds) * max(seconds)

    def __getitem__(self, number: int) -> Batch:
        """Batch ``number``; it may be `empty` if ``skip_bad`` left nothing of it."""
        epoch, indices = self.order[number]
        rate = self.tokenizer.features.sample_rate
        mels, texts, sounds, skipped = [], [], [], []
        for index in indices:
            row = self.rows[index]
            try:
                sound = read_samples(row, rate)
                mels.append(self._mel(sound, row, (self.seed, epoch, index)))
            except (ArkError, OSError, EOFError, wave.Error) as error:
                line = f"{row.audio} ({row.begin:.2f} s): {error}"
                if not self.skip_bad:
                    raise OptionError(f"cannot train on {line}") from None
                skipped.append(line)
                continue
            texts.append(row.text)
            sounds.append(sound)
        if not mels:
            return dataclasses.replace(silence(self.tokenizer), skipped=tuple(skipped))
        batch = collate(mels, texts, self.tokenizer, tuple(skipped))
        if not self.keep_sound:
            return batch
        return dataclasses.replace(batch, number=number, texts=tuple(texts), sounds=tuple(sounds))

    def _mel(self, samples: FloatArray, row: Row, key: tuple[int, ...]) -> FloatArray:
        rng = np.random.default_rng(key)
        features = self.tokenizer.config.features
        if row.augment:
            samples = change_sound(samples, features.sample_rate, self.augment, rng)
        mel = self.log_mel(samples[: features.clip_samples])
        return mask_mel(mel, self.augment, rng)


def collate(
    mels: Sequence[FloatArray], texts: Sequence[str], tokenizer: Tokenizer,
    skipped: tuple[str, ...] = (),
) -> Batch:  # fmt: skip
    """Pad clips and their prompts to one batch."""
    end = tokenizer.id_of(tokenizer.eos_token)
    frames = torch.tensor([mel.shape[1] for mel in mels])
    padded = torch.zeros(len(mels), mels[0].shape[0], padded_frames(int(frames.max())))
    token_rows, label_rows, transcripts = [], [], []
    for i, (mel, text) in enumerate(zip(mels, texts, strict=True)):
        padded[i, :, : mel.shape[1]] = torch.from_numpy(mel)
        transcript = tokenizer.encode(text)
        prompt = tokenizer.prompt(tokenizer.config.audio_slots(mel.shape[1]))
        ids = [*prompt, *transcript, end]
        token_rows.append(torch.tensor(ids[:-1]))
        label_rows.append(torch.tensor([IGNORED] * (len(prompt) - 1) + ids[len(prompt) :]))
        transcripts.append(torch.tensor(transcript, dtype=torch.long))
    letters = [torch.tensor(list(text.encode()), dtype=torch.long) for text in texts]
    length = -(-max(len(row) for row in token_rows) // TOKEN_STEP) * TOKEN_STEP
    return Batch(
        mels=padded,
        frames=frames,
        token_ids=_stack(token_rows, length, tokenizer.config.pad_token_id),
        labels=_stack(label_rows, length, IGNORED),
        transcripts=torch.cat(transcripts),
        transcript_lengths=torch.tensor([len(t) for t in transcripts]),
        letters=torch.cat(letters),
        letter_lengths=torch.tensor([len(t) for t in letters]),
        skipped=skipped,
    )


def silence(tokenizer: Tokenizer) -> Batch:
    """A batch that asks for nothing."""
    bins = tokenizer.config.features.mel_bins
    batch = collate([np.zeros((bins, _SERIES[0]), np.float32)], [""], tokenizer)
    return dataclasses.replace(batch, labels=torch.full_like(batch.labels, IGNORED))


def _stack(rows: Sequence[Tensor], length: int, fill: int) -> Tensor:
    """Rows of whole numbers, filled up at the right: int64 ``[rows, length]``."""
    stacked = torch.full((len(rows), length), fill)
    for target, row in zip(stacked, rows, strict=True):
        target[: len(row)] = row
    return stacked
