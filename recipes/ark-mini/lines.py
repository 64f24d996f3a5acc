"""What the synthetic voices say: sentences, parts of them, and generated material."""

# ruff: noqa: SIM905  (word lists read better as one string)

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from texts import LETTERS, ONES, Corpus, Line, cardinal, line_of, ordinal, year

GENERATED_SHARE = 0.25

_MONTHS = (
    "january february march april may june july august september october november december"
).split()
_DAYS = "monday tuesday wednesday thursday friday saturday sunday".split()
_UNITS = "dollars pounds euros percent degrees miles meters minutes hours years people".split()
_THINGS = "light lights lamp heater fan television radio music alarm door".split()
_ROOMS = [
    *"kitchen bedroom bathroom office garage hallway garden basement".split(),
    "living room", "dining room",
]  # fmt: skip


class LineMaker:
    """Draws training lines: whole and partial sentences, and generated material.

    `single` is the share of lines that are one word, half of them a digit, beyond those that the
    other kinds happen to give.
    """

    def __init__(self, corpus: Corpus, single: float = 0.0) -> None:
        self._corpus = corpus
        self._single = single
        self._held = frozenset(line.text for line in corpus.held_out)

    def draw(self, rng: np.random.Generator) -> Line:
        """Draw one training line; never one of the held-out sentences."""
        while True:
            if self._single and rng.random() < self._single:
                line = self._one_word(rng)
            elif rng.random() < GENERATED_SHARE:
                line = self.generated(rng)
            else:
                line = self._sentence(rng)
            if line.text not in self._held:
                return line

    def _sentence(self, rng: np.random.Generator) -> Line:
        words = self._corpus.train[int(rng.integers(len(self._corpus.train)))]
        # Parts of sentences, so that a decoder cannot know the end from the beginning.
        if len(words) > 4 and rng.random() < 0.3:
            size = int(rng.integers(2, len(words)))
            start = int(rng.integers(0, len(words) - size + 1))
            return line_of(words[start : start + size], "part")
        return line_of(words)

    def _one_word(self, rng: np.random.Generator) -> Line:
        if rng.random() < 0.5:
            digit = ONES[int(rng.integers(10))]
            return Line(digit, digit, "digits")
        words = self._corpus.vocabulary
        word = words[int(rng.integers(len(words)))]
        return Line(word, word, "words")

    def generated(self, rng: np.random.Generator) -> Line:
        """Draw digits, numbers, dates, times, letters, commands or loose words."""
        kinds = (
            (_digits, 0.32), (_number, 0.11), (_date, 0.08), (_time, 0.07), (_phone, 0.06),
            (_spelled, 0.10), (_code, 0.05), (_command, 0.10),
        )  # fmt: skip
        mark = rng.random()
        for make, share in kinds:
            if mark < share:
                return make(rng)
            mark -= share
        count = 1 if rng.random() < 0.4 else int(rng.integers(2, 9))
        words = self._corpus.vocabulary
        chosen = [words[int(i)] for i in rng.integers(len(words), size=count)]
        pause = ", " if rng.random() < 0.4 else " "
        return Line(" ".join(chosen), pause.join(chosen), "words")


def halting(line: Line, rng: np.random.Generator) -> Line:
    """The same line read by someone who is not sure: with stops between some of its words."""
    words = line.spoken.split()
    stops = rng.random(len(words)) < rng.uniform(0.1, 0.6)
    heard = [
        w + "," if stop and w[-1].isalpha() else w for w, stop in zip(words, stops, strict=True)
    ]
    return replace(line, spoken=" ".join(heard))


def _pick(rng: np.random.Generator, options: Sequence[str]) -> str:
    return options[int(rng.integers(len(options)))]


def _spoken_digits(rng: np.random.Generator, count: int) -> list[str]:
    return [ONES[d] for d in rng.integers(0, 10, count)]


def _digits(rng: np.random.Generator) -> Line:
    count = 1 if rng.random() < 0.1 else int(rng.integers(2, 11))
    digits = _spoken_digits(rng, count)
    pause = _pick(rng, (" ", " ", ", "))
    return Line(" ".join(digits), pause.join(digits), "digits")


