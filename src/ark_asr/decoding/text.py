"""From the decoder's words to the reader's.

The rules are those of the published inference scripts (cut at the end of the turn, ``<|text|>``,
codec markers, white space, a leading run of punctuation), with two differences, both on purpose:

- a leading minus stays when a number follows it ("-5 degrees"), where the published rule strips it;
- every ``<|...|>`` marker is taken out, not only those of a list: none of them is ever spoken.
"""

from __future__ import annotations

import re

from ark_asr.models.tokenizer import ASSISTANT, END_OF_TEXT, IM_END, IM_START, SYSTEM, USER

# Anything after one of these is a new turn or padding, not this answer.
_TURN = re.compile(
    "|".join(map(re.escape, (USER, ASSISTANT, SYSTEM, IM_START, IM_END, END_OF_TEXT)))
)
_TEXT = "<|text|>"
_MARKER = re.compile(r"<\|[^\s<>|]*\|>")
_PART = re.compile(r"\S+")
_LEADING = re.compile(r"\A(?:[\s,.;:!?]|-(?!\.?\d))+")


def clean(raw_text: str) -> str:
    """The text of an answer, given the decoder's own words with control tokens spelled out.

    Never raises, and cleaning twice changes nothing more.
    """
    return " ".join(raw_text[first:end] for first, end in kept(raw_text))


def kept(raw_text: str) -> list[tuple[int, int]]:
    """The parts of an answer that `clean` keeps and joins by single spaces, as ``(first, end)``."""
    turn = _TURN.search(raw_text)
    end = turn.start() if turn else len(raw_text)
    begin = raw_text.find(_TEXT, 0, end)
    begin = 0 if begin < 0 else begin + len(_TEXT)
    # Spaces, not nothing: what stood on either side must not join into a new marker.
    text = " " * begin + _MARKER.sub(lambda m: " " * len(m[0]), raw_text[begin:end])
    leading = _LEADING.match(text)
    return [m.span() for m in _PART.finditer(text, leading.end() if leading else 0)]
