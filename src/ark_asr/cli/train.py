"""``ark-asr train``: recipes that make a model."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ark_asr.cli.outcome import needs_extra, outcome

app = typer.Typer(help="Train a model (needs the extra 'train').", no_args_is_help=True)


@app.callback()
def _train() -> None:
    """Keep the verb a group while it has only one recipe."""


@app.command()
def supervised(
    config: Annotated[Path, typer.Argument(metavar="CONFIG", help="The recipe's settings.")],
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on from the last checkpoint of the same run.")
    ] = False,
    skip_bad: Annotated[
        bool,
        typer.Option("--skip-bad", help="Count and list unusable recordings instead of stopping."),
    ] = False,
) -> None:
    """Learn from recordings with transcripts."""
    with outcome():
        with needs_extra("training", "train"):
            from ark_asr.training import supervised as recipe

        recipe.main(config, resume=resume, skip_bad=skip_bad)


@app.command()
def distill(
    config: Annotated[Path, typer.Argument(metavar="CONFIG", help="The recipe's settings.")],
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on from the last checkpoint of the same run.")
    ] = False,
    skip_bad: Annotated[
        bool,
        typer.Option("--skip-bad", help="Count and list unusable recordings instead of stopping."),
    ] = False,
    calibrate: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            help="Train nothing: go through N batches and print loss, rollouts and alignment.",
        ),
    ] = None,
) -> None:
    """Learn from what a stronger model makes of the student's own transcripts."""
    with outcome():
        with needs_extra("training", "train"):
            from ark_asr.training import distill as recipe

        if calibrate is None:
            recipe.main(config, resume=resume, skip_bad=skip_bad)
        else:
            recipe.calibrate(config, calibrate, skip_bad=skip_bad)
