"""One batch of a distillation: what the student writes, what the teacher says to it, the loss."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from ark_asr.modeling.model import ArkForConditionalGeneration
from ark_asr.models.tokenizer import Tokenizer
from ark_asr.training.alignment import Pair
from ark_asr.training.bridge import Bridge, Brought
from ark_asr.training.data import Batch
from ark_asr.training.distill_config import LessonConfig
from ark_asr.training.divergence import Measured, measure
from ark_asr.training.forced import forced_states
from ark_asr.training.published import published_divergence
from ark_asr.training.rollout import roll_out
from ark_asr.training.tally import Tally
from ark_asr.training.teachers import Scores, Teacher
from ark_asr.training.validate import score

_ON_POLICY, _STATIC = 0, 2  # places in `LessonConfig.shares`


@dataclass(frozen=True, slots=True)
class Texts:
    """What is written of a batch.

    Attributes:
        ids: Of each clip's text, its end not among them.
        static: Clips whose text is learnt as it is.
        asked: Clips whose text the teacher is asked about.
    """

    ids: list[list[int]]
    static: list[int]
    asked: list[int]


@dataclass(frozen=True, slots=True)
class Lesson:
    """A student, its teacher, and how one teaches the other.

    Attributes:
        model: The student.
        tokenizer: The student's.
        teacher: Who is asked.
        bridge: Between the ids of both.
        config: About whose texts, and how the answer counts.
        seed: Of all chance.
    """

    model: ArkForConditionalGeneration
    tokenizer: Tokenizer
    teacher: Teacher
    bridge: Bridge
    config: LessonConfig
    seed: int

    def teach(self, batch: Batch) -> tuple[Tensor, Tally]:
        """The loss of a batch, summed over places, and what was counted.

        The student hears the batch once: its rollouts and the pass with gradients start from the
        same audio embeddings.
        """
        device = self.model.lm_head.weight.device
        audio = self.model.embed_audio(batch.mels.to(device), batch.frames.to(device))
        slots = [self.model.config.audio_slots(int(count)) for count in batch.frames]
        loss = torch.zeros((), device=device)
        if not batch.texts:  # nothing of it could be read
            return loss, Tally()
        texts, tally = self.write(audio, slots, batch)
        states = forced_states(self.model, self.tokenizer, audio, slots, texts.ids)
        for learn in (self._recite, self._compare):
            part, found = learn(states, texts, batch)
            loss, tally = loss + part, tally + found
        return loss, tally

    def write(self, audio: Tensor, slots: Sequence[int], batch: Batch) -> tuple[Texts, Tally]:
        """Choose whose text each clip gets, and let the student write its own.

        Chance comes from the seed and the number of the batch: it does not matter who writes it.

        Args:
            audio: Audio embeddings ``[clips, most slots, hidden]``.
            slots: Audio embeddings of each clip.
            batch: Where they come from.
        """
        config = self.config
        rng = np.random.default_rng((self.seed, batch.number))
        shares = np.array(config.shares) / sum(config.shares)  # within rounding of 1 before
        kinds = rng.choice(3, size=len(slots), p=shares)
        ids = [self.tokenizer.encode(text) for text in batch.texts]
        static = np.flatnonzero(kinds == _STATIC).tolist()
        asked = np.flatnonzero(kinds != _STATIC).tolist()
        own = np.flatnonzero(kinds == _ON_POLICY).tolist()
        if not own:
            return Texts(ids, static, asked), Tally()
        written = roll_out(
            self.model, self.tokenizer, audio[own], [slots[i] for i in own],
            temperature=config.sample, max_new_tokens=config.max_new_tokens, rng=rng,
        )  # fmt: skip
        for i, rollout in zip(own, written, strict=True):
            if rollout.token_ids or config.empty == "score":
                ids[i] = list(rollout.token_ids)
        said = [self.tokenizer.decode(rollout.token_ids) for rollout in written]
        found = score([batch.texts[i] for i in own], said)
        return Texts(ids, static, asked), Tally(
            rollouts=len(own),
            tokens=sum(len(rollout.token_ids) for rollout in written),
            ended=sum(rollout.stop == "end" for rollout in written),
            silent=sum(not rollout.token_ids for rollout in written),
            errors=found.errors,
            words=found.words,
        )

    def _recite(
        self, states: Sequence[Tensor], texts: Texts, _batch: Batch
    ) -> tuple[Tensor, Tally]:
        """Cross-entropy of the static texts and their ends."""
        if not texts.static:
            return states[0].new_zeros((), dtype=torch.float32), Tally()
        rows = torch.cat([states[i] for i in texts.static])
        wanted = [id_ for i in texts.static for id_ in (*texts.ids[i], self.bridge.end)]
        loss = functional.cross_entropy(
            self.model.lm_head(rows).float(), rows.new_tensor(wanted, dtype=torch.long),
            reduction="sum",
        )  # fmt: skip
        spoken, count = float(loss.detach()), len(wanted)
        return loss, Tally(loss=spoken, weight=count, spoken=spoken, answers=count)

    def _compare(
        self, states: Sequence[Tensor], texts: Texts, batch: Batch
    ) -> tuple[Tensor, Tally]:
        """Divergence from the teacher wherever both have written the same."""
        if not texts.asked:
            return states[0].new_zeros((), dtype=torch.float32), Tally()
        retold = [self.bridge.retell(texts.ids[i]) for i in texts.asked]
        with torch.autocast(states[0].device.type, enabled=False):  # the teacher has a dtype
            scores = self.teacher.score([batch.sounds[i] for i in texts.asked], retold)
        pairs = [
            self.bridge.pairs(texts.ids[i], told, len(answer.logits))
            for i, told, answer in zip(texts.asked, retold, scores, strict=True)
        ]
        mine = list(zip(texts.asked, pairs, strict=True))
        rows = torch.cat([states[i][[pair.student for pair in clip]] for i, clip in mine])
        logits = self.model.lm_head(rows).float()
        brought = self.bridge.bring(scores, pairs)
        if self.config.arithmetic == "published":
            ends = [[*texts.ids[i], self.bridge.end] for i, _ in mine]
            chosen = [
                ids[pair.student] for ids, clip in zip(ends, pairs, strict=True) for pair in clip
            ]
            measured = self._as_published(logits, scores, pairs, chosen)
            counts = measured.counts
            weight = float(counts.any())
            loss = measured.values[counts].sum() / counts.sum().clamp(min=1)
        else:
            measured = measure(logits, brought.target, self.config.measure)
            counts = measured.counts & (brought.share >= self.config.min_shared)
            weight = float(counts.sum())
            loss = measured.values[counts].sum()
        tally = _counted(logits.detach(), brought, measured, counts) + Tally(
            loss=float(loss.detach()),
            weight=weight,
            places=sum(len(states[i]) for i in texts.asked),
            asked=len(texts.asked),
            retold=sum(len(clip) < len(states[i]) for i, clip in mine),
        )
        return loss, tally

    def _as_published(
        self, logits: Tensor, scores: Sequence[Scores], pairs: Sequence[Sequence[Pair]],
        chosen: Sequence[int],
    ) -> Measured:  # fmt: skip
        answers = zip(scores, pairs, strict=True)
        theirs = [answer.logits[[pair.teacher for pair in clip]] for answer, clip in answers]
        controls = [piece is None for piece in self.bridge.student.pieces]
        return published_divergence(
            logits,
            torch.cat(theirs).to(logits.device),
            to_student=self.bridge.to_student,
            blocked=torch.tensor(controls, device=logits.device),
            chosen=torch.tensor(chosen, device=logits.device),
            top_k=self.config.top_k,
            temperature=self.config.temperature,
        )


def _counted(logits: Tensor, brought: Brought, measured: Measured, counts: Tensor) -> Tally:
    target = brought.target
    first = logits.masked_fill(~target.shared, -torch.inf).argmax(-1)
    return Tally(
        divergence=float(measured.values.detach()[counts].sum()),
        compared=float(counts.sum()),
        paired=len(logits),
        share=float(brought.share.sum()),
        support=float(measured.support[counts].sum()),
        agreed=float((first == target.logits.argmax(-1))[counts].sum()),
    )
