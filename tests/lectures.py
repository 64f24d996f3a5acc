"""A transcript for tests of the web page."""

from __future__ import annotations

import json
from dataclasses import replace

from ark_asr.types import Segment, Transcript, Word
from ark_asr.writers import get_writer


def lecture():
    """Three paragraphs of ten seconds; "Rome" is doubtful, the last one has no word times."""
    roads = _spoken(4.0, 6.0, "all roads lead to Rome")
    doubtful = replace(roads, words=(*roads.words[:-1], Word(5.6, 5.9, "Rome", 0.2)))
    last = replace(_spoken(6.5, 9.0, "let us begin."), words=())
    segments = (_spoken(0.5, 3.0, "Good morning, everyone"), doubtful, last)
    return Transcript(segments, 10.0, "ark-mini", "lecture.wav")


def record(transcript):
    """As the server gives it."""
    return json.loads(get_writer("json").render(transcript))


def _spoken(start, end, text):
    parts = text.split()
    step = (end - start) / len(parts)
    words = tuple(
        Word(round(start + at * step, 3), round(start + (at + 0.8) * step, 3), part, 0.9)
        for at, part in enumerate(parts)
    )
    return Segment(start, end, text, text, 0.8, len(parts), (), words)
