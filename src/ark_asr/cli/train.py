"""``ark-asr train``: recipes that make a model."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ark_asr.cli.outcome import needs_extra, outcome, say
from ark_asr.errors import OptionError

if TYPE_CHECKING:
    from ark_asr.training.overrides import Overrides

app = typer.Typer(help="Train a model (needs the extra 'train').", no_args_is_help=True)


_Config = Annotated[Path, typer.Argument(metavar="CONFIG", help="The recipe's settings.")]
_Resume = Annotated[
    bool, typer.Option("--resume", help="Go on from the last checkpoint of the same run.")
]
_SkipBad = Annotated[
    bool, typer.Option("--skip-bad", help="Count and list unusable recordings instead of stopping.")
]
_Start = Annotated[
    Path | None,
    typer.Option(metavar="DIR", help="Checkpoint to start from. [default: as the recipe says]"),
]
_Output = Annotated[
    Path | None, typer.Option("--output", "-o", metavar="DIR", help="For checkpoints, log, curves.")
]
_Train = Annotated[
    list[str] | None, typer.Option(metavar="FILE", help="Manifest to learn from; may be repeated.")
]
_Dev = Annotated[
    list[str] | None, typer.Option(metavar="FILE", help="Manifest to score; may be repeated.")
]
_Set = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Any key, such as optim.steps=500."),
]


def _overrides(
    start: Path | None,
    output: Path | None,
    train: list[str] | None,
    dev: list[str] | None,
    settings: list[str] | None,
) -> Overrides:
    from ark_asr.training.overrides import Overrides

    return Overrides(start, output, tuple(train or ()), tuple(dev or ()), tuple(settings or ()))


def _ended(best: Path) -> None:
    if os.environ.get("RANK", "0") == "0":  # torchrun's number of this process
        # Without manifests to score there is no best one.
        say(f"the {'best' if best.name == 'best' else 'last'} checkpoint: {best}")


@app.command()
def supervised(
    *,
    config: _Config,
    resume: _Resume = False,
    skip_bad: _SkipBad = False,
    start: _Start = None,
    output: _Output = None,
    train: _Train = None,
    dev: _Dev = None,
    set_: _Set = None,
) -> None:
    """Learn from recordings with transcripts."""
    with outcome():
        with needs_extra("training", "train"):
            from ark_asr.training import supervised as recipe

        overrides = _overrides(start, output, train, dev, set_)
        best = recipe.main(config, resume=resume, skip_bad=skip_bad, overrides=overrides)
        _ended(best)


@app.command()
def distill(
    *,
    config: _Config,
    resume: _Resume = False,
    skip_bad: _SkipBad = False,
    calibrate: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            help="Train nothing: go through N batches and print loss, rollouts and alignment.",
        ),
    ] = None,
    start: _Start = None,
    output: _Output = None,
    train: _Train = None,
    dev: _Dev = None,
    set_: _Set = None,
) -> None:
    """Learn from what a stronger model makes of the student's own transcripts."""
    with outcome():
        with needs_extra("training", "train"):
            from ark_asr.training import distill as recipe

        overrides = _overrides(start, output, train, dev, set_)
        if calibrate is not None:
            recipe.calibrate(config, calibrate, skip_bad=skip_bad, overrides=overrides)
            return
        best = recipe.main(config, resume=resume, skip_bad=skip_bad, overrides=overrides)
        _ended(best)


