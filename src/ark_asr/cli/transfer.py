"""The line that shows how far a long read or write of files is."""

from __future__ import annotations

import sys
from types import TracebackType
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    import rich.progress


class ByteLine:
    """A bar with bytes, speed and time left; does nothing unless standard error is a terminal.

    Args:
        what: Shown before the bar.
        total: Bytes, if known.
        show: False for ``--quiet``.
    """

    def __init__(self, what: str, total: int | None = None, *, show: bool = True) -> None:
        self._bar: rich.progress.Progress | None = None
        if not (show and sys.stderr.isatty()):
            return
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            DownloadColumn,
            Progress,
            TextColumn,
            TimeRemainingColumn,
            TransferSpeedColumn,
        )

        self._bar = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=24),
            DownloadColumn(),
            TransferSpeedColumn(),
            TimeRemainingColumn(),
            console=Console(stderr=True),
            redirect_stdout=False,
            transient=True,
        )
        self._task = self._bar.add_task(what, total=total)

    def __enter__(self) -> Self:
        if self._bar is not None:
            self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def to(self, done: int, total: int, what: str) -> None:
        """So many bytes are done."""
        if self._bar is not None:
            self._bar.update(self._task, completed=done, total=total, description=what)

    def more(self, count: int) -> None:
        """So many more bytes are done."""
        if self._bar is not None:
            self._bar.advance(self._task, count)
