"""What the services of this room share on the command line: ``python -m ark_asr.integrations...``.

They are started by orchestrators that know the modules and options they replace, so they are
modules to be run and not verbs of ``ark-asr``: see ``docs/decisions.md``.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

from ark_asr.errors import ArkError, MissingExtraError

if TYPE_CHECKING:
    from fastapi import FastAPI

    from ark_asr.server.settings import Settings

BAD_INPUT = 2


def parser(module: str, what: str, port: int) -> argparse.ArgumentParser:
    """Options that all services have."""
    found = argparse.ArgumentParser(f"python -m {module}", description=what)
    found.add_argument("--model", metavar="NAME|PATH", help="see `ark-asr models list`")
    found.add_argument("--host", default="127.0.0.1", metavar="ADDRESS", help="listen here")
    found.add_argument("--port", type=int, default=port, metavar="N", help="(%(default)s)")
    found.add_argument("--open-to-all", action="store_true", help="needed for any other --host")
    found.add_argument("--threads", type=int, metavar="N", help="CPU threads (all cores)")
    return found


def serve(options: argparse.Namespace, make: Callable[[Settings], FastAPI]) -> int:
    """Serve until SIGTERM or Ctrl-C.

    Args:
        options: Those of `parser`.
        make: Makes the application.

    Returns:
        The exit code; what was wrong is said in one line.
    """
    try:
        try:
            from ark_asr.server.running import run
            from ark_asr.server.settings import Settings
        except ModuleNotFoundError as error:
            if (error.name or "").startswith("ark_asr"):
                raise
            raise MissingExtraError("the service", "server") from None
        settings = Settings(host=options.host, port=options.port, open_to_all=options.open_to_all)
        run(make(settings), settings, ready=lambda address: _say(f"serving at {address}"))
    except ArkError as error:
        _say(str(error))
        return BAD_INPUT
    except KeyboardInterrupt:
        return 0
    return 0


def _say(line: str) -> None:
    print(f"ark-asr: {line}", file=sys.stderr, flush=True)
