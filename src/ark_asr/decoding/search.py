"""Greedy search over a batch of clips."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np

from ark_asr.decoding.guards import Guard
from ark_asr.decoding.rules import Rule, SearchState
from ark_asr.engines.base import Engine
from ark_asr.errors import ModelError, OptionError
from ark_asr.types import FloatArray, Hypothesis, IntArray, Prompt, StopReason, Trouble

# One question for all rows, or one for each of them.
Cancelled: TypeAlias = Callable[[], bool] | Sequence[Callable[[], bool]]


@dataclass(slots=True)
class _Row:
    """One clip while it is being searched; see ``guards.Row``."""

    limit: int
    slots: int
    tokens: list[int] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)
    stop: StopReason | None = None
    trouble: Trouble | None = None

    def take(self, token: int, logprob: float, stop_ids: Collection[int]) -> None:
        if token in stop_ids:
            self.stop = "end"
            return
        self.tokens.append(token)
        self.logprobs.append(logprob)
        if len(self.tokens) == self.limit:
            self.stop = "length"

    def heed(self, guards: Sequence[Guard]) -> None:
        """Ask the guards; the first that speaks is believed."""
        for guard in guards:
            kept = guard.check(self)
            if kept is not None:
                del self.tokens[kept:], self.logprobs[kept:]
                self.stop = "end" if self.stop == "end" else "guard"
                self.trouble = guard.trouble
                return


def greedy(
    engine: Engine,
    prompts: Sequence[Prompt],
    *,
    rules: Sequence[Rule],
    stop_ids: Collection[int],
    max_new_tokens: int | Sequence[int],
    bans: Sequence[Rule] = (),
    guards: Sequence[Guard] = (),
    cancelled: Cancelled | None = None,
) -> list[Hypothesis]:
    """Choose the likeliest allowed token of every row until all rows have ended.

    Args:
        engine: Where the logits come from.
        prompts: One per clip.
        rules: Applied in this order at every step.
        stop_ids: Ids that end a row; they are not part of the hypothesis.
        max_new_tokens: Upper limit of tokens, one for all rows or one per row. If the engine has
            room for fewer, that is the limit; a row that reaches it stops with ``length``.
        bans: Rules of which the probabilities know nothing: a model that is kept from its own words
            does not believe others more.
        guards: Asked in this order after every token, and when a row has ended.
        cancelled: Asked before every step; true ends all open rows with ``cancelled``. One question
            for each prompt ends their rows one by one.

    Returns:
        One hypothesis per prompt, in the same order. Log-probabilities are those of a softmax over
        the ids that ``rules`` left.

    Raises:
        OptionError: A limit below 1, not one limit per prompt, or a prompt that leaves no room.
        ModelError: Logits that are not finite, or an engine that cannot give any stop id.
    """
    if not prompts:
        return []
    check_stop_ids(engine, stop_ids)
    limits = token_limits(engine, prompts, max_new_tokens)
    rows = [_Row(limit, len(prompt.audio)) for limit, prompt in zip(limits, prompts, strict=True)]
    state = engine.start(prompts, max(row.limit for row in rows))
    while True:
        for row, gone in zip(rows, cancelled_rows(cancelled, len(rows)), strict=True):
            if gone:
                row.stop = row.stop or "cancelled"
        if all(row.stop for row in rows):
            break
        logits = np.array(state.logits, dtype=np.float32)
        seen = SearchState(
            engine.output_ids, [row.tokens for row in rows], [row.stop is not None for row in rows]
        )
        for rule in rules:
            rule.apply(logits, seen)
        allowed = logits
        if bans:
            allowed = logits.copy()
            for ban in bans:
                ban.apply(allowed, seen)
        tokens, logprobs = _best(allowed, logits, engine.output_ids)
        for row, token, logprob in zip(rows, tokens, logprobs, strict=True):
            if row.stop is None:
                if not np.isfinite(logprob):
                    raise ModelError(
                        "the model's logits are not finite; its weights are damaged, or need fp32"
                    )
                row.take(int(token), float(logprob), stop_ids)
                row.heed(guards)
        if all(row.stop for row in rows):
            break
        state = engine.step(state, tokens)
    return [
        Hypothesis(tuple(row.tokens), tuple(row.logprobs), row.stop or "cancelled", row.trouble)
        for row in rows
    ]


def retrace(found: Hypothesis, slots: int, guards: Sequence[Guard]) -> Hypothesis:
    """What `greedy` would have made of the same choices, had it asked the guards after each.

    Args:
        found: Of an engine that searches by itself.
        slots: Audio embeddings of its clip.
        guards: Asked in this order after every token, and at the end.
    """
    count = len(found.token_ids)
    row = _Row(count if found.stop == "length" else count + 1, slots)
    for token, logprob in zip(found.token_ids, found.logprobs, strict=True):
        row.take(token, logprob, ())
        row.heed(guards)
        if row.stop is not None:
            break
    else:
        row.stop = found.stop
        if row.stop == "end":
            row.heed(guards)
    return Hypothesis(tuple(row.tokens), tuple(row.logprobs), row.stop or "cancelled", row.trouble)


def cancelled_rows(cancelled: Cancelled | None, count: int) -> list[bool]:
    """Which of ``count`` prompts nobody waits for any more."""
    if cancelled is None:
        return [False] * count
    return [cancelled()] * count if callable(cancelled) else [gone() for gone in cancelled]


def check_stop_ids(engine: Engine, stop_ids: Collection[int]) -> None:
    """A model that cannot end is refused.

    Raises:
        ModelError: No stop id has a logits column.
    """
    if not np.isin(engine.output_ids, np.fromiter(stop_ids, dtype=np.int64)).any():
        raise ModelError("the model has no output for any stop id; its package is damaged")


def token_limits(
    engine: Engine, prompts: Sequence[Prompt], max_new_tokens: int | Sequence[int]
) -> list[int]:
    """Most tokens of each row.

    Raises:
        OptionError: A limit below 1, not one limit per prompt, or a prompt that leaves no room.
    """
    limits = (
        [max_new_tokens] * len(prompts) if isinstance(max_new_tokens, int) else list(max_new_tokens)
    )
    if len(limits) != len(prompts):
        raise OptionError(f"{len(limits)} token limits for {len(prompts)} prompts")
    if min(limits) < 1:
        raise OptionError(f"max_new_tokens is {min(limits)}; it must be at least 1")
    # All rows step together, also those that have ended, so the longest prompt sets the room.
    longest = max(len(prompt.token_ids) for prompt in prompts)
    room = engine.max_positions - longest
    if room < 1:
        raise OptionError(
            f"a prompt of {longest} tokens leaves no room in the model's {engine.max_positions} "
            "positions; use shorter clips"
        )
    return [min(limit, room) for limit in limits]


def _best(
    allowed: FloatArray, logits: FloatArray, output_ids: IntArray
) -> tuple[IntArray, FloatArray]:
    """Ids ``[rows]`` of each row's largest ``allowed`` logit, and their log-probabilities."""
    columns, best = allowed.argmax(axis=1), allowed.max(axis=1)
    top = logits.max(axis=1)
    with np.errstate(invalid="ignore", over="ignore"):  # the caller looks for what is not finite
        spread = np.exp(logits - top[:, None]).sum(axis=1, dtype=np.float64)
        logprobs = best - top - np.log(spread)
    return output_ids[columns], logprobs.astype(np.float32)
