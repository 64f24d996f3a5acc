"""Whisper's English normaliser, with which the Open ASR Leaderboard compares texts.

Radford et al., "Robust Speech Recognition via Large-Scale Weak Supervision" (2022), appendix C. The
package whisper-normalizer holds it; four contractions that later releases of the package added are
taken out again, because neither Whisper nor the leaderboard has them.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

from ark_asr.errors import MissingExtraError

_ADDED = (r"\bkinda\b", r"\bsorta\b", r"\bdunno\b", r"\bcause\b")


@cache
def whisper_normaliser() -> Callable[[str], str]:
    """The normaliser: any text to lower-case words, numbers as figures.

    Raises:
        MissingExtraError: The extra ``eval`` is not installed.
    """
    try:
        from whisper_normalizer.english import EnglishTextNormalizer
    except ModuleNotFoundError:
        raise MissingExtraError("the scheme 'leaderboard'", "eval") from None
    normaliser = EnglishTextNormalizer()
    for pattern in _ADDED:
        normaliser.replacers.pop(pattern, None)

    def normalise(text: str) -> str:
        return str(normaliser(text)).strip()

    return normalise
