"""``ark-asr live``: captions while someone speaks."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TextIO

import typer

from ark_asr.cli.outcome import outcome, say
from ark_asr.cli.quiet import drivers_quiet
from ark_asr.cli.searching import HotwordBoost, Hotwords, search_options
from ark_asr.cli.times import parse_time
from ark_asr.cli.tracks import Track
from ark_asr.errors import AudioError, OptionError

if TYPE_CHECKING:
    from ark_asr.cli.captions import Captions
    from ark_asr.pipeline import LiveSession
    from ark_asr.types import FloatArray

_PIPE_RATE = 16_000  # unless --rate says otherwise


def live(
    input_: Annotated[
        str | None,
        typer.Argument(
            metavar="[INPUT]",
            help="A recording, or - for headerless 16-bit mono samples from standard input. "
            "[default: the microphone, extra 'mic']",
        ),
    ] = None,
    *,
    named: Annotated[
        str | None, typer.Option("--input", "-i", metavar="FILE", help="INPUT, by its name.")
    ] = None,
    realtime: Annotated[
        bool | None,
        typer.Option(
            "--realtime/--fast",
            help="Pace of INPUT: as it would be heard, or as fast as it can be read. "
            "[default: --fast for a recording, --realtime for -]",
        ),
    ] = None,
    rate: Annotated[
        int | None,
        typer.Option(
            metavar="HZ",
            help="Sampling rate of the samples on standard input. [default: 16000]",
        ),
    ] = None,
    device: Annotated[
        str | None, typer.Option(metavar="NAME", help="Microphone: its number or part of its name.")
    ] = None,
    list_devices: Annotated[
        bool, typer.Option("--list-devices", help="List the microphones, and stop.")
    ] = False,
    begin: Annotated[
        str | None,
        typer.Option(metavar="TIME", help="Start of a recording: seconds or [hh:]mm:ss."),
    ] = None,
    track: Track = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="FILE", help="Append finished utterances here."),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print every event as a JSON line.")] = False,
    model: Annotated[
        str | None,
        typer.Option(metavar="NAME|PATH", help="See `ark-asr models list`. [default: ark-mini]"),
    ] = None,
    engine: Annotated[
        str | None, typer.Option(metavar="NAME", help="onnx or torch. [default: what fits]")
    ] = None,
    threads: Annotated[
        int | None, typer.Option(metavar="N", help="CPU threads. [default: all cores]")
    ] = None,
    step: Annotated[
        float, typer.Option(metavar="S", help="Sound between two looks at unfinished speech.")
    ] = 0.4,
    pause: Annotated[
        float, typer.Option(metavar="S", help="Silence that ends an utterance.")
    ] = 0.3,
    max_utterance: Annotated[
        float, typer.Option(metavar="S", help="Longer speech is cut in its longest short pause.")
    ] = 10.0,
    lead: Annotated[
        float, typer.Option(metavar="S", help="Sound before an utterance that is heard with it.")
    ] = 0.15,
    threshold: Annotated[
        float, typer.Option(metavar="P", help="Probability from which sound is taken for speech.")
    ] = 0.5,
    words: Annotated[
        bool,
        typer.Option("--words", help="With --json: time and confidence of each finished word."),
    ] = False,
    hotwords: Hotwords = None,
    hotword_boost: HotwordBoost = None,
) -> None:
    """Caption sound as it comes in; Ctrl-C ends.

    On a terminal, settled words stand in full colour and those that may still change in grey;
    elsewhere one line is printed per finished utterance. Nothing is stored unless --output asks.
    """
    with outcome(), ExitStack() as stack:
        from ark_asr.cli.captions import captions_for
        from ark_asr.pipeline import Microphone, Recognizer
        from ark_asr.pipeline.live import check_live_options
        from ark_asr.pipeline.options import check_options
        from ark_asr.types import LiveOptions, TranscribeOptions

        if list_devices:
            typer.echo("\n".join(Microphone.devices()) or "no microphone is known to the system")
            return
        if input_ is not None and named is not None:
            raise OptionError("INPUT and --input say the same; leave one of them out")
        if words and not json:
            raise OptionError("--words needs --json: nothing else can hold times")
        input_ = named if input_ is None else input_
        times = LiveOptions(
            step=step, pause=pause, max_utterance=max_utterance, lead=lead, threshold=threshold
        )
        check_live_options(times)
        options = search_options(
            TranscribeOptions(words=words),
            beam_size=None,
            hotwords=hotwords,
            hotword_boost=hotword_boost,
            instruction=None,
        )
        check_options(options)
        blocks, as_heard = _source(
            input_, realtime, rate, stack, device=device, begin=begin, track=track
        )
        file = None if output is None else stack.enter_context(_appending(output))
        recognizer = stack.enter_context(Recognizer.load(model, engine=engine, threads=threads))
        session = recognizer.live(times, options)
        captions = stack.enter_context(captions_for(json=json, file=file))
        _run(session, blocks, captions, as_heard=as_heard)


def _source(
    input_: str | None,
    realtime: bool | None,
    rate: int | None,
    stack: ExitStack,
    *,
    device: str | None,
    begin: str | None,
    track: int | None,
) -> tuple[Iterable[FloatArray], bool]:
    """Where the sound comes from, and whether it comes at the pace of speech."""
    from ark_asr.pipeline import Microphone, file_blocks, paced, pcm_blocks

    for name, value in (("begin", begin), ("track", track)):
        if value is not None and input_ in (None, "-"):
            raise OptionError(f"--{name} is for recordings; leave it out")
    if rate is not None and input_ != "-":
        raise OptionError("--rate is for samples on standard input (-); leave it out")
    if device is not None and input_ is not None:
        raise OptionError("--device is for the microphone; leave it or INPUT out")
    if input_ is None:
        if realtime is False:
            raise OptionError("a microphone cannot be read faster than it hears; leave out --fast")
        stack.enter_context(drivers_quiet())
        return stack.enter_context(closing(Microphone(device))), True
    if input_ == "-":
        return pcm_blocks(
            sys.stdin.buffer, _PIPE_RATE if rate is None else rate
        ), realtime is not False
    start = None if begin is None else parse_time(begin)
    blocks = file_blocks(input_, begin=start, track=track, warn=say)
    first = next(blocks, None)  # what is wrong with a file shows before the model is loaded
    if first is None:
        raise AudioError(f"{input_}: has no sound after --begin")
    whole = _chained(first, blocks)
    return (paced(whole), True) if realtime else (whole, False)


def _chained(first: FloatArray, rest: Iterator[FloatArray]) -> Iterator[FloatArray]:
    yield first
    yield from rest


def _run(
    session: LiveSession, blocks: Iterable[FloatArray], captions: Captions, *, as_heard: bool
) -> None:
    from ark_asr.pipeline import Pump

    stopped = threading.Event()
    trouble: AudioError | None = None
    try:
        if as_heard:
            with Pump(blocks) as pump, _interrupting(stopped, pump.stop):
                for block, waiting in pump:
                    captions.show(session.feed(block, waiting=waiting), block)
        else:
            with _interrupting(stopped, stopped.set):
                for block in blocks:
                    captions.show(session.feed(block), block)
                    if stopped.is_set():
                        break
    except AudioError as error:  # what was heard before it is not lost
        trouble = error
    captions.show(session.finish())
    if trouble is not None:
        raise trouble
    if stopped.is_set():
        say("stopped")


@contextmanager
def _interrupting(stopped: threading.Event, stop: Callable[[], None]) -> Iterator[None]:
    """Let Ctrl-C end the loop between two blocks: an interrupted session could not be finished."""

    def interrupt(*_: object) -> None:
        stopped.set()
        stop()

    before = signal.signal(signal.SIGINT, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


@contextmanager
def _appending(path: Path) -> Iterator[TextIO]:
    try:
        file = path.open("a", encoding="utf-8")
    except OSError as error:
        raise OptionError(f"{path}: cannot be written ({error.strerror})") from None
    with file:
        yield file
