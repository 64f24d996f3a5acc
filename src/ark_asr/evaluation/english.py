"""English words as they are compared: contractions, fillers, spellings and numbers made alike.

In the manner of the normaliser that OpenAI published with Whisper, but of our own writing and much
smaller, so its numbers are not those of a leaderboard.
"""

from __future__ import annotations

import re

from ark_asr.evaluation.text import plain, without_unseen

_BRACKETS = re.compile(r"\[[^\]]*\]|\([^)]*\)|<[^>]*>")
_FILLERS = frozenset({"hmm", "mm", "mhm", "mmm", "uh", "uhm", "um", "erm", "er", "ah"})
_THOUSANDS = re.compile(r"(?<=\d),(?=\d{3}\b)")
_DECIMALS = re.compile(r"(?<=\d)\.(\d+)")  # which are read one by one
# Not "£20m" and the like, in which the letter is a part of the number.
_AMOUNT = r"\s*(\d[\d.]*+(?:\s(?:thousand|million|billion)\b)?+)(?!\w)"
_SYMBOLS = (
    *(
        (re.compile(re.escape(symbol) + _AMOUNT, re.IGNORECASE), rf"\1 {word}")
        for symbol, word in (("$", "dollars"), ("£", "pounds"), ("€", "euros"))
    ),
    (re.compile(r"(\d)\s*%"), r"\1 percent"),
    (re.compile(r"&"), " and "),
)
_WHOLE = {
    "won't": "will not", "can't": "can not", "cannot": "can not", "let's": "let us",
    "ain't": "is not", "y'all": "you all", "gonna": "going to", "wanna": "want to",
    "gotta": "got to", "mr": "mister", "mrs": "missus", "dr": "doctor", "st": "saint",
    "prof": "professor", "ok": "okay", "o'clock": "oclock",
}  # fmt: skip
_ENDINGS = {"n't": "not", "'re": "are", "'ve": "have", "'ll": "will", "'m": "am", "'d": "would"}
_SPELLINGS = {
    "colour": "color", "favour": "favor", "honour": "honor", "labour": "labor",
    "neighbour": "neighbor", "behaviour": "behavior", "flavour": "flavor", "humour": "humor",
    "centre": "center", "theatre": "theater", "metre": "meter", "litre": "liter",
    "grey": "gray", "defence": "defense", "offence": "offense", "programme": "program",
    "travelling": "traveling", "travelled": "traveled", "realise": "realize",
    "organise": "organize", "recognise": "recognize", "apologise": "apologize",
    "organisation": "organization", "cheque": "check", "tyre": "tire", "catalogue": "catalog",
    "dialogue": "dialog", "plough": "plow", "mum": "mom", "whisky": "whiskey",
}  # fmt: skip
_UNIT_WORDS = (
    "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven",
    "twelve", "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen",
)  # fmt: skip
_TEN_WORDS = ("twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")
_UNITS = {word: value for value, word in enumerate(_UNIT_WORDS)}
_TENS = {word: 10 * value for value, word in enumerate(_TEN_WORDS, 2)}
_SCALES = {"thousand": 10**3, "million": 10**6, "billion": 10**9}


def english(text: str) -> str:
    """See the module."""
    text = _THOUSANDS.sub("", _BRACKETS.sub(" ", without_unseen(text)))
    for pattern, words in _SYMBOLS:
        text = pattern.sub(words, text)
    text = _DECIMALS.sub(lambda match: f" point {' '.join(match[1])}", text)
    found: list[str] = []
    for word in plain(text).split():
        if word not in _FILLERS:
            found += _expand(word).split()
    return " ".join(numbers(found))


def _expand(word: str) -> str:
    if word in _WHOLE:
        return _WHOLE[word]
    for ending, full in _ENDINGS.items():
        if word.endswith(ending) and len(word) > len(ending):
            return f"{word.removesuffix(ending)} {full}"
    stem = word.removesuffix("s")
    if stem != word and stem in _SPELLINGS:
        return _SPELLINGS[stem] + "s"
    return _SPELLINGS.get(word, word)


def numbers(words: list[str]) -> list[str]:
    """Cardinals in words become figures: "two hundred and five" is "205", "one two" is "1 2"."""
    found: list[str] = []
    at = 0
    while at < len(words):
        value, length = _cardinal(words, at)
        found.append(words[at] if value is None else str(value))
        at += length
    return found


def _cardinal(words: list[str], at: int) -> tuple[int | None, int]:
    """Value and number of words of the longest cardinal that begins there."""
    total, scale, here, end = 0, 10**12, at, at
    while True:
        value, length = _below_thousand(words, here)
        if value is None:
            break
        after = words[here + length] if here + length < len(words) else ""
        if after not in _SCALES:
            return total + value, here + length - at
        if not 0 < _SCALES[after] < scale:
            break
        scale = _SCALES[after]
        total += value * scale
        end = here = here + length + 1
        # "a thousand and one": the "and" belongs to it only if the number behind it does.
        here += words[end : end + 1] == ["and"]
    return (total, end - at) if end > at else (None, 1)


def _below_thousand(words: list[str], at: int) -> tuple[int | None, int]:
    rest, length = _below_hundred(words, at)
    if rest is None or not 0 < rest < 10 or words[at + length : at + length + 1] != ["hundred"]:
        return rest, length
    total, length = rest * 100, length + 1
    skip = int(words[at + length : at + length + 1] == ["and"])
    more, count = _below_hundred(words, at + length + skip)
    whole = length + skip + count
    # "one hundred and two hundred" are two numbers.
    if more is None or words[at + whole : at + whole + 1] == ["hundred"]:
        return total, length
    return total + more, whole


def _below_hundred(words: list[str], at: int) -> tuple[int | None, int]:
    word = words[at] if at < len(words) else ""
    if word in _UNITS:
        return _UNITS[word], 1
    if word not in _TENS:
        return None, 1
    unit = _UNITS.get(words[at + 1], 0) if at + 1 < len(words) else 0
    return (_TENS[word] + unit, 2) if 0 < unit < 10 else (_TENS[word], 1)
