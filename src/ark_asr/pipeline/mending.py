"""Clips that a guard has found fault with are tried again, each time in another way.

The tries for each kind of trouble are those of `_PLANS`, in that order, until one has no trouble.
Of all tries the best is kept: least trouble first (`_SEVERITY`), then the highest mean
log-probability of its tokens.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np

from ark_asr.audio import SpeechDetector, cut, find_speech
from ark_asr.decoding.rules import NoRepeats
from ark_asr.decoding.search import Cancelled
from ark_asr.pipeline.listener import Heard, Listener
from ark_asr.types import Audio, FloatArray, Retry, Trouble

_PLANS: dict[Trouble, tuple[Retry, ...]] = {
    "loop": ("shorter", "no-repeats"),
    "too-many-tokens": ("shorter", "no-repeats"),
    "empty": ("padded", "shorter"),
    "unsure": ("shorter",),
}
_SEVERITY: dict[Trouble | None, int] = {
    None: 0,
    "unsure": 1,
    "drift": 1,
    "too-many-tokens": 2,
    "loop": 2,
    "empty": 3,
}
# What is heard, and whether nobody waits for it any more.
_Way: TypeAlias = Callable[[Heard, Callable[[], bool] | None], Iterator[Heard]]
_LEAST_SECONDS = 2.0  # a shorter clip is not cut once more
_PAD_SECONDS = 0.3


@dataclass(frozen=True, slots=True)
class _Try:
    """One way to understand a clip: as one piece, or as several that follow each other."""

    pieces: Sequence[Heard]

    @property
    def badness(self) -> tuple[int, float]:
        """Less is better."""
        logprobs = [value for heard in self.pieces for value in heard.hypothesis.logprobs]
        doubt = -sum(logprobs) / len(logprobs) if logprobs else np.inf
        return max(_SEVERITY[heard.hypothesis.trouble] for heard in self.pieces), doubt

    @property
    def cancelled(self) -> bool:
        return any(heard.hypothesis.stop == "cancelled" for heard in self.pieces)

    @property
    def healthy(self) -> bool:
        return all(heard.hypothesis.trouble is None for heard in self.pieces)


class Mender:
    """Hears clips, and hears them again where that is needed.

    Args:
        listener: What hears them.
        most_seconds: The longest clip that the model takes.
        retry: Whether to try again at all; if not, trouble is only reported.
    """

    def __init__(self, listener: Listener, most_seconds: float, *, retry: bool = True) -> None:
        self._listener = listener
        self._most_seconds = most_seconds
        self._retry = retry
        self._detector: SpeechDetector | None = None
        self._tries: dict[Retry, _Way] = {
            "shorter": self._shorter,
            "padded": self._padded,
            "no-repeats": self._no_repeats,
        }

    def hear(
        self,
        pieces: Sequence[Audio],
        *,
        said: Sequence[int] = (),
        draft: Sequence[int] = (),
        cancelled: Sequence[Callable[[], bool]] | None = None,
    ) -> list[list[Heard]]:
        """Understand pieces together.

        Args:
            pieces: Each short enough for the model.
            said: Ids with which every first answer begins.
            draft: Ids that may follow in the first answer to one piece; see `Listener.hear`.
            cancelled: For each piece, whether nobody waits for it any more; see `greedy`.

        Returns:
            For each piece what became of it: itself, or the parts it was cut into.
        """
        heard = self._once(pieces, said=said, draft=draft, cancelled=cancelled)
        asks: Sequence[Callable[[], bool] | None] = cancelled or [None for _ in heard]
        return [self._mend(one, gone) for one, gone in zip(heard, asks, strict=True)]

    def again(self, piece: Audio, *, said: Sequence[int]) -> Heard:
        """Understand a piece once more, going on from what was said before it."""
        (heard,) = self._once([piece], said=said)
        return replace(heard, retry="context")

    def _mend(self, first: Heard, gone: Callable[[], bool] | None) -> list[Heard]:
        trouble = first.hypothesis.trouble
        best = _Try([first])
        if trouble is None or not self._retry:
            return [first]
        for retry in _PLANS[trouble]:
            found = _Try([replace(heard, retry=retry) for heard in self._tries[retry](first, gone)])
            if found.cancelled:
                break
            if found.pieces and found.badness < best.badness:
                best = found
            if best.healthy:
                break
        return [
            replace(heard, mended=trouble if heard.retry and not heard.hypothesis.trouble else None)
            for heard in best.pieces
        ]

    def _once(
        self,
        pieces: Sequence[Audio],
        *,
        said: Sequence[int] = (),
        draft: Sequence[int] = (),
        cancelled: Cancelled | None = None,
    ) -> list[Heard]:
        found = self._listener.hear(pieces, said=said, draft=draft, cancelled=cancelled)
        return [self._judged(heard) for heard in found]

    def _judged(self, heard: Heard) -> Heard:
        """No words are no trouble where nobody speaks."""
        if heard.hypothesis.trouble != "empty" or self._is_speech(heard.audio):
            return heard
        return replace(heard, hypothesis=replace(heard.hypothesis, trouble=None))

    def _is_speech(self, audio: Audio) -> bool:
        self._detector = self._detector or SpeechDetector()
        return bool(find_speech([audio], detector=self._detector))

    def _shorter(self, heard: Heard, gone: Callable[[], bool] | None) -> Iterator[Heard]:
        """Cut at the quietest point of the clip's middle third."""
        audio = heard.audio
        if audio.duration >= _LEAST_SECONDS:
            parts = list(cut([audio], audio.duration * 2 / 3, vad=False))
            yield from self._once(parts, cancelled=gone)

    def _padded(self, heard: Heard, gone: Callable[[], bool] | None) -> Iterator[Heard]:
        """With a little silence at either end."""
        audio = heard.audio
        count = round(_PAD_SECONDS * audio.sample_rate)
        padding = count / audio.sample_rate
        if audio.duration + 2 * padding <= self._most_seconds:
            samples: FloatArray = np.pad(audio.samples, count)
            padded = Audio(samples, audio.sample_rate, audio.start - padding)
            for found in self._once([padded], cancelled=gone):
                yield replace(found, padding=padding)

    def _no_repeats(self, heard: Heard, gone: Callable[[], bool] | None) -> Iterator[Heard]:
        """With a rule against saying the same again."""
        if not self._listener.takes_rules:
            return
        (hypothesis,) = self._listener.search(
            [heard.embeddings], bans=[NoRepeats()], cancelled=gone
        )
        yield self._judged(replace(heard, hypothesis=hypothesis, said=()))
