"""Parts for training and testing that share no speaker."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence

from ark_asr.batch.records import Record
from ark_asr.corpora.manifest import seconds_of, speaker_of, with_field
from ark_asr.errors import OptionError


def parse_shares(text: str) -> dict[str, float]:
    """``train=0.8,dev=0.1,test=0.1`` as shares that add up to one.

    Raises:
        OptionError: It is something else.
    """
    shares: dict[str, float] = {}
    for item in text.split(","):
        name, _, value = item.strip().partition("=")
        try:
            share = float(value)
        except ValueError:
            share = math.nan
        if not name.isidentifier() or name in shares or not 0 < share < 1:
            raise OptionError(f"{item.strip()!r}: parts are named once, each with its share, as in "
                              "train=0.8,dev=0.1,test=0.1")  # fmt: skip
        shares[name] = share
    if abs(sum(shares.values()) - 1) > 1e-6:
        raise OptionError(f"the shares of {text} add up to {sum(shares.values()):g}, not to 1")
    return shares


def split_by_speaker(
    records: Sequence[Record],
    shares: Mapping[str, float],
    *,
    seed: int = 0,
    field: str = "speaker",
    unknown: str | None = None,
) -> dict[str, list[Record]]:
    """Divide records so that no speaker is in two parts; each gets its part's name as ``split``.

    Speakers come in an order that depends on the seed and their names alone, and each goes to the
    part that lacks most seconds of its share (rows, unless all say their length). The order of the
    input does not matter.

    Args:
        records: All rows.
        shares: Of each part; they add up to one.
        seed: Another one gives another division.
        field: Key that names the speaker.
        unknown: Part for rows without a speaker.

    Raises:
        OptionError: Rows have no speaker and ``unknown`` does not say where they go, or there are
            fewer speakers than parts.
    """
    if unknown is not None and unknown not in shares:
        raise OptionError(f"there is no part {unknown!r}; there are {', '.join(shares)}")
    by_speaker: dict[str, list[Record]] = {}
    nobody: list[Record] = []
    for record in records:
        speaker = speaker_of(record, field)
        rows = nobody if speaker is None else by_speaker.setdefault(speaker, [])
        rows.append(record)
    if nobody and unknown is None:
        raise OptionError(
            f"{len(nobody)} of {len(records)} rows have no {field!r}, the first is line "
            f"{nobody[0].number}; say which part they go to with --unknown"
        )
    if len(by_speaker) < len(shares):
        raise OptionError(f"{len(by_speaker)} speakers cannot be in {len(shares)} parts")

    known = all(seconds_of(record) is not None for record in records)
    weights = {name: _weight(rows, known=known) for name, rows in by_speaker.items()}
    total = sum(weights.values())
    lacking = {part: share * total for part, share in shares.items()}
    part_of: dict[str, str] = {}
    order = sorted(by_speaker, key=lambda name: _chance(seed, name))
    for number, speaker in enumerate(order):
        empty = [part for part in shares if part not in part_of.values()]
        # The last ones must go where nobody is yet.
        among = empty if len(order) - number == len(empty) else list(shares)
        part_of[speaker] = max(among, key=lambda part: lacking[part])
        lacking[part_of[speaker]] -= weights[speaker]
    parts: dict[str, list[Record]] = {part: [] for part in shares}
    for record in records:  # their order within a part stays
        speaker = speaker_of(record, field)
        part = unknown if speaker is None else part_of[speaker]
        if part is not None:
            parts[part].append(with_field(record, "split", part))
    return parts


def _weight(records: Sequence[Record], *, known: bool) -> float:
    return sum(seconds_of(record) or 0.0 for record in records) if known else len(records)


def _chance(seed: int, name: str) -> bytes:
    return hashlib.sha256(f"{seed}\0{name}".encode()).digest()