def _phone(rng: np.random.Generator) -> Line:
    groups = [_spoken_digits(rng, int(rng.integers(2, 5))) for _ in range(int(rng.integers(2, 4)))]
    spoken = ", ".join(" ".join(group) for group in groups)
    return Line(spoken.replace(",", ""), spoken, "phone")


def _number(rng: np.random.Generator) -> Line:
    value = int(rng.integers(0, 10 ** int(rng.integers(2, 7))))
    text = cardinal(value)
    style = rng.integers(6)
    if style == 0:
        text = ordinal(value % 100 + 1)
    elif style == 1:
        decimals = " ".join(_spoken_digits(rng, int(rng.integers(1, 4))))
        text = f"{cardinal(value % 1000)} point {decimals}"
    elif style == 2:
        text = f"{cardinal(value % 1000 + 2)} {_pick(rng, _UNITS)}"
    elif style == 3:
        cents = cardinal(int(rng.integers(2, 100)))
        text = f"{cardinal(value % 100 + 2)} dollars and {cents} cents"
    return Line(text, text, "number")


def _date(rng: np.random.Generator) -> Line:
    day, month = ordinal(int(rng.integers(1, 32))), _pick(rng, _MONTHS)
    text = f"{month} {day}" if rng.random() < 0.5 else f"the {day} of {month}"
    if rng.random() < 0.3:
        text = f"{_pick(rng, _DAYS)} {text}"
    if rng.random() < 0.5:
        text += f" {year(int(rng.integers(1700, 2040)))}"
    return Line(text, text, "date")


def _time(rng: np.random.Generator) -> Line:
    hour, minute = cardinal(int(rng.integers(1, 13))), int(rng.integers(0, 60))
    style = rng.integers(4)
    if style == 0:
        text = f"{hour} o'clock"
    elif style == 1:
        part = _pick(rng, ("half past", "quarter past", "quarter to", "ten past", "five to"))
        text = f"{part} {hour}"
    else:
        half = f"{'oh ' if minute < 10 else ''}{cardinal(minute)}" if minute else ""
        text = f"{hour} {half}".strip()
    lead = _pick(rng, ("", "", "at ", "it is ", "wake me up at ", "until "))
    if style != 1 and rng.random() < 0.4:
        text += _pick(rng, (" in the morning", " in the evening", " in the afternoon", " at night"))
    return Line(lead + text, lead + text, "time")


def _spelled(rng: np.random.Generator) -> Line:
    letters = [chr(97 + int(i)) for i in rng.integers(0, 26, int(rng.integers(1, 8)))]
    pause = _pick(rng, (" ", ", "))
    spoken = pause.join(LETTERS[letter] for letter in letters)
    return Line(" ".join(letters), spoken, "letters")


def _code(rng: np.random.Generator) -> Line:
    symbols = [_spelled(rng), _digits(rng)]
    if rng.random() < 0.5:
        symbols.reverse()
    return Line(" ".join(s.text for s in symbols), ", ".join(s.spoken for s in symbols), "code")


def _command(rng: np.random.Generator) -> Line:
    room, thing = _pick(rng, _ROOMS), _pick(rng, _THINGS)
    number = cardinal(int(rng.integers(1, 101)))
    small = cardinal(int(rng.integers(2, 60)))
    text = _pick(
        rng,
        (
            f"turn on the {room} {thing}", f"turn off the {thing} in the {room}",
            f"switch the {room} {thing} on", f"set the {room} {thing} to {number} percent",
            f"set a timer for {small} minutes", f"what is the temperature in the {room}",
            f"open the {room} door", f"close the {room} window", f"is the {room} {thing} on",
            f"volume {number}", f"play some music in the {room}", f"stop the {thing}",
            f"remind me in {small} minutes", f"call number {small}", "what time is it",
            "what is the weather today", f"dim the {room} lights", f"add {small} eggs to my list",
            f"go to page {number}", f"play song {small}", "stop", "yes", "no", "cancel", "pause",
            "next", "go back", "louder", "quieter", "help", "start", "continue", "repeat that",
        ),
    )  # fmt: skip
    return Line(text, text, "command")
