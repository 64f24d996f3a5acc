"""Each channel of a recording is a speaker: two-channel calls, one microphone for each person."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from ark_asr.audio import Source, open_audio, readable_again
from ark_asr.errors import OptionError
from ark_asr.pipeline.options import check_options
from ark_asr.pipeline.recognizer import Recognizer
from ark_asr.pipeline.speakers import letter
from ark_asr.types import Progress, Segment, Timings, TranscribeOptions, Transcript

_DEFAULTS = TranscribeOptions()


def transcribe_channels(
    recognizer: Recognizer,
    source: Source,
    options: TranscribeOptions = _DEFAULTS,
    *,
    source_rate: int | None = None,
    progress: Callable[[Progress], None] | None = None,
    cancelled: Callable[[], bool] | None = None,
) -> Transcript:
    """Transcribe each channel by itself and put what was said in order of time.

    The first channel is ``Speaker A``, the second ``Speaker B``, also if nobody speaks in the
    first. Segments of different speakers may overlap, as people do.

    Args:
        recognizer: The model.
        source: As for `Recognizer.transcribe`, but it must be possible to read it several times.
        options: How to do it; its ``channel`` does not matter.
        source_rate: Hz of an array.
        progress: As for `Recognizer.transcribe`. The channels follow each other: the total is the
            sum of their seconds, and segments come channel by channel.
        cancelled: Asked between tokens.

    Raises:
        OptionError: It cannot be read several times, or has only one channel.
        AudioError: The sound cannot be used.
    """
    check_options(options)
    if not readable_again(source):
        raise OptionError("a pipe can be read only once; channels need a file")
    with open_audio(
        source, begin=options.begin, source_rate=source_rate, track=options.track
    ) as sound:
        name, count = sound.name, sound.channels
    if count == 1:
        raise OptionError(f"{name}: has one channel; leave channels out, it is one mixed recording")
    heard: list[Transcript] = []
    for channel in range(count):
        heard.append(
            recognizer.transcribe(
                source,
                replace(options, channel=channel),
                source_rate=source_rate,
                progress=_reporter(progress, heard, count) if progress else None,
                cancelled=cancelled,
            )
        )
    return _merged(heard)


def _reporter(
    progress: Callable[[Progress], None], before: Sequence[Transcript], count: int
) -> Callable[[Progress], None]:
    """Tells of one channel as a part of all."""
    speaker = letter(len(before))
    done = sum(transcript.duration for transcript in before)
    spent = sum(transcript.timings.total for transcript in before if transcript.timings)

    def report(one: Progress) -> None:
        progress(
            replace(
                one,
                done=done + one.done,
                total=None if one.total is None else count * one.total,
                elapsed=spent + one.elapsed,
                segments=tuple(_said_by(segment, speaker) for segment in one.segments),
            )
        )

    return report


def _said_by(segment: Segment, speaker: str) -> Segment:
    words = tuple(replace(word, speaker=speaker) for word in segment.words)
    return replace(segment, words=words, speaker=speaker)


def _merged(heard: Sequence[Transcript]) -> Transcript:
    segments = [
        _said_by(segment, letter(channel))
        for channel, transcript in enumerate(heard)
        for segment in transcript.segments
    ]
    # Sorting is stable: what begins and ends together stays in the order of the channels.
    segments.sort(key=lambda segment: (segment.start, segment.end))
    warnings = dict.fromkeys(line for transcript in heard for line in transcript.warnings)
    return replace(
        heard[0],
        segments=tuple(segments),
        duration=max(transcript.duration for transcript in heard),
        timings=_summed([one.timings for one in heard if one.timings]),
        warnings=tuple(warnings),
    )


def _summed(timings: Sequence[Timings]) -> Timings:
    before, first_text = 0.0, None
    for one in timings:
        if first_text is None and one.first_text is not None:
            first_text = before + one.first_text
        before += one.total
    return Timings(
        audio=max(one.audio for one in timings),
        total=before,
        first_text=first_text,
        decode=sum(one.decode for one in timings),
        features=sum(one.features for one in timings),
        encoder=sum(one.encoder for one in timings),
        decoder=sum(one.decoder for one in timings),
        words=sum(one.words for one in timings),
    )
