"""From manifests to batches: deterministic, resumable, and loud about what cannot be read.

The order of batches depends on the seed alone and the sound of a clip on the seed, the epoch and
its row, so a run that goes on from a checkpoint sees what an uninterrupted one would have seen.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from ark_asr.audio import LogMel
from ark_asr.errors import ArkError, AudioError, OptionError
from ark_asr.models.tokenizer import Tokenizer
from ark_asr.training.augment import change_sound, mask_mel
from ark_asr.training.config import AugmentConfig
from ark_asr.training.rows import Row, read_samples
from ark_asr.types import FloatArray

IGNORED = -100

# Matrix kernels of a CPU are made for one shape, and making them can take as long as using them, so
# clips are padded to lengths of a geometric series and tokens to multiples of this.
FRAME_RATE = 100  # mel frames per second, about
_SERIES = sorted({32 * math.ceil(2 * 1.12**i) for i in range(60)})
TOKEN_STEP = 16
_SPARE_SECONDS = 0.5  # lossy codecs add some silence


def padded_frames(frames: int) -> int:
    """The length to which a clip of that many frames is padded."""
    return next((length for length in _SERIES if length >= frames), frames)


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
    """The batches of a run, by number; see :func:`order.plan` for their order.

    Args:
        skip_bad: Whether a run goes on without what a batch lists as ``skipped``. Nothing is
            raised here: from another process it would come back as a traceback.
    """

    def __init__(
        self, rows: Sequence[Row], order: Sequence[tuple[int, list[int]]], tokenizer: Tokenizer,
        augment: AugmentConfig, *, seed: int, skip_bad: bool, keep_sound: bool = False,
    ) -> None:  # fmt: skip
        self.rows, self.order, self.tokenizer = rows, order, tokenizer
        self.augment, self.seed, self.skip_bad = augment, seed, skip_bad
        self.keep_sound = keep_sound
        self.log_mel = LogMel(tokenizer.config.features)
        self._never = {tokenizer.config.audio_token_id, *tokenizer.stop_ids}
        self._never.update(tokenizer.suppressed_ids.tolist())

    def __len__(self) -> int:
        return len(self.order)

    def cost(self, number: int) -> float:
        """Seconds of sound of batch ``number``, padding included: about the work it makes."""
        seconds = [self.rows[index].seconds for index in self.order[number][1]]
        return len(seconds) * max(seconds)

    def __getitem__(self, number: int) -> Batch:
        """Batch ``number``; it is `empty` if nothing of it could be used."""
        epoch, indices = self.order[number]
        rate = self.tokenizer.features.sample_rate
        mels, texts, sounds, skipped = [], [], [], []
        for index in indices:
            row = self.rows[index]
            try:
                sound = read_samples(row, rate)
                self._check(sound, row)
                mels.append(self._mel(sound, row, (self.seed, epoch, index)))
            except (ArkError, OSError) as error:
                skipped.append(f"{row.where}: {error}")
                continue
            texts.append(row.text)
            sounds.append(sound)
        if not mels:
            return dataclasses.replace(silence(self.tokenizer), skipped=tuple(skipped))
        batch = collate(mels, texts, self.tokenizer, tuple(skipped))
        if not self.keep_sound:
            return batch
        return dataclasses.replace(batch, number=number, texts=tuple(texts), sounds=tuple(sounds))

    def _check(self, samples: FloatArray, row: Row) -> None:
        """Refuse what would teach a text that cannot be heard or said."""
        features = self.tokenizer.config.features
        if features.frames(len(samples)) < 2:  # made quicker, it must still be one
            raise AudioError("is too short to be heard")
        if len(samples) > features.clip_samples + _SPARE_SECONDS * features.sample_rate:
            raise AudioError(
                f"is {len(samples) / features.sample_rate:.1f} s long, its row says "
                f"{row.seconds:.1f} s, and {features.clip_seconds:g} s are heard at once"
            )
        ids = self.tokenizer.encode(row.text)
        if not self._never.isdisjoint(ids):
            found = self.tokenizer.decode([next(id_ for id_ in ids if id_ in self._never)])
            raise OptionError(f"its text has {found}, which is no text for this model")

    def _mel(self, samples: FloatArray, row: Row, key: tuple[int, ...]) -> FloatArray:
        rng = np.random.default_rng(key)
        features = self.tokenizer.config.features
        if row.augment:
            samples = change_sound(
                samples, features.sample_rate, self.augment, rng, longest=features.clip_samples
            )
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
