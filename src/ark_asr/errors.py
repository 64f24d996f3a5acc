"""Every error this package raises on purpose.

::

    ArkError
    ├── AudioError (ValueError)               the sound cannot be used
    │   ├── AudioNotFoundError (FileNotFoundError)
    │   └── AudioDecodeError                  nothing in it can be decoded
    ├── ModelError                            the model cannot be used
    │   ├── ModelNotFoundError (FileNotFoundError)
    │   ├── ModelFormatError (ValueError)     a file of the model is not what it must be
    │   └── DownloadError (ConnectionError)   it could not be fetched
    ├── TranscriptError (ValueError)          a written transcript cannot be read back
    ├── TroubleError (RuntimeError)           `strict`: a clip was not understood
    ├── TrainingError (RuntimeError)          a training run makes no sense any more
    ├── OptionError (ValueError)              an option has a value that makes no sense
    │   └── ManifestError                     lines of a list of recordings are wrong
    └── MissingExtraError (ImportError)       an optional part is not installed

    ArkWarning (UserWarning)
    └── AudioWarning                          the sound is damaged, but part of it was used

Each class also inherits the builtin a caller would think of catching. The message is one line: what
was wrong, then what to do. `printable` and `readable` bring foreign names and texts into one.
"""

from __future__ import annotations


class ArkError(Exception):
    """Base of all errors of this package."""


class AudioError(ArkError, ValueError):
    """The sound cannot be used: no audio stream, no samples, begin after end, not finite, ..."""


class AudioNotFoundError(AudioError, FileNotFoundError):
    """There is no file under that path."""


class AudioDecodeError(AudioError):
    """No decoder could read anything from it."""


class ModelError(ArkError):
    """The model cannot be used."""


class ModelNotFoundError(ModelError, FileNotFoundError):
    """There is no model under that name or path."""


class ModelFormatError(ModelError, ValueError):
    """A file of the model is missing, damaged or of an unexpected form."""


class DownloadError(ModelError, ConnectionError):
    """The model could not be fetched.

    Args:
        message: What happened, and what to do.
        status: The HTTP status that the hub answered, if it was that.
    """

    def __init__(self, message: str, status: int | None = None) -> None:
        super().__init__(message)
        self.status = status


class TranscriptError(ArkError, ValueError):
    """A written transcript cannot be read back."""


class TroubleError(ArkError, RuntimeError):
    """A clip was not understood, and the caller had asked for an error rather than a flag."""


class TrainingError(ArkError, RuntimeError):
    """A training run makes no sense any more: its gradients are not finite or far too large."""


class OptionError(ArkError, ValueError):
    """An option has a value that makes no sense."""


class ManifestError(OptionError):
    """Lines of a list of recordings are wrong.

    Args:
        message: How many.
        details: One line for each.
    """

    def __init__(self, message: str, details: tuple[str, ...]) -> None:
        super().__init__("\n".join([message, *details]))
        self.message = message
        self.details = details

    def __reduce__(self) -> tuple[type[ManifestError], tuple[str, tuple[str, ...]]]:
        return type(self), (self.message, self.details)


class MissingExtraError(ArkError, ImportError):
    """An optional part is not installed.

    Args:
        what: What was asked for, as a user would say it.
        extra: The name of the extra that brings it.
    """

    def __init__(self, what: str, extra: str) -> None:
        super().__init__(f"{what} needs an optional part: pip install 'ark-asr[{extra}]'")
        self.what = what
        self.extra = extra

    def __reduce__(self) -> tuple[type[MissingExtraError], tuple[str, str]]:
        # A pool of processes waits for ever for an error that cannot be read back.
        return type(self), (self.what, self.extra)


class ArkWarning(UserWarning):
    """Base of all warnings of this package."""


class AudioWarning(ArkWarning):
    """The sound is damaged in places; what could be decoded was used."""


def printable(text: str) -> str:
    """On one line, and text: what would end it, or tell a terminal what to do, is spelled out.

    File names and foreign texts can hold line ends, and bytes that are no UTF-8.
    """
    return "".join(mark if mark.isprintable() else ascii(mark)[1:-1] for mark in text)


def readable(name: str) -> str:
    """A file's name as text: its bytes that are no UTF-8 are spelled out, all else stays."""
    return name.encode(errors="backslashreplace").decode()
