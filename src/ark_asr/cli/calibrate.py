"""``ark-asr models calibrate``: measure a model on transcribed speech, and keep what was found."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ark_asr.cli.outcome import needs_extra, outcome, say
from ark_asr.errors import ArkError, OptionError

if TYPE_CHECKING:
    from ark_asr.evaluation.calibrate import Findings


def calibrate(
    model: Annotated[
        str, typer.Argument(metavar="NAME|PATH", help="A package, or a safetensors checkpoint.")
    ],
    *,
    input_: Annotated[
        list[str],
        typer.Option(
            "--input",
            "-i",
            metavar="FILE",
            help="As for `ark-asr batch`, text is the reference; repeat it.",
        ),
    ],
    audio_root: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Folder of relative paths.")
    ] = None,
    text_field: Annotated[str, typer.Option(metavar="KEY")] = "text",
    threads: Annotated[int | None, typer.Option(metavar="N", help="CPU threads.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Measure, and write nothing.")] = False,
) -> None:
    """Find out which decoder heads give word times, and how far confidence can be trusted.

    Any transcribed speech will do, some hundred recordings that are no longer than a clip and that
    the model was not trained on. What is found is written into the model's folder. Needs the extra
    'eval'.
    """
    with outcome():
        with needs_extra("calibrating", "eval"):
            from ark_asr.evaluation.calibrate import calibrate_model
        from ark_asr.batch.manifests import read_manifest
        from ark_asr.batch.records import Fields
        from ark_asr.models.store import resolve

        fields = Fields(text=text_field)
        records = [
            record
            for name in input_
            for record in read_manifest(name, fields, audio_root=audio_root)
        ]
        folder = resolve(model)
        if not dry_run and not os.access(folder.path, os.W_OK):  # said now, not after hours
            raise OptionError(f"{folder.path}: cannot be written; calibrate a copy of the model")
        found = calibrate_model(folder, records, threads=threads)
        for line in (*found.skipped, *_report(found)):
            say(line)
        if not dry_run:
            try:
                found.calibration.save(folder.path)
            except ArkError:
                raise
            except OSError as error:
                raise OptionError(
                    f"{folder.path}: cannot be written ({error.strerror or error})"
                ) from None
            say(f"{folder.path} is calibrated")


def _report(found: Findings) -> Iterator[str]:
    yield found.calibration.basis
    chosen = set(found.calibration.heads)
    for head, score in found.heads[: len(chosen) + 3]:
        taken = " (taken)" if head in chosen else ""
        yield f"layer {head.layer} head {head.head}: follows the sound {score:.2f}{taken}"
    yield (
        f"expected calibration error {found.error:.3f}, with the curve {found.error_after:.3f} "
        "(on recordings it has not seen)"
    )
