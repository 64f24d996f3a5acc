"""Beam search over a batch of clips, with n-best lists and hot words.

The hypotheses of a clip are rows of the engine's batch; those of all clips are decoded together.
At each step every hypothesis may end, and the ``width`` best ways to go on are followed. A
hypothesis scores its log-probability, that of its end included, and what its hot words are worth,
divided by its number of tokens (its end is one) to the power of the length penalty.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ark_asr.decoding.guards import Guard
from ark_asr.decoding.hotwords import HotWords, Match
from ark_asr.decoding.rules import Rule, SearchState
from ark_asr.decoding.search import Cancelled, cancelled_rows, check_stop_ids, token_limits
from ark_asr.engines.base import Reorders
from ark_asr.errors import ModelError, OptionError
from ark_asr.types import FloatArray, Hypothesis, IntArray, Prompt, StopReason, Trouble

# Values of which only the largest is looked at first; see `_largest`.
_HEAP = 64


@dataclass(frozen=True, slots=True)
class _Beam:
    """One hypothesis; see ``guards.Row``.

    Attributes:
        logprob: Of all tokens, and of the end if there is one.
        match: Its hot words.
    """

    slots: int
    tokens: tuple[int, ...] = ()
    logprobs: tuple[float, ...] = ()
    logprob: float = 0.0
    match: Match = Match()  # noqa: RUF009 - frozen
    stop: StopReason | None = None
    trouble: Trouble | None = None

    def score(self, length_penalty: float) -> float:
        length = max(len(self.tokens) + (self.stop == "end"), 1)
        return (self.logprob + self.match.bonus) / math.pow(length, length_penalty)

    def heed(self, guards: Sequence[Guard]) -> _Beam:
        """Ask the guards; the first that speaks is believed."""
        for guard in guards:
            kept = guard.check(self)
            if kept is not None:
                return replace(
                    self,
                    tokens=self.tokens[:kept],
                    logprobs=self.logprobs[:kept],
                    stop="end" if self.stop == "end" else "guard",
                    trouble=guard.trouble,
                )
        return self

    def hypothesis(self) -> Hypothesis:
        return Hypothesis(self.tokens, self.logprobs, self.stop or "cancelled", self.trouble)


@dataclass(frozen=True, slots=True, eq=False)
class _Settings:
    """What is the same for all clips; see `beam`."""

    width: int
    length_penalty: float
    output_ids: IntArray
    stop_columns: IntArray
    guards: Sequence[Guard]
    hot_words: HotWords | None


class _Clip:
    """One clip while it is being searched.

    Attributes:
        live: Hypotheses that go on, one row of the engine's batch each; none when all is decided.
    """

    def __init__(self, slots: int, limit: int, settings: _Settings) -> None:
        self.live = [_Beam(slots)]
        self._ended: list[_Beam] = []  # best first
        self._limit = limit
        self._settings = settings

    def advance(self, logprobs: FloatArray) -> list[int]:
        """One token more, given log-probabilities ``[live, columns]``.

        Returns:
            For each of the new ``live`` hypotheses, the row of the old one that it continues.
        """
        settings = self._settings
        ends = np.logaddexp.reduce(logprobs[:, settings.stop_columns], axis=1)
        for beam, logprob in zip(self.live, ends.tolist(), strict=True):
            self._end(self._extend(beam, int(settings.stop_columns[0]), logprob, ends=True))
        rows: list[int] = []
        live: list[_Beam] = []
        for row, column in self._ways_on(logprobs):
            beam = self._extend(self.live[row], column, float(logprobs[row, column]))
            beam = beam.heed(settings.guards)
            if beam.stop is not None:
                self._end(beam)
                continue
            live.append(beam)
            rows.append(row)
            if len(live) == settings.width:
                break
        self.live = live
        if self._is_decided():
            self.live = []
        return rows[: len(self.live)]

    def cancel(self) -> None:
        """End with what is there."""
        for beam in self.live:
            self._end(replace(beam, stop="cancelled"))
        self.live = []

    def result(self) -> Hypothesis:
        """The best hypothesis; the next best are its alternatives."""
        best, *others = (beam.hypothesis() for beam in self._ended)
        return replace(best, alternatives=tuple(others))

    def _extend(self, beam: _Beam, column: int, logprob: float, *, ends: bool = False) -> _Beam:
        """The hypothesis with one token more, or ended."""
        settings = self._settings
        total, match = beam.logprob + logprob, beam.match
        if settings.hot_words is not None:
            match = settings.hot_words.advance(match, column, logprob)
        if ends:
            return replace(beam, logprob=total, match=match, stop="end")
        return replace(
            beam,
            tokens=(*beam.tokens, int(settings.output_ids[column])),
            logprobs=(*beam.logprobs, logprob),
            logprob=total,
            match=match,
            stop="length" if len(beam.tokens) + 1 == self._limit else None,
        )

    def _ways_on(self, logprobs: FloatArray) -> Iterator[tuple[int, int]]:
        """Row and column of the best tokens that end nothing."""
        settings = self._settings
        scores = logprobs + np.array([[beam.logprob] for beam in self.live])
        scores[:, settings.stop_columns] = -np.inf
        places: list[int] = []
        if settings.hot_words is not None:
            # What is likeliest without them stays in the beam: beginnings of hot words must not
            # crowd it out before it is known whether they become words.
            places.append(int(scores.argmax()))
            scores += np.stack(
                [
                    settings.hot_words.bonuses(beam.match, row)
                    for beam, row in zip(self.live, logprobs, strict=True)
                ]
            )
        # Twice as many as are followed: a guard may stop some.
        places += _largest(scores, 2 * settings.width)
        for place in dict.fromkeys(places):
            row, column = divmod(place, scores.shape[1])
            if np.isfinite(scores[row, column]):
                yield row, column

    def _end(self, beam: _Beam) -> None:
        """Keep a hypothesis that has ended if it is among the best."""
        if not np.isfinite(beam.logprob):
            return
        if beam.match.begun:
            beam = replace(beam, match=Match(beam.match.complete()))
        self._ended.append(beam.heed(self._settings.guards))
        # What a guard had to stop is only taken if there is nothing else.
        self._ended.sort(key=lambda b: (b.stop == "guard", -b.score(self._settings.length_penalty)))
        del self._ended[self._settings.width :]

    def _is_decided(self) -> bool:
        """Whether enough have ended, and none that goes on is better as it stands."""
        settings = self._settings
        if len(self._ended) < settings.width or self._ended[-1].stop == "guard":
            return False
        worst = self._ended[-1].score(settings.length_penalty)
        return all(beam.score(settings.length_penalty) <= worst for beam in self.live)


def beam(
    engine: Reorders,
    prompts: Sequence[Prompt],
    *,
    width: int,
    rules: Sequence[Rule],
    stop_ids: Collection[int],
    max_new_tokens: int | Sequence[int],
    length_penalty: float = 1.0,
    hot_words: HotWords | None = None,
    bans: Sequence[Rule] = (),
    guards: Sequence[Guard] = (),
    cancelled: Cancelled | None = None,
) -> list[Hypothesis]:
    """Follow the best hypotheses of every clip; arguments not named here are those of `greedy`.

    Args:
        engine: Where the logits come from.
        prompts: One per clip.
        width: Hypotheses that are followed at once, and returned.
        rules: Applied in this order at every step; each hypothesis is a row.
        stop_ids: Ids that end a hypothesis; together they are one way to end.
        max_new_tokens: Upper limit of tokens, one for all clips or one per clip.
        length_penalty: 0 ranks by probability, which prefers short hypotheses; 1 by the mean
            log-probability of a token.
        hot_words: What is likely to be said.
        bans: As for `greedy`.
        guards: Asked after every token of every hypothesis. One that is stopped is only returned
            if there is no other.
        cancelled: Asked before every step.

    Returns:
        The best hypothesis of each prompt, with up to ``width - 1`` others as its ``alternatives``.
        Log-probabilities are the model's own, without hot words.

    Raises:
        OptionError: As `greedy`, or a width below 1.
        ModelError: As `greedy`.
    """
    if width < 1:
        raise OptionError(f"the beam's width is {width}; it must be at least 1")
    if not prompts:
        return []
    check_stop_ids(engine, stop_ids)
    stops = np.flatnonzero(np.isin(engine.output_ids, np.fromiter(stop_ids, dtype=np.int64)))
    settings = _Settings(width, length_penalty, engine.output_ids, stops, guards, hot_words)
    limits = token_limits(engine, prompts, max_new_tokens)
    clips = [
        _Clip(len(prompt.audio), limit, settings)
        for prompt, limit in zip(prompts, limits, strict=True)
    ]
    state = engine.start(prompts, max(limits))
    while True:
        kept = _wanted(clips, cancelled_rows(cancelled, len(clips)))
        if not kept:
            break
        if len(kept) < len(state.logits):
            state = engine.select(state, np.array(kept))
        tokens = [beam.tokens for clip in clips for beam in clip.live]
        logits = np.array(state.logits, dtype=np.float32)
        seen = SearchState(engine.output_ids, tokens, [False] * len(tokens))
        for rule in rules:
            rule.apply(logits, seen)
        logprobs = _log_softmax(logits)
        for ban in bans:
            ban.apply(logprobs, seen)
        rows: list[int] = []
        first = 0
        for clip in clips:
            count = len(clip.live)
            if count:
                rows += [first + row for row in clip.advance(logprobs[first : first + count])]
                first += count
        if not rows:
            break
        latest = [beam.tokens[-1] for clip in clips for beam in clip.live]
        state = engine.step(engine.select(state, np.array(rows)), np.array(latest))
    return [clip.result() for clip in clips]


def _wanted(clips: Sequence[_Clip], gone: Sequence[bool]) -> list[int]:
    """End the clips that are gone; the rows of those that go on."""
    kept: list[int] = []
    first = 0
    for clip, left in zip(clips, gone, strict=True):
        count = len(clip.live)
        if left:
            clip.cancel()
        else:
            kept += range(first, first + count)
        first += count
    return kept


def _log_softmax(logits: FloatArray) -> FloatArray:
    """Log-probabilities ``[rows, columns]``.

    Raises:
        ModelError: They are not finite.
    """
    top = logits.max(axis=1, keepdims=True)
    with np.errstate(invalid="ignore", over="ignore"):
        shifted = logits - top
        total = np.exp(shifted).sum(axis=1, dtype=np.float64, keepdims=True)
    if not np.isfinite(total).all():
        raise ModelError("the model's logits are not finite; its weights are damaged, or need fp32")
    logprobs: FloatArray = (shifted - np.log(total)).astype(np.float32)
    return logprobs


def _largest(scores: NDArray[np.float64], count: int) -> list[int]:
    """Flat places of the largest, largest first; equal ones in their own order."""
    flat = scores.ravel()
    # As many heaps have such a largest value or a larger one; so no smaller value is among them.
    heaps = len(flat) // _HEAP
    tops = flat[: heaps * _HEAP].reshape(_HEAP, heaps).max(axis=0)
    least = np.partition(tops, -count)[-count] if count < heaps else -np.inf
    places = np.flatnonzero(flat >= least)
    order = np.argsort(-flat[places], kind="stable")[:count]
    return [int(place) for place in places[order]]
