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
_NO_SPACES = re.compile("[\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff]")
_APOSTROPHES = str.maketrans("\u2019\u02bc\u2018`", "''''")
_LONE_MARK = re.compile(r"(?<!\w)'+|'+(?!\w)|(?<!\d)\.|\.(?!\d)")


def published(text: str) -> str:
    """The cleaning of the published evaluation script."""
    text = text.translate(_FULL_WIDTH).strip().lower().translate(_PUBLISHED)
    return " ".join(text.split())


def has_cjk(text: str) -> bool:
    """Whether the published script scores a reference by characters: Han, kana or hangul."""
    return _CJK.search(text) is not None


def plain(text: str, spelling: Spelling = ANY) -> str:
    """Compatibility forms (full width), lower case, no punctuation but apostrophes in words.

    A language's own rules come on top, and keep the dot within a number.
    """
    text = unicodedata.normalize("NFKC", text).lower().translate(_APOSTROPHES)
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
