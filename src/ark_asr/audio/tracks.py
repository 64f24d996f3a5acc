"""Which of several audio tracks is heard: languages of a film, a comment, a second microphone.

Tracks are counted from 1, in the order in which FFmpeg lists a file's audio streams: track 2 is its
``0:a:1``. Pictures and subtitles do not count.
"""

from __future__ import annotations

from typing import cast

from av.audio.stream import AudioStream
from av.container import InputContainer

from ark_asr.errors import AudioDecodeError, AudioError, OptionError, printable

_MOST_NAMED = 16
_TITLE_LENGTH = 60


def check_track(track: int | None) -> None:
    """Whether that can be the number of a track.

    Raises:
        OptionError: It cannot.
    """
    number = isinstance(track, int) and not isinstance(track, bool)
    if track is not None and not (number and track >= 1):
        raise OptionError(f"track is {track!r}; it must be a whole number, 1 for the first")


def check_only_track(name: str, track: int | None) -> None:
    """Whether that is the one track that samples without a file have.

    Raises:
        AudioError: It is another.
    """
    if track not in (None, 1):
        raise AudioError(f"{name}: has one audio track, there is none of number {track}")


def find_track(container: InputContainer, name: str, track: int | None) -> AudioStream:
    """The audio stream that is heard.

    Args:
        container: The open file.
        name: What the user calls it.
        track: The number that was asked for; ``None`` for the one that FFmpeg thinks best, or the
            first that can be decoded where that one cannot.

    Raises:
        AudioDecodeError: There is no decoder for the track that was asked for, or for any.
        AudioError: No audio stream, or none of that number; names those that there are.
    """
    streams = container.streams.audio
    if not streams:
        raise AudioError(f"{name}: has no audio stream")
    if track is None:
        best = cast("AudioStream | None", container.streams.best("audio"))
        able = [stream for stream in streams if _decodable(stream)]
        if not able:  # releases of PyAV up to 18.0 would end the process
            raise AudioDecodeError(f"{name}: nothing in it can be decoded (there is no decoder)")
        return best if best in able else able[0]
    if track > len(streams):
        named = [f"{number} ({about(stream)})" for number, stream in enumerate(streams, 1)]
        more = len(named) - _MOST_NAMED
        rest = f" and {more} more" if more > 0 else ""
        has = "one audio track" if len(named) == 1 else f"{len(named)} audio tracks"
        raise AudioError(
            f"{name}: has {has}, there is none of number {track}; "
            f"{'it is' if len(named) == 1 else 'they are'} {', '.join(named[:_MOST_NAMED])}{rest}"
        )
    if not _decodable(chosen := streams[track - 1]):
        raise AudioDecodeError(f"{name}: there is no decoder for track {track} ({about(chosen)})")
    return chosen


def choice(container: InputContainer, name: str, taken: AudioStream) -> str | None:
    """One line that says which of several tracks was taken; ``None`` if there is only one."""
    indices = [stream.index for stream in container.streams.audio]
    if len(indices) == 1:
        return None
    number = indices.index(taken.index) + 1
    return (
        f"{name}: has {len(indices)} audio tracks and none was asked for; "
        f"track {number} was taken ({about(taken)})"
    )


def about(stream: AudioStream) -> str:
    """Language, title, codec and channels of a track, as far as its file names them."""
    tags, facts = stream.metadata, []
    if (language := tags.get("language", "und")) != "und":
        facts.append(printable(language[:_TITLE_LENGTH]))
    # MP4 and QuickTime call a title name.
    if title := (tags.get("title") or tags.get("name") or "").strip():
        cut = f"{title[:_TITLE_LENGTH]}..." if len(title) > _TITLE_LENGTH else title
        facts.append(f'"{printable(cut)}"')
    if not _decodable(stream):
        return ", ".join([*facts, "unknown codec"])
    channels = stream.channels
    facts += [
        stream.codec_context.codec.canonical_name,
        "1 channel" if channels == 1 else f"{channels} channels",
    ]
    return ", ".join(facts)


def _decodable(stream: AudioStream) -> bool:
    # PyAV has no context where FFmpeg has no decoder, though its types do not say so.
    return cast("object", stream.codec_context) is not None
