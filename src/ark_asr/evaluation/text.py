"""Small steps from a text to what is compared; schemes put them together."""

from __future__ import annotations

import re
import unicodedata

from ark_asr.evaluation.languages import ANY, Spelling

# Those of the published evaluation. Full-width semicolons and curly quotes are not among them; the
# full-width colon is mapped to the ASCII one first.
_PUBLISHED_MARKS = "，。！？、,.!?;:\"'（）()【】[]<>《》{}…—-~·`@#$%^&*_+=|\\/"  # noqa: RUF001
_PUBLISHED = str.maketrans("", "", _PUBLISHED_MARKS)
_FULL_WIDTH = str.maketrans("０１２３４５６７８９％．－＋＝：／", "0123456789%.-+=:/")  # noqa: RUF001
_CJK = re.compile("[\u4e00-\u9fff\u3040-\u30ff\uac00-\ud7af]")
# Written without spaces: every character counts as a word. Korean has spaces, so it is not here.
_NO_SPACES = re.compile(
    "[\u3005-\u3007\u3040-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
    "\U00020000-\U0003ffff]"
)
_APOSTROPHES = str.maketrans("\u2019\u02bc\u2018`", "''''")
# Unseen and unheard wherever they stand: soft hyphen, joiners, marks of direction, byte order mark,
# variation selectors, tags. The zero-width space (U+200B) is none of them: it is put between words.
_UNSEEN = re.compile(
    "[\u00ad\u034f\u061c\u180b-\u180f\u200c-\u200f\u202a-\u202e\u2060-\u206f\ufe00-\ufe0f\ufeff"
    "\U000e0000-\U000e0fff]"
)
_LONE_MARK = re.compile(r"(?<!\w)'+|'+(?!\w)|(?<!\d)\.|\.(?!\d)")


def published(text: str) -> str:
    """The cleaning of the published evaluation script."""
    text = text.translate(_FULL_WIDTH).strip().lower().translate(_PUBLISHED)
    return " ".join(text.split())


def has_cjk(text: str) -> bool:
    """Whether the published script scores a reference by characters: Han, kana or hangul."""
    return _CJK.search(text) is not None


def without_unseen(text: str) -> str:
    """The text without the characters that are neither seen nor heard; they part no words."""
    return _UNSEEN.sub("", text)


def plain(text: str, spelling: Spelling = ANY) -> str:
    """Compatibility forms (full width), lower case, no punctuation but apostrophes in words.

    A language's own rules come on top, and keep the dot within a number.

    What is neither seen nor heard is left out and parts no words: a soft hyphen, the joiner and
    non-joiner within words of Persian or Hindi, the variation selector behind an emoji. Only the
    zero-width space does, which stands between words where no other space does (Khmer, Thai).
    Whisper's published ``BasicTextNormalizer`` keeps soft hyphen, joiners and zero-width space in
    the word, so that it differs from the same word without one, which nobody can hear; and it
    makes a space of a selector, as of every combining mark.
    """
    text = unicodedata.normalize("NFKC", without_unseen(text)).lower().translate(_APOSTROPHES)
    text = spelling.numbers(text.translate(spelling.letters))
    kept = "." if spelling.elides else "'."
    text = "".join(c if c in kept or unicodedata.category(c)[0] in "LMN" else " " for c in text)
    return " ".join(_LONE_MARK.sub(" ", text).split())


def words(text: str) -> list[str]:
    """Words; each Han character and kana is one of its own."""
    return _NO_SPACES.sub(lambda match: f" {match[0]} ", text).split()


def characters(text: str) -> list[str]:
    """Characters without spaces."""
    return list("".join(text.split()))
