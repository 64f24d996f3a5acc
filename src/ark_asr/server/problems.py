"""What a client is told when its request cannot be answered."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ark_asr.errors import ArkError, AudioError, MissingExtraError, OptionError


@dataclass(eq=False)  # not frozen: a traceback is written into exceptions
class Problem(Exception):  # noqa: N818 - the word of RFC 9457
    """A request that ends in an error.

    Attributes:
        status: HTTP status.
        message: One line: what was wrong, then what to do.
        param: The field of the request that it is about.
        code: A word for programs.
        headers: More headers of the answer.
    """

    status: int
    message: str
    param: str | None = None
    code: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def body(self) -> dict[str, Any]:
        """The answer in OpenAI's shape."""
        kind = "invalid_request_error" if self.status < 500 else "server_error"
        if self.status == 429:
            kind = "rate_limit_error"
        error = {"message": self.message, "type": kind, "param": self.param, "code": self.code}
        return {"error": error}


def unsupported(param: str, message: str) -> Problem:
    """A parameter that would have no effect."""
    return Problem(400, f"{param}: {message}", param, "unsupported_parameter")


def invalid(param: str, message: str) -> Problem:
    """A parameter with a value that makes no sense."""
    return Problem(400, f"{param}: {message}", param, "invalid_value")


def problem_of(error: Exception) -> Problem:
    """What a client is told of an error; of one that is our own fault, nothing of the inside."""
    if isinstance(error, Problem):
        return error
    if isinstance(error, AudioError):
        return Problem(400, str(error), "file", "invalid_audio")
    if isinstance(error, OptionError):
        return Problem(400, str(error), None, "invalid_value")
    if isinstance(error, MissingExtraError):
        return Problem(501, str(error), None, "not_installed")
    if isinstance(error, ArkError):
        return Problem(500, str(error), None, "model_error")
    return Problem(500, "the server failed; its log says why", None, "internal_error")
