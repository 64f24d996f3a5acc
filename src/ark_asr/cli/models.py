"""``ark-asr models``: finding, fetching and keeping models, and making packages of them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from ark_asr.cli import manage
from ark_asr.cli.outcome import needs_extra, outcome, say
from ark_asr.cli.pull import pull

if TYPE_CHECKING:
    from ark_asr.models.package import Precision

app = typer.Typer(help="Find, fetch and keep models; make packages of them.", no_args_is_help=True)


app.command(name="list")(manage.list_)
app.command()(manage.info)
app.command()(pull)
app.command()(manage.verify)
app.command()(manage.path)
app.command(name="import")(manage.import_)
app.command()(manage.export)
app.command()(manage.remove)


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
