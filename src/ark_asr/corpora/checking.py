"""What is wrong with a collection: each finding names its record and its kind.

Sound is decoded to its end. Two recordings are the same if their samples are, whatever lossless
container they are in; the same speech in two lossy codecs is not found.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from ark_asr.batch.records import Record
from ark_asr.corpora.manifest import seconds_of, speaker_of
from ark_asr.corpora.sound import Encoding, Sound, all_sounds, listen
from ark_asr.errors import AudioError, OptionError

# A header may count a last frame that holds less; more than this is another length.
_LENGTH_SECONDS, _LENGTH_SHARE = 0.1, 0.02
_SILENT = 1e-4  # peak: three steps of 16 bits
# UTF-8 that was read as Latin-1 or Windows-1252: "Ã¤", "â€™".
_MISREAD = re.compile(r"[ÂÃ][\u0080-\u00bf]|â€")

KINDS = {
    "unreadable": "no sound can be decoded, or there is no file",
    "damaged": "parts of the recording are lost",
    "duration": "it is not as long as its row says",
    "short": "shorter than --min-seconds",
    "long": "longer than --max-seconds",
    "silent": "there is nothing to hear",
    "empty-text": "there is no transcript",
    "text-encoding": "characters that are no text, or were read in the wrong encoding",
    "too-much-text": "more characters than can be said in that time",
    "duplicate": "the same samples as an earlier row",
    "shared-speaker": "a speaker of this part is in another part, too",
}


@dataclass(frozen=True, slots=True)
class Limits:
    """What is still right.

    Attributes:
        shortest: Seconds.
        longest: Seconds; ``None`` for any length.
        fastest: Characters of text per second of sound.
    """

    shortest: float = 0.1
    longest: float | None = None
    fastest: float = 40.0

    def __post_init__(self) -> None:
        """Refuse what nothing could be compared with.

        Raises:
            OptionError: Names the option.
        """
        for name, value in (
            ("min-seconds", self.shortest),
            ("max-seconds", self.longest),
            ("max-characters", self.fastest),
        ):
            if value is not None and not value >= 0:
                raise OptionError(f"--{name} is {value:g}; it must be a number from 0 on")


@dataclass(frozen=True, slots=True)
class Finding:
    """Something wrong.

    Attributes:
        kind: One of `KINDS`.
        part: The part that the row is of.
        number: Its line.
        audio: Its recording.
    """

    kind: str
    part: str
    number: int
    audio: str
    message: str

    def __str__(self) -> str:
        where = f"{self.part}: " if self.part else ""
        return f"{where}line {self.number}: {self.kind}: {self.audio}: {self.message}"


@dataclass(slots=True)
class Checked:
    """What was looked at, besides the findings.

    Attributes:
        encodings: How many rows have each.
    """

    rows: int = 0
    seconds: float = 0.0
    encodings: Counter[Encoding] = field(default_factory=Counter)


@dataclass(frozen=True, slots=True)
class Part:
    """Rows that belong together: a manifest, or those of one ``split`` in it."""

    name: str
    records: Sequence[Record]


def check(
    parts: Sequence[Part],
    limits: Limits,
    checked: Checked,
    *,
    threads: int | None = None,
    progress: Callable[[int], None] = lambda _: None,
) -> Iterator[Finding]:
    """All findings, in the order of parts and rows; shared speakers come last.

    Args:
        parts: No two have the same name.
        limits: What is still right.
        checked: Filled while findings are taken.
        threads: That decode; ``None`` for all cores.
        progress: Called with the number of rows done.
    """
    first_with: dict[str, tuple[Part, Record]] = {}
    for part in parts:
        for record, sound in all_sounds(part.records, listen, threads):
            checked.rows += 1
            progress(checked.rows)
            if isinstance(sound, AudioError):
                yield _finding("unreadable", part, record, _without(record.path, str(sound)))
            else:
                checked.seconds += sound.seconds
                checked.encodings[sound.encoding] += 1
                yield from _of_sound(part, record, sound, limits)
                where = first_with.setdefault(sound.digest, (part, record))
                if where[1] is not record and sound.peak >= _SILENT:
                    yield _finding("duplicate", part, record, f"the same as {_name(*where)}")
            yield from _of_text(part, record)
    yield from _shared_speakers(parts)


def _of_sound(part: Part, record: Record, sound: Sound, limits: Limits) -> Iterator[Finding]:
    for line in sound.warnings:
        yield _finding("damaged", part, record, _without(record.path, line))
    stated, seconds = seconds_of(record), sound.seconds
    if stated is not None and abs(stated - seconds) > max(_LENGTH_SECONDS, _LENGTH_SHARE * seconds):
        yield _finding("duration", part, record, f"{seconds:.2f} s, the row says {stated:.2f} s")
    if seconds < limits.shortest:
        yield _finding("short", part, record, f"{seconds:.2f} s")
    if limits.longest is not None and seconds > limits.longest:
        yield _finding("long", part, record, f"{seconds:.2f} s")
    if sound.peak < _SILENT:
        yield _finding("silent", part, record, f"its greatest sample is {sound.peak:.1g}")
    if (speed := len(record.text) / seconds) > limits.fastest:
        yield _finding("too-much-text", part, record, f"{speed:.0f} characters per second")


def _of_text(part: Part, record: Record) -> Iterator[Finding]:
    text = record.text
    if not text.strip():
        yield _finding("empty-text", part, record, "there is no transcript")
    if (odd := next(filter(_is_no_text, text), None)) is not None:
        yield _finding("text-encoding", part, record, f"has {odd!a}")
    elif (misread := _MISREAD.search(text)) is not None:
        yield _finding("text-encoding", part, record, f"{misread[0]!r} was read as Latin-1")
    elif not unicodedata.is_normalized("NFC", text):
        yield _finding("text-encoding", part, record, "accents are characters of their own (NFC)")


def _is_no_text(character: str) -> bool:
    """Control, private and unassigned characters, and what a decoder puts where it failed."""
    return character == "\ufffd" or unicodedata.category(character) in {"Cc", "Co", "Cn"}


def _shared_speakers(parts: Sequence[Part]) -> Iterator[Finding]:
    first: dict[str, Part] = {}
    for part in parts:
        speakers: dict[str, list[Record]] = {}
        for record in part.records:
            if (speaker := speaker_of(record)) is not None:
                speakers.setdefault(speaker, []).append(record)
        for speaker, records in speakers.items():
            other = first.setdefault(speaker, part)
            if other is not part:
                message = f"{speaker} is in {other.name} and in {len(records)} rows of {part.name}"
                yield _finding("shared-speaker", part, records[0], message)


def _finding(kind: str, part: Part, record: Record, message: str) -> Finding:
    return Finding(kind, part.name, record.number, record.audio, message)


def _name(part: Part, record: Record) -> str:
    where = f"{part.name}: " if part.name else ""
    return f"{where}line {record.number}, {record.audio}"


def _without(path: str, message: str) -> str:
    return message.removeprefix(f"{path}: ")
