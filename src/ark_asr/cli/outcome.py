"""How a verb ends: one line on standard error and an exit code, never a traceback for bad input."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

import typer

from ark_asr.errors import ArkError, ManifestError, MissingExtraError, TroubleError, printable

NOT_UNDERSTOOD = 1
BAD_INPUT = 2
INTERRUPTED = 130


def say(line: str, *details: str) -> None:
    """One line on standard error, and one for each detail, whatever is in foreign files' names."""
    for text in (f"ark-asr: {line}", *details):
        print(printable(text), file=sys.stderr, flush=True)


@contextmanager
def needs_extra(what: str, extra: str) -> Iterator[None]:
    """Around imports: say which optional part is missing.

    Raises:
        MissingExtraError: A module of another package is not installed.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        if (error.name or "").split(".")[0] == "ark_asr":
            raise
        raise MissingExtraError(what, extra) from None


@contextmanager
def outcome() -> Iterator[None]:
    """Turn what a verb raises into its exit code.

    2 for what a user can mend (a full disk, too), 1 where ``--strict`` found a clip that was not
    understood, 130 for Ctrl-C.
    """
    try:
        yield
    except TroubleError as error:
        say(str(error))
        raise typer.Exit(NOT_UNDERSTOOD) from None
    except ManifestError as error:
        say(error.message, *error.details)
        raise typer.Exit(BAD_INPUT) from None
    except ArkError as error:
        say(str(error))
        raise typer.Exit(BAD_INPUT) from None
    except BrokenPipeError:  # nobody reads any more, and nobody is told
        raise
    except OSError as error:
        say(str(error))
        raise typer.Exit(BAD_INPUT) from None
    except KeyboardInterrupt:
        say("interrupted")
        raise typer.Exit(INTERRUPTED) from None
