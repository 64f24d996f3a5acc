"""From a collection to its manifest: records found, given lengths, numbered."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from ark_asr.batch.records import Record, check_values
from ark_asr.corpora.manifest import seconds_of, with_field
from ark_asr.corpora.sound import all_sounds, measure
from ark_asr.errors import AudioError, OptionError


@dataclass(frozen=True, slots=True)
class Built:
    """The records of a manifest.

    Attributes:
        unreadable: Records that were left out, with the reason.
    """

    records: tuple[Record, ...]
    unreadable: tuple[tuple[Record, str], ...]


def build(
    found: Sequence[Record],
    *,
    language: str | None = None,
    threads: int | None = None,
    progress: Callable[[int], None] = lambda _: None,
) -> Built:
    """Give each record its ``duration`` and, where it names none, a language.

    Lengths that the collection states are taken as they are; all others are read from the files,
    whose headers are believed where they state one (`ark_asr.corpora.checking` does not).
    """
    records: list[Record] = []
    unreadable: list[tuple[Record, str]] = []
    for number, (record, seconds) in enumerate(all_sounds(found, _seconds, threads), 1):
        progress(number)
        if isinstance(seconds, AudioError):
            unreadable.append((record, str(seconds)))
            continue
        try:
            check_values([record.path, record.text, record.extra])
        except OptionError as error:  # such as a file name in an old encoding
            unreadable.append((record, f"{record.path}: its name or text {error}"))
            continue
        kept = with_field(record, "duration", round(seconds, 3))
        if language is not None and record.field("language") is None:
            kept = with_field(kept, "language", language)
        records.append(replace(kept, number=len(records) + 1))
    return Built(tuple(records), tuple(unreadable))


def _seconds(record: Record) -> float:
    stated = seconds_of(record)
    return measure(record) if stated is None else stated
