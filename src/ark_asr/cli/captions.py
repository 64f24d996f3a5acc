"""How live captions look: on a terminal, as lines, as JSON lines."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol, TextIO

import numpy as np

from ark_asr.cli.progress import clock

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

    from ark_asr.types import FloatArray, LiveEvent

_METER = "▁▂▃▄▅▆▇█"
_QUIETEST_DB = -60.0


class Captions(Protocol):
    """Where events are shown."""

    def show(self, events: Sequence[LiveEvent], sound: FloatArray | None = None) -> None:
        """Take what has become known, and the sound that was heard."""
        ...


@contextmanager
def captions_for(*, json: bool, file: TextIO | None) -> Iterator[Captions]:
    """Captions for where standard output goes.

    Args:
        json: Print every event.
        file: Gets the text of finished utterances as well.
    """
    if json:
        yield JsonCaptions(file)
    elif sys.stdout.isatty():
        from rich.console import Console

        with Screen(Console(), file).running() as screen:
            yield screen
    else:
        yield LineCaptions(file)


class LineCaptions:
    """One line per finished utterance."""

    def __init__(self, file: TextIO | None) -> None:
        self._file = file

    def show(self, events: Sequence[LiveEvent], sound: FloatArray | None = None) -> None:  # noqa: ARG002 - no meter here
        """See ``Captions``."""
        for event in events:
            if event.kind == "final" and event.settled:
                print(event.settled, flush=True)
                append(self._file, event)


class JsonCaptions:
    """One JSON object per event, as `ark_asr.writers.events` describes it."""

    def __init__(self, file: TextIO | None) -> None:
        self._file = file

    def show(self, events: Sequence[LiveEvent], sound: FloatArray | None = None) -> None:  # noqa: ARG002 - no meter here
        """See ``Captions``."""
        from ark_asr.writers.events import event_record

        for event in events:
            print(json.dumps(event_record(event), ensure_ascii=False), flush=True)
            append(self._file, event)


class Screen:
    """A terminal: finished lines scroll up, the utterance that is going on stands below them."""

    def __init__(self, console: Console, file: TextIO | None) -> None:
        from rich.live import Live

        self._console = console
        self._file = file
        self._live = Live(console=console, refresh_per_second=10, transient=True)
        self._latest: LiveEvent | None = None
        self._heard = 0.0
        self._level = _QUIETEST_DB

    @contextmanager
    def running(self) -> Iterator[Screen]:
        """Draw until the end of the block."""
        with self._live:
            yield self

    def show(self, events: Sequence[LiveEvent], sound: FloatArray | None = None) -> None:
        """See ``Captions``."""
        from rich.text import Text

        if sound is not None and len(sound):
            self._heard += len(sound) / 16_000
            self._level = loudness(sound)
        for event in events:
            if event.kind == "final" and event.settled:
                line = Text.assemble((f"{clock(event.start)}  ", "dim"), event.settled)
                self._console.print(line)
                append(self._file, event)
            self._latest = None if event.kind == "final" else event
        self._live.update(self.view())

    def view(self) -> Text:
        """The utterance that is going on, and a line about the session."""
        from rich.text import Text

        event = self._latest
        words = Text()
        if event is not None and event.kind == "partial":
            words.append(event.settled, "bold").append(event.pending, "dim")
        lag = event.lag if event is not None else 0.0
        state = f"{meter(self._level)} {clock(self._heard)}  {lag:.1f} s behind"
        words.append(f"\n{state}", "dim")
        if event is not None and event.behind:
            words.append("  this computer is too slow for captions per word", "bold")
        return words


def loudness(samples: FloatArray) -> float:
    """Decibels of float samples relative to full scale, at least -60."""
    power = float(np.mean(np.square(samples, dtype=np.float64)))
    return max(10 * float(np.log10(max(power, 1e-12))), _QUIETEST_DB)


def meter(decibels: float) -> str:
    """One character for a loudness between -60 and 0 decibels."""
    share = 1 - max(min(decibels, 0.0), _QUIETEST_DB) / _QUIETEST_DB
    return _METER[min(int(share * len(_METER)), len(_METER) - 1)]


def append(file: TextIO | None, event: LiveEvent) -> None:
    """Write a finished utterance as a line that is safe on the disk."""
    if file is not None and event.kind == "final" and event.settled:
        file.write(f"{event.settled}\n")
        file.flush()
