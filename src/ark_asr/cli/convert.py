"""``ark-asr models convert``, and the conversion that `pull` does."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from ark_asr.cli.outcome import needs_extra, outcome, say
from ark_asr.cli.transfer import ByteLine

if TYPE_CHECKING:
    from ark_asr.models.package import Manifest, Precision

PRECISION_HELP = (
    "fp32, int8, or int4 (layers of the decoder in 4 bits, all others int8: smaller, and faster "
    "word by word)."
)


def convert(
    source: Annotated[
        Path,
        typer.Argument(
            metavar="SOURCE",
            help="Checkpoint (safetensors), or the publisher's ONNX package.",
        ),
    ],
    dest: Annotated[Path, typer.Argument(metavar="DEST", help="Folder to make.")],
    *,
    precision: Annotated[str, typer.Option(metavar="NAME", help=PRECISION_HELP)] = "int8",
    name: Annotated[
        str | None, typer.Option(metavar="NAME", help="Of the model. [default: SOURCE's name]")
    ] = None,
    licence: Annotated[
        str, typer.Option(metavar="SPDX", help="Licence of the weights, kept in the package.")
    ] = "",
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace DEST.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress.")] = False,
) -> None:
    """Make a package, which is what runs fast on a CPU (needs the extra 'convert').

    The int8 weights of the publisher's ONNX package are taken over as they are.
    """
    with outcome():
        manifest = make_package(
            source, dest, precision, name=name, licence=licence, overwrite=overwrite, quiet=quiet
        )
        say(f"{dest} is written: {manifest.name}, {manifest.precision}")


def make_package(
    source: Path,
    dest: Path,
    precision: str,
    *,
    name: str | None = None,
    licence: str = "",
    overwrite: bool = False,
    quiet: bool = False,
) -> Manifest:
    """Convert with progress on a terminal, and say what the conversion warns of."""
    with needs_extra("converting", "convert"):
        from ark_asr.graphs.convert import build_package
    from ark_asr.errors import ArkWarning

    title = f"{name or source.resolve().name} -> {precision}"
    total = sum(f.stat().st_size for f in source.iterdir()) if source.is_dir() else None
    with (
        ByteLine(title, total, show=not quiet) as line,
        warnings.catch_warnings(record=True, category=ArkWarning) as warned,
    ):
        warnings.simplefilter("always", ArkWarning)
        manifest = build_package(
            source,
            dest,
            precision=cast("Precision", precision),  # build_package refuses any other
            name=name,
            licence=licence,
            overwrite=overwrite,
            progress=lambda share: line.to(int(share * (total or 0)), total or 0, title),
        )
    for warning in warned:
        say(str(warning.message))
    return manifest
