"""``ark-asr models check``: the drift gate."""

from __future__ import annotations

import time
from contextlib import closing
from typing import Annotated

import typer

from ark_asr.cli.outcome import outcome, say
from ark_asr.cli.progress import ProgressLine
from ark_asr.errors import OptionError

DRIFTED = 1


def check(
    first: Annotated[
        str, typer.Argument(metavar="A", help="The model taken as right: name or folder.")
    ],
    second: Annotated[str, typer.Argument(metavar="B", help="The model compared with it.")],
    *,
    audio: Annotated[
        str,
        typer.Option(metavar="DIR|MANIFEST", help="Recordings, as `ark-asr batch` takes them."),
    ],
    max_embedding_error: Annotated[
        float | None, typer.Option(metavar="X", help="Relative, of the worst clip.")
    ] = None,
    max_logit_error: Annotated[
        float | None, typer.Option(metavar="X", help="Of the first token, any clip.")
    ] = None,
    min_first_token: Annotated[
        float | None, typer.Option(metavar="SHARE", help="Clips with the same first token.")
    ] = None,
    min_token_agreement: Annotated[
        float | None,
        typer.Option(metavar="SHARE", help="A's tokens that B would choose too, led along A's."),
    ] = None,
    min_same_transcripts: Annotated[
        float | None, typer.Option(metavar="SHARE", help="Recordings with the same tokens.")
    ] = None,
    max_wer_difference: Annotated[
        float | None, typer.Option(metavar="X", help="Word error rate of B minus that of A.")
    ] = None,
    threads: Annotated[int | None, typer.Option(metavar="N", help="CPU threads.")] = None,
    json_: Annotated[bool, typer.Option("--json", help="JSON instead of a table.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress.")] = False,
) -> None:
    """Measure how far model B is from model A on the same recordings.

    Exit code 1 if a limit is not kept, 2 if nothing could be measured. Shares and rates are 0 to 1.
    The word error rates of both are measured where the manifest has references (needs the extra
    'eval'). Any two models can be compared that take the same clips: packages, checkpoints (extra
    'torch'), other ONNX layouts.
    """
    with outcome():
        from ark_asr.batch.manifests import read_manifest
        from ark_asr.evaluation.drift import Candidate, ClipDrift, compare_clips, summarize
        from ark_asr.evaluation.drift_report import Limits, Report
        from ark_asr.evaluation.machine import describe_model, this_machine
        from ark_asr.models.store import resolve
        from ark_asr.types import Progress

        limits = Limits(
            max_embedding_error=max_embedding_error,
            max_logit_error=max_logit_error,
            min_first_token=min_first_token,
            min_token_agreement=min_token_agreement,
            min_same_transcripts=min_same_transcripts,
            max_wer_difference=max_wer_difference,
        )
        records = read_manifest(audio)
        if max_wer_difference is not None and not any(record.text.strip() for record in records):
            raise OptionError(f"{audio}: has no references; --max-wer-difference needs them")
        folders = resolve(first), resolve(second)
        clips: list[ClipDrift] = []
        began, done = time.monotonic(), 0.0
        with (
            closing(Candidate.load(folders[0], threads)) as one,
            closing(Candidate.load(folders[1], threads)) as other,
            closing(ProgressLine("checking", show=not quiet)) as line,
        ):
            for clip in compare_clips(one, other, records):
                clips.append(clip)
                done += clip.seconds
                line.update(Progress(done, None, time.monotonic() - began))
        drift = summarize(records, clips)
        report = Report(
            audio=audio,
            first=describe_model(folders[0]),
            second=describe_model(folders[1]),
            drift=drift,
            limits=limits,
            broken=limits.broken_by(drift),
            machine=this_machine(),
        )
    typer.echo(report.to_json() if json_ else report.to_table(), nl=False)
    for broken in report.broken:
        say(broken)
    if report.broken:
        raise typer.Exit(DRIFTED)
