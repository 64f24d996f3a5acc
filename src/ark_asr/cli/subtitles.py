"""The options of subtitles, the same for every verb that writes some."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from ark_asr.errors import OptionError

if TYPE_CHECKING:
    from ark_asr.writers import SubtitleOptions

# The defaults are those of SubtitleOptions; a test compares them. Importing it would slow --help.
MaxLineWidth = Annotated[
    int | None,
    typer.Option(metavar="N", help="Subtitles: columns of a line. [default: 42]"),
]
MaxLineCount = Annotated[
    int | None, typer.Option(metavar="N", help="Subtitles: lines of a cue. [default: 2]")
]
MinCueDuration = Annotated[
    float | None,
    typer.Option(metavar="SECONDS", help="Subtitles: where pauses allow it. [default: 1]"),
]
MaxCueDuration = Annotated[
    float | None, typer.Option(metavar="SECONDS", help="Subtitles: always kept. [default: 7]")
]
MaxCharsPerSecond = Annotated[
    float | None,
    typer.Option(metavar="N", help="Subtitles: where the speaker allows it. [default: 20]"),
]
HighlightWords = Annotated[
    bool,
    typer.Option("--highlight-words", help="srt, vtt: underline each word while it is spoken."),
]
Karaoke = Annotated[
    bool, typer.Option("--karaoke", help="vtt, lrc: the time of each word within its line.")
]

_LINE_RULES = ("srt", "vtt", "lrc")
# Those that not all of them can follow: a line of lrc stands alone.
_FEWER = {
    "max_line_count": ("srt", "vtt"),
    "highlight_words": ("srt", "vtt"),
    "karaoke": ("vtt", "lrc"),
}


@dataclass(frozen=True, slots=True)
class SubtitleFlags:
    """What was typed; ``None`` or ``False`` where nothing was."""

    max_line_width: int | None = None
    max_line_count: int | None = None
    min_cue_duration: float | None = None
    max_cue_duration: float | None = None
    max_chars_per_second: float | None = None
    highlight_words: bool = False
    karaoke: bool = False

    @property
    def need_words(self) -> bool:
        """Whether the transcript must have word times."""
        return self.highlight_words or self.karaoke

    def options(self, formats: Sequence[str]) -> SubtitleOptions:
        """The options for these formats.

        Raises:
            OptionError: A value makes no sense, or no format would use it.
        """
        from ark_asr.writers import SubtitleOptions

        given = {
            name: value
            for name, value in asdict(self).items()
            if value is not None and value is not False
        }
        for name in given:
            users = _FEWER.get(name, _LINE_RULES)
            if not set(users) & set(formats):
                raise OptionError(
                    f"--{name.replace('_', '-')} is for {' and '.join(users)}; "
                    "add one of them with --format"
                )
        return SubtitleOptions(**given)
