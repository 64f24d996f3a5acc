"""``ark-asr models``: what can be loaded, and making packages of checkpoints."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from ark_asr.cli.outcome import needs_extra, outcome, say

if TYPE_CHECKING:
    from ark_asr.models.package import Precision

app = typer.Typer(help="List models and make packages of them.", no_args_is_help=True)


@app.command(name="list")
def list_() -> None:
    """Names that `--model` takes, with precision and size."""
    with outcome():
        from ark_asr.models.store import DEFAULT_MODEL, list_models

        for model in list_models():
            mark = "  (default)" if model.name == DEFAULT_MODEL else ""
            size = f"{model.size / 1e6:.1f} MB"
            typer.echo(f"{model.name:<16}{model.precision or '':<8}{size:>10}{mark}")


@app.command()
def convert(
    source: Annotated[
        Path, typer.Argument(metavar="SOURCE", help="Checkpoint: config, tokenizer, safetensors.")
    ],
    dest: Annotated[Path, typer.Argument(metavar="DEST", help="Folder to make.")],
    *,
    precision: Annotated[
        str, typer.Option(metavar="NAME", help="Of the linear layers: fp32 or int8.")
    ] = "int8",
    name: Annotated[
        str | None, typer.Option(metavar="NAME", help="Of the model. [default: SOURCE's name]")
    ] = None,
    licence: Annotated[
        str, typer.Option(metavar="SPDX", help="Licence of the weights, kept in the package.")
    ] = "",
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace DEST.")] = False,
) -> None:
    """Make an ONNX package of a checkpoint (needs the extra 'convert')."""
    with outcome():
        with needs_extra("converting", "convert"):
            from ark_asr.graphs.convert import build_package

        manifest = build_package(
            source,
            dest,
            precision=cast("Precision", precision),  # build_package refuses any other
            name=name,
            licence=licence,
            overwrite=overwrite,
        )
        say(f"{dest} is written: {manifest.name}, {manifest.precision}")
