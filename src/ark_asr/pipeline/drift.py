"""What a clip's neighbours say about it: context to go on from, and language drift.

A model without a language input can fall into another language, or translate. Between scripts
(Korean talk, one clip in Latin letters) that can be seen in the text; between languages that share
a script it cannot, and is not claimed.
"""

from __future__ import annotations

import unicodedata
from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass, replace

from ark_asr.decoding.text import clean
from ark_asr.models.tokenizer import TextCodec
from ark_asr.pipeline.listener import Heard
from ark_asr.pipeline.mending import Mender
from ark_asr.types import Audio, Segment

# A name or an abbreviation in foreign letters is no drift.
_LEAST_LETTERS = 12
_LETTERS_IN = {"CJK": 4, "HANGUL": 4}  # an ideograph or a syllable says as much as so many letters
_SAME = {"HIRAGANA": "CJK", "KATAKANA": "CJK"}  # one language mixes them
# So many clips on either side are asked, and so many must agree.
_NEIGHBOURS = 3
_LEAST_WITNESSES = 2
# Tokens of a neighbour's answer that the retry goes on from.
_CONTEXT = 32


@dataclass(frozen=True, slots=True)
class Said:
    """An answer that later clips can look back at.

    Attributes:
        text: Cleaned.
        token_ids: As the model chose them.
    """

    text: str
    token_ids: tuple[int, ...]


class Neighbours:
    """Follows the clips of one recording, in order.

    Args:
        mender: Hears a clip again.
        tokenizer: Of the same model.
        retry: Whether to try a clip that drifted again; if not, drift is only reported.

    Attributes:
        said: The latest answers without trouble, oldest first.
    """

    def __init__(self, mender: Mender, tokenizer: TextCodec, *, retry: bool = True) -> None:
        self._mender = mender
        self._tokenizer = tokenizer
        self._retry = retry
        self.said: deque[Said] = deque(maxlen=_NEIGHBOURS)

    def context(self, count: int) -> tuple[int, ...]:
        """Up to ``count`` ids for the next answer to go on from."""
        return self.said[-1].token_ids[-count:] if count and self.said else ()

    def follow(self, pieces: Sequence[Audio], found: Sequence[list[Heard]]) -> list[list[Heard]]:
        """The next clips and what was understood of them; those that drifted are mended."""
        first = len(self.said)
        answers = [*self.said, *map(self._answer, found)]
        result = []
        for at, (piece, parts) in enumerate(zip(pieces, found, strict=True), start=first):
            near = drift_from([answer.text for answer in answers], at)
            if near is not None:
                parts = self._mend(piece, parts, answers[near])  # noqa: PLW2901
                answers[at] = self._answer(parts)
            result.append(parts)
        self.said.extend(
            answer
            for answer, parts in zip(answers[first:], result, strict=True)
            if answer.text and not any(heard.hypothesis.trouble for heard in parts)
        )
        return result

    def _mend(self, piece: Audio, parts: list[Heard], near: Said) -> list[Heard]:
        if self._retry:
            again = self._mender.again(piece, said=near.token_ids[-_CONTEXT:])
            healthy = again.hypothesis.stop == "end" and again.hypothesis.trouble is None
            if healthy and script_of(self._answer([again]).text) == script_of(near.text):
                return [replace(again, mended="drift")]
        return [_with_drift(heard) for heard in parts]

    def _answer(self, parts: Sequence[Heard]) -> Said:
        ids = [heard.hypothesis.token_ids for heard in parts]
        text = " ".join(clean(self._tokenizer.decode(each)) for each in ids)
        return Said(text.strip(), ids[-1])


def _with_drift(heard: Heard) -> Heard:
    if heard.hypothesis.trouble is not None:
        return heard
    return replace(heard, hypothesis=replace(heard.hypothesis, trouble="drift"), mended=None)


def drift_from(texts: Sequence[str], at: int) -> int | None:
    """If one of a row of texts is not in its neighbours' script: the nearest of those that are.

    Args:
        texts: Of clips that follow each other.
        at: Index of the text in question; the result is an index too.
    """
    own = script_of(texts[at])
    before = range(at - 1, max(at - 1 - _NEIGHBOURS, -1), -1)
    after = range(at + 1, min(at + 1 + _NEIGHBOURS, len(texts)))
    nearest: list[int] = sorted([*before, *after], key=lambda other: abs(other - at))
    scripts = {other: script_of(texts[other]) for other in nearest}
    votes = Counter(filter(None, scripts.values()))
    if own is None or not votes:
        return None
    (script, count), *_ = votes.most_common(1)
    if count < _LEAST_WITNESSES or count <= votes[own]:
        return None
    return next(other for other in nearest if scripts[other] == script)


def flag_drift(segments: Sequence[Segment]) -> list[Segment]:
    """The segments of one recording; those that drifted have the flag, and are not tried again."""
    texts = [segment.text for segment in segments]
    return [
        replace(segment, flags=("drift", *segment.flags))
        if drift_from(texts, at) is not None and not segment.flags
        else segment
        for at, segment in enumerate(segments)
    ]


def script_of(text: str) -> str | None:
    """The script of most letters of a text, by the first word of their Unicode names.

    ``None`` if there are too few letters to tell.
    """
    counts: Counter[str] = Counter()
    for character in filter(str.isalpha, text):
        name = unicodedata.name(character, "?").split(" ")[0].split("-")[0]
        script = _SAME.get(name, name)
        counts[script] += _LETTERS_IN.get(script, 1)
    return counts.most_common(1)[0][0] if counts.total() >= _LEAST_LETTERS else None
