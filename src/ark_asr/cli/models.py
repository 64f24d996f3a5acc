"""``ark-asr models``: what can be loaded."""

from __future__ import annotations

import typer

from ark_asr.cli.outcome import outcome

app = typer.Typer(help="List models and make packages of them.", no_args_is_help=True)


@app.callback()
def _models() -> None:
    """Keep the verb a group, whatever it holds."""


@app.command(name="list")
def list_() -> None:
    """Names that `--model` takes, with precision and size."""
    with outcome():
        from ark_asr.models.store import DEFAULT_MODEL, list_models

        for model in list_models():
            mark = "  (default)" if model.name == DEFAULT_MODEL else ""
            size = f"{model.size / 1e6:.1f} MB"
            typer.echo(f"{model.name:<16}{model.precision or '':<8}{size:>10}{mark}")