@app.command()
def label(
    *,
    input_: Annotated[
        str,
        typer.Argument(metavar="INPUT", help="A folder of recordings, or a manifest as of batch."),
    ],
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="NAME.jsonl", help="The manifest to train on.")
    ],
    teacher: Annotated[
        str | None,
        typer.Option(
            metavar="NAME|PATH|URL",
            help="A model; FAMILY:DIR of another family of `ark-asr compare`, such as whisper:DIR; "
            "or http://host:8000/v1#model: recordings are sent there. [default: ark-mini]",
        ),
    ] = None,
    language: Annotated[
        str,
        typer.Option(metavar="TAG", help="Told to teachers of other families, if they take it."),
    ] = "",
    plain: Annotated[
        bool,
        typer.Option(
            "--plain", help="Labels in lower case without punctuation too, as text_norm: learnt so."
        ),
    ] = False,
    beam_size: Annotated[int | None, typer.Option(metavar="N", help="Of the first pass.")] = None,
    second: Annotated[
        str | None,
        typer.Option(metavar="NAME|PATH|URL", help="Who hears every clip again. [default: nobody]"),
    ] = None,
    second_beam_size: Annotated[
        int | None,
        typer.Option(metavar="N", help="Of the second pass; alone: the same teacher, this beam."),
    ] = None,
    min_confidence: Annotated[float, typer.Option(metavar="P")] = 0.6,
    min_seconds: Annotated[float, typer.Option(metavar="S")] = 0.5,
    max_seconds: Annotated[float, typer.Option(metavar="S")] = 30.0,
    min_rate: Annotated[
        float, typer.Option(metavar="N", help="Fewest letters per second of a clip.")
    ] = 1.0,
    max_rate: Annotated[
        float, typer.Option(metavar="N", help="Most letters per second of a clip.")
    ] = 30.0,
    max_repeats: Annotated[
        int, typer.Option(metavar="N", help="Most times that a phrase stands in a row.")
    ] = 3,
    min_agreement: Annotated[
        float, typer.Option(metavar="P", help="Share of characters that both passes agree on.")
    ] = 0.8,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on after the rows that are there, or choose anew.")
    ] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Begin anew.")] = False,
    workers: Annotated[int, typer.Option(metavar="N", help="Processes, each with a model.")] = 1,
    threads: Annotated[
        int | None, typer.Option(metavar="N", help="CPU threads per process.")
    ] = None,
    audio_root: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Folder of the manifest's relative paths.")
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress.")] = False,
) -> None:
    """Write down recordings with a teacher, and keep what can be learnt from.

    Beside the manifest are written: NAME.dropped.jsonl, what was not kept and why; and
    NAME.provenance.json, who the teacher was, the limits, and counts.
    """
    with outcome():
        with needs_extra("training", "train"):
            from ark_asr.training.label import Job, Teacher
            from ark_asr.training.label import label as run
            from ark_asr.training.labels import Limits
            from ark_asr.training.strangers import family_of
        from ark_asr.batch.manifests import read_manifest, refuse_as_output
        from ark_asr.cli.batch_progress import BatchLine
        from ark_asr.types import TranscribeOptions

        if resume and overwrite:
            raise OptionError("--resume and --overwrite exclude each other")
        if output.suffix != ".jsonl":
            raise OptionError(f"{output}: the manifest's name must end in .jsonl")
        refuse_as_output(str(output), input_)
        limits = Limits(
            min_confidence, min_seconds, max_seconds, min_rate, max_rate, max_repeats, min_agreement
        )
        if language and not (family_of(teacher) or family_of(second)):
            raise OptionError("--language is told to teachers of other families: whisper:FOLDER")

        def teacher_of(name: str | None, options: TranscribeOptions) -> Teacher:
            return Teacher(name, options, language if family_of(name) else "")

        again = None
        if second is not None or second_beam_size is not None:
            options = TranscribeOptions(vad=None, beam_size=second_beam_size)
            again = teacher_of(second or teacher, options)
        job = Job(
            read_manifest(input_, audio_root=audio_root),
            output,
            teacher_of(teacher, TranscribeOptions(vad=None, beam_size=beam_size)),
            again,
            limits,
            workers,
            threads,
            plain,
        )
        line = BatchLine(show=not quiet)
        try:
            made = run(job, resume=resume, overwrite=overwrite, report=line.update, warn=line.say)
        finally:
            line.close()
        dropped = ", ".join(f"{count} {reason}" for reason, count in sorted(made.dropped.items()))
        say(
            f"{output}: {made.kept} clips, {made.seconds / 60:.1f} min; "
            f"not kept: {dropped or 'none'}"
        )


@app.command()
def average(
    checkpoints: Annotated[
        list[Path],
        typer.Argument(
            metavar="CHECKPOINT...",
            help="Two or more, of one run or its start; twice: it counts twice.",
        ),
    ],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="DIR", help="A new folder.")],
) -> None:
    """Write the mean of the weights of several checkpoints."""
    with outcome():
        with needs_extra("training", "train"):
            from ark_asr.training.average import average_checkpoints

        average_checkpoints(checkpoints, output)
        say(f"{output}: the mean of {len(checkpoints)} checkpoints")


@app.command()
def grow(
    checkpoint: Annotated[Path, typer.Argument(metavar="CHECKPOINT", help="A folder.")],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="DIR", help="A new folder.")],
    times: Annotated[int, typer.Option(metavar="N", help="How many times as wide.")] = 2,
    seed: Annotated[int, typer.Option(metavar="N", help="Of what the copies differ by.")] = 0,
) -> None:
    """Write a wider checkpoint that says the same, for a larger model to begin with."""
    with outcome():
        with needs_extra("training", "train"):
            from ark_asr.training.grow import grow_checkpoint

        before, after = grow_checkpoint(checkpoint, output, times=times, seed=seed)
        say(f"{output}: {after / 1e6:.1f} M parameters, {checkpoint} has {before / 1e6:.1f} M")


@app.command()
def pack(
    manifest: Annotated[str, typer.Argument(metavar="MANIFEST", help="As for training.")],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="DIR", help="For the shards.")],
    megabytes: Annotated[float, typer.Option(metavar="N", help="Size of a shard, about.")] = 512.0,
) -> None:
    """Put the clips of a manifest into tar shards, for a bucket or a network disk."""
    with outcome():
        with needs_extra("training", "train"):
            from ark_asr.training import shards

        if not megabytes > 0:
            raise OptionError(f"--megabytes is {megabytes:g}; it must be positive")
        count = shards.pack(manifest, output, megabytes=megabytes)
        say(f"{output / shards.MANIFEST}: {count} {'shard' if count == 1 else 'shards'}")


@app.command()
def index(
    tars: Annotated[list[Path], typer.Argument(metavar="TAR...", help="In WebDataset's form.")],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="FILE", help="The manifest.")],
) -> None:
    """Make a manifest of the clips in tar shards of other people."""
    with outcome():
        with needs_extra("training", "train"):
            from ark_asr.training import shards

        say(f"{output}: {shards.index(tars, output)} clips")
