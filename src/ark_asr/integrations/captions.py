"""Captions of sound that comes in windows of half a second to three seconds, as in cf-voice.

A window is too short to be understood alone: words are cut at both its ends. So all windows of a
session go into one live session, which hears whole utterances, and after each window its captions
are read off once. Around it stand the guards that cf-voice has around Whisper.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ark_asr.integrations.sound import RATE, rms
from ark_asr.pipeline import LiveSession
from ark_asr.types import FloatArray, LiveEvent, LiveOptions, Word

# The four guards of cf-voice, with its values.
LEAST_SECONDS = 0.3
LEAST_RMS = 0.005
MOST_REPEATS = 2
NO_WORDS = frozenset({"ty", "t y", "bye", "hmm", "mm", "mhm", "uh", "um"})

# Looks between windows would show nobody anything: `LiveSession.look` is called after each.
OPTIONS = LiveOptions(step=1e6)


@dataclass(frozen=True, slots=True)
class Caption:
    """What stands to be read after a window.

    Attributes:
        text: The utterance that is going on, so far; the next caption takes its place.
        final: The utterance is over: its words stay, the next caption is of another one.
        end: Where it ends, seconds from the start of the session.
        confidence: 0 to 1.
        words: Of a final caption, with their times if the session gives words theirs.
    """

    text: str
    final: bool
    end: float
    confidence: float
    words: tuple[Word, ...] = ()


class Captions:
    """One session.

    Args:
        live: Made with `OPTIONS`.
    """

    def __init__(self, live: LiveSession) -> None:
        self._live = live
        self._held = np.empty(0, np.float32)
        self._shown = ""
        self._last = ""
        self._repeats = 0

    @property
    def position(self) -> float:
        """Seconds of sound that have come, held back or heard."""
        return self._live.position + len(self._held) / RATE

    def hear(self, samples: FloatArray, *, waiting: float = 0.0) -> Caption | None:
        """The next window.

        Less than `LEAST_SECONDS` is held back until there is more. What is quieter than `LEAST_RMS`
        is heard as silence, which ends utterances.

        Args:
            samples: float32 ``[n]``, 16 kHz mono; they follow the previous ones.
            waiting: Seconds of sound that have arrived behind them.

        Returns:
            What is to be read now; ``None`` if that has not changed.
        """
        held = np.concatenate([self._held, samples])
        if len(held) < LEAST_SECONDS * RATE:
            self._held = held
            return None
        self._held = held[:0]
        window = held if rms(held) >= LEAST_RMS else np.zeros_like(held)
        events = self._live.feed(window, waiting=waiting)
        return self._caption([*events, *self._live.look()])

    def finish(self) -> Caption | None:
        """No more sound comes: the end of the utterance that was going on."""
        events = self._live.feed(self._held)
        self._held = self._held[:0]
        return self._caption([*events, *self._live.finish()])

    def _caption(self, events: list[LiveEvent]) -> Caption | None:
        # Who shows but the latest caption would never show the end of an utterance if the first
        # words of the next one came with it.
        finals = [event for event in events if event.kind == "final" and event.text]
        partials = [event for event in events if event.kind == "partial"]
        shown = finals or partials[-1:]
        text = " ".join(event.text for event in shown)
        if not text or self._is_nothing(text, final=bool(finals)):
            return None
        self._shown = "" if finals else text
        return Caption(
            text,
            bool(finals),
            shown[-1].end,
            min(event.confidence or 0.0 for event in shown),
            tuple(word for event in finals for one in event.segments for word in one.words),
        )

    def _is_nothing(self, text: str, *, final: bool) -> bool:
        """Whether a text is a noise, a loop, or what stands there already."""
        if _plain(text) in NO_WORDS or (text == self._shown and not final):
            return True
        repeats = self._repeats + 1 if text == self._last else 1
        if final:
            self._last, self._repeats = text, repeats
        return repeats > MOST_REPEATS


def _plain(text: str) -> str:
    """Without case and punctuation."""
    letters = "".join(mark if mark.isalnum() else " " for mark in text.lower())
    return " ".join(letters.split())
