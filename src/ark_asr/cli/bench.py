"""``ark-asr bench``: how fast models are on this computer."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ark_asr.cli.outcome import needs_extra, outcome, say
from ark_asr.cli.saving import check_name, make_folders, save


def bench(
    *,
    model: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME|PATH",
            help="NAME:PRECISION takes one of several; repeat it. [default: ark-mini]",
        ),
    ] = None,
    threads: Annotated[
        list[int] | None,
        typer.Option(metavar="N", help="CPU threads; repeat it. [default: 1 and all cores]"),
    ] = None,
    seconds: Annotated[
        list[float] | None,
        typer.Option(
            metavar="S",
            help="Length of clips; repeat it. [default: 5, 15, 30 as far as the model goes]",
        ),
    ] = None,
    batch_size: Annotated[
        list[int] | None,
        typer.Option(metavar="N", help="Clips decoded together; repeat it. [default: 1 and 4]"),
    ] = None,
    repeats: Annotated[
        int, typer.Option(metavar="N", help="Measurements of each, after one to warm up.")
    ] = 3,
    audio: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Speech to hear. [default: a minute of sentences]"),
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE.json", help="Also all numbers.")
    ] = None,
    plot: Annotated[
        Path | None,
        typer.Option(metavar="FILE.png|svg|pdf", help="Also a picture (extra 'plot')."),
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress.")] = False,
) -> None:
    """Measure the speed of models: threads, precisions, clip lengths, batch sizes.

    RTF is the time it takes over the length of the sound, RTFx its inverse. First text is when the
    first clips are written down, the whole batch of them. How well a model hears: `ark-asr
    evaluate`.
    """
    with outcome():
        from ark_asr.evaluation.machine import load_average, this_machine
        from ark_asr.evaluation.speed import Plan, Speeds, measure
        from ark_asr.pipeline.health import this_computer

        if plot is not None:
            with needs_extra("a picture", "plot"):
                from ark_asr.evaluation.speed_plot import check_suffix, draw
            check_suffix(plot.suffix)
        plan = Plan(
            models=tuple(model or [None]),
            threads=tuple(threads or sorted({1, this_computer().threads})),
            seconds=tuple(seconds or ()),
            batches=tuple(batch_size or (1, 4)),
            repeats=repeats,
            recording=audio,
        )
        files = [*filter(None, (output, plot))]
        for path in files:  # before minutes of measuring
            check_name(path)
        make_folders(files)
        busy = load_average()
        measured = []
        for one in measure(plan):
            measured.append(one)
            if not quiet:
                say(f"{one.model} {one.precision}, threads {one.threads}, {one.seconds:g} s, "
                    f"{one.batch} together: RTF {one.median:.3f}")  # fmt: skip
        recording = "a minute of sentences" if audio is None else audio.name
        speeds = Speeds(recording, repeats, tuple(measured), busy, this_machine())
        if output is not None:
            save(output, speeds.to_json())
        if plot is not None:
            save(plot, draw(speeds, plot.suffix))
        typer.echo(speeds.table(), nl=False)
