"""Transcripts for tests of formats, made by hand and by hypothesis."""

from __future__ import annotations

from hypothesis import strategies as st

from ark_asr.types import Alternative, Segment, Timings, Transcript, Word

# Latin, German, Chinese, Japanese, Korean, Arabic, Thai, punctuation, markup, a flag of two signs.
LETTERS = "abcdeé-'äß你好声ガーッ한국مرحباสวัสดี.,!?。、「」<>&*_#[]|`$🇫🇷e\u0301"
ALTERNATIVES = st.lists(
    st.builds(Alternative, st.text(LETTERS, min_size=1, max_size=9), st.floats(0, 1)), max_size=2
).map(tuple)
SPEAKERS = st.sampled_from([None, None, "Speaker A", "Speaker B", "Prof. O'Neill & Söhne <x>"])


def said(start, end, text, **more):
    return Segment(start, end, text, text + "<|im_end|>", 0.5 if text else None, 3, **more)


def spoken(text, start=0.0, pace=0.1, pause=0.05, confidence=0.9, **more):
    """A segment whose words take `pace` seconds a character."""
    words, at = [], start
    for word in text.split():
        words.append(Word(at, at + pace * len(word), word, confidence))
        at = words[-1].end + pause
    return said(start, at, text, words=tuple(words), **more)


@st.composite
def timed_segments(draw, start=0.0):
    """Segments as the pipeline makes them: ordered words inside, spelling the text."""
    texts = draw(st.lists(st.text(LETTERS, min_size=1, max_size=12), max_size=12))
    gaps = st.one_of(st.just(0.0), st.floats(0, 0.5), st.floats(0, 6))
    at = start + draw(gaps)
    words, text = [], ""
    for part in texts:
        begin = at + draw(gaps)
        at = begin + draw(st.floats(0, 1.5))
        words.append(Word(begin, at, part, draw(st.floats(0, 1)), draw(SPEAKERS)))
        text += draw(st.sampled_from(["", " "])) + part
    return said(
        start,
        at + draw(gaps),
        text.strip(),
        words=tuple(words),
        speaker=draw(SPEAKERS),
        flags=draw(st.sampled_from([(), (), ("length",), ("length", "cancelled")])),
        alternatives=draw(ALTERNATIVES),
    )


@st.composite
def plain_segments(draw, start=0.0):
    """Segments without words."""
    texts = draw(st.lists(st.text(LETTERS, min_size=1, max_size=50), max_size=8))
    end = start + draw(st.floats(0, 60))
    return said(start, end, " ".join(texts), speaker=draw(SPEAKERS))


@st.composite
def transcripts(draw):
    segments, at = [], draw(st.floats(0, 100_000))
    for _ in range(draw(st.integers(0, 3))):
        segment = draw(st.one_of(timed_segments(at), plain_segments(at)))
        segments.append(segment)
        at = segment.end + draw(st.floats(0, 8))
    seconds = st.floats(0, 10_000)
    timings = st.builds(Timings, *[seconds] * 2, st.none() | seconds, *[seconds] * 4)
    names = st.text(LETTERS + " ./", max_size=20)
    return Transcript(
        tuple(segments),
        at,
        draw(names),
        draw(names),
        draw(st.none() | timings),
        tuple(draw(st.lists(st.text(LETTERS + "\n", max_size=30), max_size=2))),
    )


HELLO = spoken("Hello there, Tom.", 0.25, speaker="Speaker A")
TALK = Transcript(
    segments=(
        HELLO,
        said(2.5, 3.0, "", flags=("cancelled",)),
        said(3.0, 4.9996, 'Tom & "Jerry" <b> --> end', flags=("length",)),
    ),
    duration=5.0,
    model="ark-mini",
    source="talk.mp3",
    timings=Timings(audio=5.0, total=0.5, first_text=0.1),
    warnings=("talk.mp3 is damaged at 4.0 s",),
)
EMPTY = Transcript((), 0.0, "ark-mini")
