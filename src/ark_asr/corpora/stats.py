"""What a collection holds, in numbers."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass

import numpy as np

from ark_asr.batch.records import Record
from ark_asr.corpora.checking import Part
from ark_asr.corpora.manifest import seconds_of, speaker_of
from ark_asr.corpora.sound import all_sounds, measure
from ark_asr.errors import AudioError, printable

_QUANTILES = {"shortest": 0.0, "median": 0.5, "p95": 0.95, "longest": 1.0}
_RARE = 3


@dataclass(frozen=True, slots=True)
class Stats:
    """Numbers of one part.

    Attributes:
        rows: All of them.
        unreadable: Those without a known length, because their recording cannot be read.
        hours: Of sound.
        seconds: Lengths of rows: mean, shortest, median, p95 (95 % are shorter), longest.
        speakers: Different ones; ``None`` if no row names one.
        unknown_speaker: Rows that name none.
        words: Between white space.
        characters: Of text, white space included.
        words_per_minute: Of sound with text.
        characters_per_second: Likewise.
        different_words: Without regard to case.
        alphabet: How often each character occurs, the most frequent first, without white space.
        languages: Rows of each; those that name none are not counted.
    """

    name: str
    rows: int
    unreadable: int
    hours: float
    seconds: Mapping[str, float]
    speakers: int | None
    unknown_speaker: int
    empty_texts: int
    words: int
    characters: int
    words_per_minute: float
    characters_per_second: float
    different_words: int
    alphabet: Mapping[str, int]
    languages: Mapping[str, int]

    @property
    def rare(self) -> list[str]:
        """Characters that occur three times at most: often they are mistakes."""
        return [character for character, count in self.alphabet.items() if count <= _RARE]


def count(part: Part, *, threads: int | None = None) -> Stats:
    """Numbers of a part; recordings are opened only where a row does not say its length."""
    lengths = list(_lengths(part.records, threads))
    known = [seconds for seconds in lengths if seconds is not None]
    texts = [record.text for record in part.records]
    spoken = sum(
        seconds or 0.0 for seconds, text in zip(lengths, texts, strict=True) if text.strip()
    )
    words = [word for text in texts for word in text.split()]
    characters = sum(map(len, texts))
    voices = [speaker_of(record) for record in part.records]
    named = [voice for voice in voices if voice is not None]
    alphabet = Counter(mark for text in texts for mark in text if not mark.isspace())
    languages = Counter(
        str(language) for record in part.records if (language := record.field("language"))
    )
    return Stats(
        name=part.name,
        rows=len(part.records),
        unreadable=len(lengths) - len(known),
        hours=sum(known) / 3600,
        seconds=_spread(known),
        speakers=len(set(named)) if named else None,
        unknown_speaker=len(voices) - len(named),
        empty_texts=sum(not text.strip() for text in texts),
        words=len(words),
        characters=characters,
        words_per_minute=60 * len(words) / spoken if spoken else 0.0,
        characters_per_second=characters / spoken if spoken else 0.0,
        different_words=len({word.casefold() for word in words}),
        alphabet=dict(alphabet.most_common()),
        languages=dict(languages.most_common()),
    )


def to_json(stats: Sequence[Stats]) -> str:
    """An array of objects with the names of `Stats`."""
    return json.dumps([asdict(one) for one in stats], ensure_ascii=False, indent=2) + "\n"


def table(stats: Sequence[Stats]) -> str:
    """A table to read: one column for each part."""
    rows: list[tuple[str, list[str]]] = [
        ("", [printable(one.name) or "all" for one in stats]),
        ("rows", [f"{one.rows}" for one in stats]),
        ("hours", [f"{one.hours:.2f}" for one in stats]),
        ("speakers", ["unknown" if one.speakers is None else f"{one.speakers}" for one in stats]),
    ]
    optional = {
        "rows without a speaker": [one.unknown_speaker for one in stats],
        "unreadable": [one.unreadable for one in stats],
        "without text": [one.empty_texts for one in stats],
    }
    rows += [(name, [*map(str, found)]) for name, found in optional.items() if any(found)]
    for name in ("mean", *_QUANTILES):
        rows.append((f"seconds, {name}", [f"{one.seconds.get(name, 0):.2f}" for one in stats]))
    rows += [
        ("words", [f"{one.words}" for one in stats]),
        ("different words", [f"{one.different_words}" for one in stats]),
        ("words per minute", [f"{one.words_per_minute:.0f}" for one in stats]),
        ("characters per second", [f"{one.characters_per_second:.1f}" for one in stats]),
        ("different characters", [f"{len(one.alphabet)}" for one in stats]),
        ("of them rare (1 to 3)", [printable(" ".join(one.rare[:8])) or "-" for one in stats]),
        ("languages", [printable(" ".join(one.languages)) or "-" for one in stats]),
    ]
    first = max(len(name) for name, _ in rows)
    widths = [max(len(cells[i]) for _, cells in rows) for i in range(len(stats))]
    return "".join(
        f"{name:<{first}}  "
        + "  ".join(f"{cell:>{width}}" for cell, width in zip(cells, widths, strict=True))
        + "\n"
        for name, cells in rows
    )


def _lengths(records: Sequence[Record], threads: int | None) -> Iterator[float | None]:
    def seconds(record: Record) -> float:
        stated = seconds_of(record)
        return measure(record) if stated is None else stated

    for _, found in all_sounds(records, seconds, threads):
        yield None if isinstance(found, AudioError) else found


def _spread(seconds: Sequence[float]) -> dict[str, float]:
    if not seconds:
        return {}
    quantiles = np.quantile(seconds, list(_QUANTILES.values()))
    found = {"mean": float(np.mean(seconds))}
    return found | dict(zip(_QUANTILES, map(float, quantiles), strict=True))
