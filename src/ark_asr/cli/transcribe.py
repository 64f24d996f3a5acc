"""``ark-asr transcribe``: recordings in, text out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, cast

import typer

from ark_asr import __version__
from ark_asr.cli.outcome import BAD_INPUT, NOT_UNDERSTOOD, outcome, say
from ark_asr.cli.outputs import Formats, OutputDir, Outputs, plan_outputs, put
from ark_asr.cli.progress import ProgressLine
from ark_asr.cli.searching import (
    BeamSize,
    HotwordBoost,
    Hotwords,
    Instruction,
    Nbest,
    search_options,
)
from ark_asr.cli.speakers import (
    Channels,
    NumSpeakers,
    SpeakerFlags,
    SpeakerModelsOption,
    SpeakersOption,
)
from ark_asr.cli.subtitles import (
    HighlightWords,
    Karaoke,
    MaxCharsPerSecond,
    MaxCueDuration,
    MaxLineCount,
    MaxLineWidth,
    MinCueDuration,
    SubtitleFlags,
)
from ark_asr.cli.times import parse_time
from ark_asr.cli.tracks import Track
from ark_asr.errors import ArkError, OptionError, TroubleError

if TYPE_CHECKING:
    from ark_asr.cli.speakers import Finder
    from ark_asr.pipeline import Recognizer
    from ark_asr.types import Progress, TranscribeOptions, WordTimes


def transcribe(
    files: Annotated[
        list[str],
        typer.Argument(metavar="FILE", help="Recordings of any format; - is standard input."),
    ],
    *,
    model: Annotated[
        str | None,
        typer.Option(metavar="NAME|PATH", help="See `ark-asr models list`. [default: ark-mini]"),
    ] = None,
    format_: Formats = None,
    output_dir: OutputDir = None,
    begin: Annotated[
        str | None, typer.Option(metavar="TIME", help="Start here: seconds or [hh:]mm:ss.")
    ] = None,
    end: Annotated[
        str | None, typer.Option(metavar="TIME", help="Stop here: seconds or [hh:]mm:ss.")
    ] = None,
    track: Track = None,
    threads: Annotated[
        int | None, typer.Option(metavar="N", help="CPU threads. [default: all cores]")
    ] = None,
    batch_size: Annotated[int, typer.Option(metavar="N", help="Clips decoded together.")] = 16,
    engine: Annotated[
        str | None,
        typer.Option(
            metavar="NAME|URL",
            help="onnx, torch, torch:cuda, torch-compile:cuda (the first batch of each shape waits "
            "for a compiler), vllm (extras 'torch', 'vllm'), or the URL of a vLLM server. "
            "[default: what fits the model]",
        ),
    ] = None,
    vad: Annotated[
        bool,
        typer.Option("--vad/--no-vad", help="Look for speech first, or take the whole recording."),
    ] = True,
    context: Annotated[
        int,
        typer.Option(metavar="N", help="Tokens of the text before that each clip goes on from."),
    ] = 0,
    strict: Annotated[
        bool,
        typer.Option("--strict", help="A clip that is not understood is an error (exit code 1)."),
    ] = False,
    words: Annotated[
        bool,
        typer.Option(
            "--words",
            help="Time and confidence of each word; also with --highlight-words and --karaoke.",
        ),
    ] = False,
    word_times: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="attention, or estimate for models that do not show it. [default: attention]",
        ),
    ] = None,
    resume: Annotated[
        bool,
        typer.Option("--resume", help="Go on where an interrupted run ended; with --output-dir."),
    ] = False,
    speakers: SpeakersOption = None,
    num_speakers: NumSpeakers = None,
    speaker_models: SpeakerModelsOption = None,
    channels: Channels = False,
    beam_size: BeamSize = None,
    nbest: Nbest = 1,
    hotwords: Hotwords = None,
    hotword_boost: HotwordBoost = None,
    instruction: Instruction = None,
    max_line_width: MaxLineWidth = None,
    max_line_count: MaxLineCount = None,
    min_cue_duration: MinCueDuration = None,
    max_cue_duration: MaxCueDuration = None,
    max_chars_per_second: MaxCharsPerSecond = None,
    highlight_words: HighlightWords = False,
    karaoke: Karaoke = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress.")] = False,
) -> None:
    """Write down what is said in recordings.

    Text goes to standard output as it gets ready, progress to standard error. A recording that
    cannot be used is named, the others are still done, and the exit code is 2; it is 1 if the only
    thing wrong is that --strict found a clip that was not understood.
    """
    with outcome():
        subtitles = SubtitleFlags(
            max_line_width,
            max_line_count,
            min_cue_duration,
            max_cue_duration,
            max_chars_per_second,
            highlight_words,
            karaoke,
        )
        outputs = plan_outputs(files, format_ or ["txt"], output_dir, subtitles)
        who = SpeakerFlags(speakers, num_speakers, speaker_models, channels)
        who.check(resume=resume)
        words = words or subtitles.need_words or speakers is not None
        if word_times is not None and not words:
            raise OptionError("--word-times needs --words")
        first, last = (None if text is None else parse_time(text) for text in (begin, end))

        from ark_asr.pipeline import Recognizer
        from ark_asr.pipeline.options import check_options
        from ark_asr.types import TranscribeOptions

        options = TranscribeOptions(
            begin=first,
            end=last,
            track=track,
            batch_size=batch_size,
            vad=vad,
            context=context,
            strict=strict,
            words=words,
            word_times=cast("WordTimes", word_times or "attention"),  # refused below, if it is none
        )
        options = search_options(
            options,
            beam_size=beam_size,
            nbest=nbest,
            hotwords=hotwords,
            hotword_boost=hotword_boost,
            instruction=instruction,
            formats=outputs.formats,
        )
        check_options(options)
        if resume and output_dir is None:
            raise OptionError("--resume keeps what is finished in --output-dir; name a folder")
        find = who.finder(files, threads, quiet=quiet)
        codes = {0}
        with Recognizer.load(model, engine=engine, threads=threads) as recognizer:
            for source in files:
                outputs.announce(source)
                try:
                    if channels:
                        _channels(recognizer, source, options, outputs, quiet=quiet)
                    else:
                        _one(recognizer, source, options, outputs, find, resume=resume, quiet=quiet)
                except BrokenPipeError:  # nobody reads any more: no use in the other recordings
                    raise
                except ArkError as error:
                    codes.add(NOT_UNDERSTOOD if isinstance(error, TroubleError) else BAD_INPUT)
                    say(str(error))
                except OSError as error:  # of the journal; a full disk names no file
                    codes.add(BAD_INPUT)
                    say(str(error) if error.filename else f"{source}: {error.strerror or error}")
        if code := max(codes):
            raise typer.Exit(code)


def _one(
    recognizer: Recognizer,
    source: str,
    options: TranscribeOptions,
    outputs: Outputs,
    find: Finder | None,
    *,
    resume: bool,
    quiet: bool,
) -> None:
    """One recording from sound to all its outputs."""
    from dataclasses import replace

    from ark_asr.pipeline import Journal, Speakers
    from ark_asr.writers.plain import TxtWriter

    label = tuple if find is None else Speakers(find(source, options)).label
    journal = Journal(outputs.journal(source), f"ark-asr {__version__}") if resume else None
    line = ProgressLine(source, show=not quiet)

    def report(progress: Progress) -> None:
        text = "".join(map(TxtWriter().lines, label(progress.segments))) if outputs.plain else ""
        if text:
            with line.aside():
                put(text)
        line.update(progress)

    try:
        transcript = recognizer.transcribe(source, options, progress=report, journal=journal)
    finally:
        line.close()
    for warning in transcript.warnings:
        say(warning)
    if not outputs.plain:
        labelled = replace(transcript, segments=tuple(label(transcript.segments)))
        outputs.deliver(labelled, source, quiet=quiet)
    if journal is not None:
        journal.remove()


def _channels(
    recognizer: Recognizer,
    source: str,
    options: TranscribeOptions,
    outputs: Outputs,
    *,
    quiet: bool,
) -> None:
    """One recording, each channel a speaker; nothing can be printed before all are heard."""
    from ark_asr.pipeline import transcribe_channels

    line = ProgressLine(source, show=not quiet)
    try:
        transcript = transcribe_channels(recognizer, source, options, progress=line.update)
    finally:
        line.close()
    for warning in transcript.warnings:
        say(warning)
    outputs.deliver(transcript, source, quiet=quiet)
