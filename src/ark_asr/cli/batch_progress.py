"""How far a batch is, on standard error."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from ark_asr.cli.outcome import say
from ark_asr.cli.progress import amount, clock

if TYPE_CHECKING:
    import rich.progress

    from ark_asr.batch.job import Tally


def describe(tally: Tally) -> str:
    """Rows, hours of audio, speed, errors and time left, as far as they are known."""
    parts = [f"{tally.rows} of {tally.total} rows", f"{amount(tally.audio)} of audio"]
    if tally.rtfx:
        parts.append(f"RTFx {tally.rtfx:.1f}")
    if tally.failed:
        parts.append(f"{tally.failed} errors")
    if tally.left is not None:
        parts.append(f"{clock(tally.left)} left")
    return ", ".join(parts)


def summary(tally: Tally, output: str) -> str:
    """What a batch has done, in one line."""
    errors = f", {tally.failed} of them errors" if tally.failed else ""
    where = "standard output" if output == "-" else output
    done = f"{where}: {tally.rows} of {tally.total} rows{errors}"
    if not tally.fresh and tally.stopped is None:
        return f"{done}; nothing was left to do"
    took = clock(tally.elapsed) if tally.elapsed >= 60 else f"{tally.elapsed:.1f} s"
    rtfx = f" (RTFx {tally.rtfx:.1f})" if tally.rtfx else ""
    return f"{done}; {amount(tally.audio)} of audio in {took}{rtfx}"


class BatchLine:
    """A bar for a batch; shows nothing unless standard error is a terminal.

    Args:
        show: False for ``--quiet``.
    """

    def __init__(self, *, show: bool = True) -> None:
        self._bar: rich.progress.Progress | None = None
        if not (show and sys.stderr.isatty()):
            return
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn

        self._bar = Progress(
            BarColumn(bar_width=24),
            TextColumn("{task.fields[state]}", markup=False),
            console=Console(stderr=True),
            redirect_stdout=False,
            auto_refresh=False,
            transient=True,
        )
        self._task = self._bar.add_task("", total=None, state="")
        self._bar.start()

    def update(self, tally: Tally) -> None:
        """Show how far it is."""
        if self._bar is not None:
            self._bar.update(
                self._task,
                total=tally.total,
                completed=tally.rows,
                state=describe(tally),
                refresh=True,
            )

    def say(self, line: str) -> None:
        """One line on standard error, with the bar out of its way."""
        if self._bar is not None:
            self._bar.stop()
        say(line)
        if self._bar is not None:
            self._bar.start()

    def close(self) -> None:
        """Take the bar away."""
        if self._bar is not None:
            self._bar.stop()
