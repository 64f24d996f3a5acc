"""The progress line on standard error."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from ark_asr.errors import printable

if TYPE_CHECKING:
    import rich.progress

    from ark_asr.types import Progress

_HOURS_FROM = 360.0  # seconds


def clock(seconds: float) -> str:
    """``m:ss`` or ``h:mm:ss``."""
    minutes, secs = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{secs:02d}" if hours else f"{minutes}:{secs:02d}"


def amount(seconds: float) -> str:
    """``1.25 h``, or ``14.3 s`` where hours would hardly be more than 0."""
    return f"{seconds / 3600:.2f} h" if seconds >= _HOURS_FROM else f"{seconds:.1f} s"


def rows_of(count: int) -> str:
    """``1 row``, ``2,000 rows``."""
    return f"{count:,} row{'' if count == 1 else 's'}"


def describe(progress: Progress) -> str:
    """Seconds done, total, speed and time left, as far as they are known."""
    parts = [clock(progress.done)]
    if progress.total is not None:
        parts[0] += f" of {clock(progress.total)}"
    if progress.speed:
        parts.append(f"{progress.speed:.1f}x")
    if progress.left is not None:
        parts.append(f"{clock(progress.left)} left")
    return ", ".join(parts)


class ProgressLine:
    """A bar for one recording; does nothing unless standard error is a terminal.

    Args:
        name: Shown before the bar.
        show: False for ``--quiet``.
    """

    def __init__(self, name: str, *, show: bool = True) -> None:
        self._bar: rich.progress.Progress | None = None
        if not (show and sys.stderr.isatty()):
            return
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn

        self._bar = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=24),
            TextColumn("{task.fields[state]}"),
            console=Console(stderr=True),
            # Standard output is data: rich must not send it through its own console.
            redirect_stdout=False,
            auto_refresh=False,
            transient=True,
        )
        self._task = self._bar.add_task(printable(name), total=None, state="")
        self._bar.start()

    def update(self, progress: Progress) -> None:
        """Show how far it is."""
        if self._bar is not None:
            self._bar.update(
                self._task,
                total=progress.total,
                completed=progress.done,
                state=describe(progress),
                refresh=True,
            )

    @contextmanager
    def aside(self) -> Iterator[None]:
        """Take the bar away while something else is printed on the same terminal."""
        share = self._bar is not None and sys.stdout.isatty()
        if share and self._bar is not None:
            self._bar.stop()
        yield
        if share and self._bar is not None:
            self._bar.start()

    def close(self) -> None:
        """Take the bar away."""
        if self._bar is not None:
            self._bar.stop()
