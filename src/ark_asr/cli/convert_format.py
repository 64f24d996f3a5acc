"""``ark-asr convert-format``: a written transcript in, other formats out."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from ark_asr.cli.outcome import BAD_INPUT, outcome, say
from ark_asr.cli.outputs import STDIN, Formats, OutputDir, plan_outputs
from ark_asr.cli.subtitles import (
    HighlightWords,
    Karaoke,
    MaxCharsPerSecond,
    MaxCueDuration,
    MaxLineCount,
    MaxLineWidth,
    MinCueDuration,
    SubtitleFlags,
)
from ark_asr.errors import ArkError, OptionError

if TYPE_CHECKING:
    from ark_asr.types import Transcript


def convert_format(
    files: Annotated[
        list[str],
        typer.Argument(metavar="FILE", help="json or jsonl of ark-asr; - is standard input."),
    ],
    *,
    format_: Formats = None,
    output_dir: OutputDir = None,
    max_line_width: MaxLineWidth = None,
    max_line_count: MaxLineCount = None,
    min_cue_duration: MinCueDuration = None,
    max_cue_duration: MaxCueDuration = None,
    max_chars_per_second: MaxCharsPerSecond = None,
    highlight_words: HighlightWords = False,
    karaoke: Karaoke = False,
    quiet: Annotated[
        bool, typer.Option("--quiet", "-q", help="Do not say which files were written.")
    ] = False,
) -> None:
    """Write a transcript in other formats, without hearing the recording again.

    The result is what `ark-asr transcribe` would have written. A file that is no transcript is
    named, the others are still done, and the exit code is 2.
    """
    with outcome():
        if files.count(STDIN) > 1:
            raise OptionError("standard input (-) can be read only once")
        failed = False
        found: list[tuple[str, Transcript]] = []
        for file in files:
            try:
                found += _read(file)
            except ArkError as error:
                failed = True
                say(str(error))
        flags = SubtitleFlags(
            max_line_width,
            max_line_count,
            min_cue_duration,
            max_cue_duration,
            max_chars_per_second,
            highlight_words,
            karaoke,
        )
        names = [name for name, _ in found]
        outputs = plan_outputs(names, format_ or ["txt"], output_dir, flags, inputs=files)
        for name, transcript in found:
            outputs.announce(name)
            try:
                outputs.deliver(transcript, name, quiet=quiet)
            except ArkError as error:
                failed = True
                say(str(error))
        if failed:
            raise typer.Exit(BAD_INPUT)


def _read(file: str) -> list[tuple[str, Transcript]]:
    """The transcripts of a file, each with the name that its outputs get."""
    from ark_asr.writers import parse_transcripts, read_transcripts

    if file == STDIN:
        found = parse_transcripts(sys.stdin.buffer.read(), "standard input")
    else:
        found = read_transcripts(file)
    if len(found) == 1:
        return [(file, found[0])]
    return [(transcript.source, transcript) for transcript in found]
