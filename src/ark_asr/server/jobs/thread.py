"""The store of long jobs, asked from the event loop in a thread of its own: a disk takes time."""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from ark_asr.server.problems import Problem

_PATIENCE = 5.0
_FULL = "jobs_not_written"
_T = TypeVar("_T")
_log = logging.getLogger(__name__)


class StoreThread:
    """One thread, in which everything is done in turn."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, "jobs")

    async def ask(self, work: Callable[..., _T], *values: object, **named: object) -> _T:
        """The result of some work.

        Raises:
            Problem: 507: the file cannot be written or read, as when its disk is full.
        """
        loop = asyncio.get_running_loop()
        try:
            return await loop.run_in_executor(self._thread, lambda: work(*values, **named))
        except sqlite3.OperationalError as error:
            message = f"the file of jobs cannot be used now ({error}); try again later"
            raise Problem(507, message, None, _FULL, {"Retry-After": "60"}) from None

    async def surely(self, work: Callable[..., _T], *values: object, **named: object) -> _T:
        """As `ask`, and again until there is room; for what nobody would ask again."""
        while True:
            try:
                return await self.ask(work, *values, **named)
            except Problem as problem:
                if problem.code != _FULL:
                    raise
                _log.error("%s: %s", _FULL, problem.message)
            await asyncio.sleep(_PATIENCE)

    def close(self) -> None:
        """End; what was asked is done before."""
        self._thread.shutdown()
