"""In which order rows are heard, and which process hears what.

The order depends on the seed alone, not on the number of processes.
"""

from __future__ import annotations

import hashlib
import heapq
import itertools
import random
from collections.abc import Iterator, Sequence

from ark_asr.errors import OptionError
from ark_asr.training.config import DataConfig, Source
from ark_asr.training.data import FRAME_RATE, padded_frames
from ark_asr.training.rows import Row, read_manifest


def gather_rows(sources: Sequence[Source], max_seconds: float) -> tuple[list[Row], int]:
    """All rows of all manifests, each as often as its source says, and how many were too long."""
    rows: list[Row] = []
    for source in sources:
        rows += read_manifest(source.manifest, augment=source.augment) * source.repeat
    short = [row for row in rows if row.seconds <= max_seconds]
    if not short:
        raise OptionError(f"no manifest has a clip of at most {max_seconds:g} s")
    return short, len(rows) - len(short)


def fingerprint(rows: Sequence[Row]) -> int:
    """A number below 2^48 for what rows say; paths may differ from machine to machine."""
    digest = hashlib.sha256()
    for row in rows:
        digest.update(f"{row.text}\0{row.begin}\0{row.end}\0{row.seconds}\n".encode())
    return int.from_bytes(digest.digest()[:6])


def fingerprint_of(order: Sequence[tuple[int, list[int]]]) -> str:
    """A name for batches of a plan: of others there is another."""
    return hashlib.sha256(repr([*order]).encode()).hexdigest()


def plan(
    rows: Sequence[Row], config: DataConfig, *, seed: int, batches: int
) -> list[tuple[int, list[int]]]:
    """The first ``batches`` batches of a run: the epoch and the row numbers of each.

    Rows of similar length go together. While the ramp lasts, a batch whose clips are longer than
    the limit of the moment waits until the limit has grown.
    """
    order: list[tuple[int, list[int]]] = []
    epochs = itertools.count()

    def extend(length: int) -> None:
        while len(order) < length:
            epoch = next(epochs)
            order.extend((epoch, batch) for batch in _epoch(rows, config, seed, epoch))

    if config.ramp_steps:
        extend(config.ramp_steps)
        order = list(_ramped(order, rows, config))
    extend(batches)
    return order[:batches]


def _epoch(rows: Sequence[Row], config: DataConfig, seed: int, epoch: int) -> Iterator[list[int]]:
    rng = random.Random(f"{seed}:{epoch}")  # noqa: S311 - an order, not a secret
    groups: dict[int, list[int]] = {}
    for index, row in enumerate(rows):
        groups.setdefault(padded_frames(round(row.seconds * FRAME_RATE)), []).append(index)
    batches = []
    for frames, group in sorted(groups.items()):
        rng.shuffle(group)
        size = int(config.batch_seconds * FRAME_RATE / frames)
        size = max(min(size, config.batch_clips), 1)
        batches += [group[i : i + size] for i in range(0, len(group), size)]
    rng.shuffle(batches)
    yield from batches


def _ramped(
    order: Sequence[tuple[int, list[int]]], rows: Sequence[Row], config: DataConfig
) -> Iterator[tuple[int, list[int]]]:
    longest = [max(rows[i].seconds for i in batch) for _, batch in order]
    waiting = sorted(range(len(order)), key=lambda i: -longest[i])  # the shortest at the end
    fitting: list[int] = []  # a heap: the first of them is next
    given = [False] * len(order)
    first = 0  # that is not given, where none fits
    for step in range(min(config.ramp_steps, len(order))):
        limit = config.ramp_seconds + (config.max_seconds - config.ramp_seconds) * (
            step / config.ramp_steps
        )
        while waiting and (limit >= config.max_seconds or longest[waiting[-1]] <= limit):
            heapq.heappush(fitting, waiting.pop())
        while fitting and given[fitting[0]]:
            heapq.heappop(fitting)
        while given[first]:
            first += 1
        chosen = heapq.heappop(fitting) if fitting else first
        given[chosen] = True
        yield order[chosen]
    yield from (batch for is_given, batch in zip(given, order, strict=True) if not is_given)


def deal(costs: Sequence[float], hands: int) -> list[list[int]]:
    """Give each process the same number of batches and about the same work.

    Args:
        costs: Of each batch of an update.
        hands: Number of processes; it divides the number of batches.

    Returns:
        Numbers of batches for each process, in order.
    """
    room = len(costs) // hands
    given: list[list[int]] = [[] for _ in range(hands)]
    for number in sorted(range(len(costs)), key=lambda i: (-costs[i], i)):
        free = [hand for hand in given if len(hand) < room]
        min(free, key=lambda hand: sum(costs[i] for i in hand)).append(number)
    return [sorted(hand) for hand in given]
