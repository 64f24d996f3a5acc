"""How subtitles and documents are laid out; the defaults suit most recordings."""

from __future__ import annotations

import math
from dataclasses import dataclass

from ark_asr.errors import OptionError
from ark_asr.kinds import Checked, shown


@dataclass(frozen=True, slots=True)
class SubtitleOptions(Checked):
    """Line rules of srt, vtt and lrc.

    Widths are counted in columns: a wide East Asian character takes two, a combining mark none.

    Attributes:
        max_line_width: Columns of a line; a longer word is cut.
        max_line_count: Lines of a cue; lrc always has one.
        min_cue_duration: Seconds; kept where the pause after the words allows it.
        max_cue_duration: Seconds; always kept.
        max_chars_per_second: Columns per second of reading; kept where the speaker allows it.
        highlight_words: srt and vtt: each cue once per word, which is underlined.
        karaoke: vtt and lrc: the time of each word stands within the line.

    Raises:
        OptionError: A value makes no sense, or both ways to show words were asked for.
    """

    max_line_width: int = 42
    max_line_count: int = 2
    min_cue_duration: float = 1.0
    max_cue_duration: float = 7.0
    max_chars_per_second: float = 20.0
    highlight_words: bool = False
    karaoke: bool = False

    def __post_init__(self) -> None:
        Checked.__post_init__(self)
        self._at_least("max_line_width", 10)
        self._at_least("max_line_count", 1)
        self._at_least("min_cue_duration", 0)
        self._at_least("max_cue_duration", 0.1)
        self._at_least("max_chars_per_second", 1)
        if self.min_cue_duration > self.max_cue_duration:
            raise OptionError(
                f"min_cue_duration {self.min_cue_duration:g} s is more than "
                f"max_cue_duration {self.max_cue_duration:g} s"
            )
        if self.highlight_words and self.karaoke:
            raise OptionError("highlight_words and karaoke both mark the word; choose one")

    def _at_least(self, name: str, least: float) -> None:
        value = getattr(self, name)
        if not least <= value < math.inf:
            raise OptionError(f"{name} is {shown(value)}; it must be {least:g} or more")


@dataclass(frozen=True, slots=True)
class DocumentOptions(Checked):
    """Layout of md and docx.

    Attributes:
        heading_pause: Seconds of silence after which a new section begins.
        paragraph_duration: Seconds after which a paragraph ends at the next full stop.
        doubt_below: Words of a lower confidence are marked.

    Raises:
        OptionError: A value makes no sense.
    """

    heading_pause: float = 3.0
    paragraph_duration: float = 45.0
    doubt_below: float = 0.5

    def __post_init__(self) -> None:
        Checked.__post_init__(self)
        for name in ("heading_pause", "paragraph_duration"):
            if not getattr(self, name) >= 0:  # nor is it nan
                raise OptionError(f"{name} is {shown(getattr(self, name))}; it must be 0 or more")
        if not 0 <= self.doubt_below <= 1:
            raise OptionError(f"doubt_below is {shown(self.doubt_below)}; it must be 0 to 1")

    def doubts(self, confidence: float | None) -> bool:
        """Whether a word of this confidence is marked; never where it is not known."""
        return confidence is not None and confidence < self.doubt_below
