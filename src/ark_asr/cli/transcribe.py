"""``ark-asr transcribe``: recordings in, text out."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ark_asr.cli.outcome import BAD_INPUT, outcome, say
from ark_asr.cli.outputs import FORMATS, Outputs, plan_outputs
from ark_asr.cli.progress import ProgressLine
from ark_asr.cli.times import parse_time
from ark_asr.errors import ArkError

if TYPE_CHECKING:
    from ark_asr.pipeline import Recognizer
    from ark_asr.types import Progress, TranscribeOptions


def transcribe(
    files: Annotated[
        list[str],
        typer.Argument(metavar="FILE", help="Recordings of any format; - is standard input."),
    ],
    *,
    model: Annotated[
        str | None,
        typer.Option(metavar="NAME|PATH", help="See `ark-asr models list`. [default: ark-mini]"),
    ] = None,
    format_: Annotated[
        list[str] | None,
        typer.Option(
            "--format",
            "-f",
            metavar="FORMAT",
            help=f"{', '.join(FORMATS)}; repeat it or put commas between. [default: txt]",
        ),
    ] = None,
    output_dir: Annotated[
        Path | None,
        typer.Option("--output-dir", "-o", metavar="DIR", help="Write files into this folder."),
    ] = None,
    begin: Annotated[
        str | None, typer.Option(metavar="TIME", help="Start here: seconds or [hh:]mm:ss.")
    ] = None,
    end: Annotated[
        str | None, typer.Option(metavar="TIME", help="Stop here: seconds or [hh:]mm:ss.")
    ] = None,
    threads: Annotated[
        int | None, typer.Option(metavar="N", help="CPU threads. [default: all cores]")
    ] = None,
    batch_size: Annotated[int, typer.Option(metavar="N", help="Clips decoded together.")] = 8,
    engine: Annotated[
        str | None,
        typer.Option(
            metavar="NAME", help="onnx or torch (extra 'torch'). [default: what fits the model]"
        ),
    ] = None,
    vad: Annotated[
        bool,
        typer.Option("--vad/--no-vad", help="Look for speech first, or take the whole recording."),
    ] = True,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress.")] = False,
) -> None:
    """Write down what is said in recordings.

    Text goes to standard output as it gets ready, progress to standard error. A recording that
    cannot be used is named, the others are still done, and the exit code is 2.
    """
    with outcome():
        outputs = plan_outputs(files, format_ or ["txt"], output_dir)
        first, last = (None if text is None else parse_time(text) for text in (begin, end))

        from ark_asr.pipeline import Recognizer
        from ark_asr.types import TranscribeOptions

        options = TranscribeOptions(begin=first, end=last, batch_size=batch_size, vad=vad)
        failed = False
        with Recognizer.load(model, engine=engine, threads=threads) as recognizer:
            for source in files:
                if len(files) > 1 and output_dir is None and outputs.formats == ("txt",):
                    _print(f"==> {source} <==\n")
                try:
                    _one(recognizer, source, options, outputs, quiet=quiet)
                except (ArkError, OSError) as error:
                    failed = True
                    say(str(error))
        if failed:
            raise typer.Exit(BAD_INPUT)


def _one(
    recognizer: Recognizer,
    source: str,
    options: TranscribeOptions,
    outputs: Outputs,
    *,
    quiet: bool,
) -> None:
    """One recording from sound to all its outputs."""
    from ark_asr.writers import get_writer, write_atomic
    from ark_asr.writers.plain import TxtWriter

    streaming = outputs.folder is None and outputs.formats == ("txt",)
    line = ProgressLine(source, show=not quiet)

    def report(progress: Progress) -> None:
        text = "".join(map(TxtWriter().line, progress.segments)) if streaming else ""
        if text:
            with line.aside():
                _print(text)
        line.update(progress)

    try:
        transcript = recognizer.transcribe(source, options, progress=report)
    finally:
        line.close()
    for warning in transcript.warnings:
        say(warning)
    if streaming:
        return
    for name in outputs.formats:
        text = get_writer(name).render(transcript)
        if outputs.folder is None:
            _print(text)
        else:
            outputs.folder.mkdir(parents=True, exist_ok=True)
            path = outputs.path(source, name)
            write_atomic(path, text)
            if not quiet:
                say(f"{path} is written")


def _print(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()
