"""The command line: one module per verb.

Nothing heavy is imported here or at the top of a verb's module, so that ``ark-asr --help`` answers
at once; each verb imports what it needs when it runs.
"""

from __future__ import annotations

import os
import sys
from typing import Annotated

import typer

from ark_asr import __version__
from ark_asr.cli import batch, data, models, serve, train
from ark_asr.cli.bench import bench
from ark_asr.cli.compare import compare
from ark_asr.cli.convert_format import convert_format
from ark_asr.cli.doctor import doctor
from ark_asr.cli.evaluate import evaluate
from ark_asr.cli.live import live
from ark_asr.cli.outcome import INTERRUPTED
from ark_asr.cli.streams import ready_streams
from ark_asr.cli.transcribe import transcribe

app = typer.Typer(
    name="ark-asr",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
app.command()(transcribe)
app.command("convert-format")(convert_format)
app.command()(live)
app.command(context_settings=batch.SETTINGS)(batch.batch)
app.command(context_settings=batch.SETTINGS)(evaluate)
app.command(context_settings=batch.SETTINGS)(compare)
app.command(context_settings=batch.SETTINGS)(bench)
app.command()(doctor)
app.add_typer(data.app, name="data")
app.add_typer(models.app, name="models")
app.add_typer(serve.app, name="serve")
app.add_typer(train.app, name="train")


def _version(asked: bool) -> None:
    if asked:
        typer.echo(f"ark-asr {__version__}")
        raise typer.Exit


def _offline(asked: bool) -> None:
    if asked:
        # For the libraries that are used as well, not only for this program.
        os.environ.update(ARK_ASR_OFFLINE="1", HF_HUB_OFFLINE="1", TRANSFORMERS_OFFLINE="1")


@app.callback()
def _ark_asr(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_version, is_eager=True, help="Print the version."),
    ] = False,
    offline: Annotated[
        bool,
        typer.Option(
            "--offline",
            callback=_offline,
            is_eager=True,
            help="Open no connection, whatever the command.",
        ),
    ] = False,
) -> None:
    """Private speech-to-text with ARK-ASR models, on a CPU."""


def main() -> None:
    """The program ``ark-asr``."""
    try:
        ready_streams()
        app()
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
