"""``ark-asr models``: what can be loaded, and making packages."""

from __future__ import annotations


import typer

from ark_asr.cli.outcome import outcome

app = typer.Typer(help="List models and make packages of them.", no_args_is_help=True)


@app.command(name="list")
def list_() -> None:
    """Names that `--model` takes, and whether they are on this machine."""
    with outcome():
        from ark_asr.models.store import list_models

        for model in list_models():
            typer.echo(model)
