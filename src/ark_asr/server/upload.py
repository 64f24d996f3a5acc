"""Multipart forms, read into memory and never onto a disk, with limits that hold while reading."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncGenerator
from dataclasses import dataclass

from python_multipart.exceptions import FormParserError
from starlette.datastructures import FormData, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import ClientDisconnect, Request

from ark_asr.server.problems import Problem

_FIELDS = 64
_FIELD_BYTES = 64 << 10
_PLAIN = frozenset({"binary", "8bit", "7bit"})  # RFC 2045: nothing is done to the bytes
NO_FILENAME = (
    "has no filename, so it is text; send the recording as a file (curl: -F file=@talk.mp3)"
)


class ClientLeftError(Exception):
    """The client has closed the connection; nobody will read an answer."""


@dataclass(frozen=True, slots=True, eq=False)
class Upload:
    """The file of a form."""

    name: str
    data: bytes


@dataclass(frozen=True, slots=True, eq=False)
class Form:
    """What a client sent.

    Attributes:
        fields: Names and values in their order; a name can come several times.
        file: The file.
    """

    fields: tuple[tuple[str, str], ...]
    file: Upload | None

    def get(self, name: str) -> str | None:
        """The value of a field, the last where it has several; an empty one counts as none."""
        return next((value for key, value in reversed(self.fields) if key == name and value), None)

    def all(self, name: str) -> tuple[str, ...]:
        """All values of a list: ``name[]`` as forms write it, or plain ``name``."""
        return tuple(value for key, value in self.fields if key in (name, f"{name}[]") and value)


class _InMemory(MultiPartParser):
    spool_max_size = 1 << 62  # never rolled over to a temporary file
    _whole = False
    file_field = ""

    def on_part_data(self, data: bytes, start: int, end: int) -> None:
        part = self._current_part
        if part.file is None and len(part.data) + end - start > _FIELD_BYTES:
            name = part.field_name
            told = f"is longer than {_FIELD_BYTES:,} bytes"
            told = NO_FILENAME if name == self.file_field else told
            raise Problem(400, f"{name}: {told}", name, "invalid_value")
        super().on_part_data(data, start, end)

    def on_end(self) -> None:
        self._whole = True  # the last boundary has been seen

    async def checked(self, stream: AsyncGenerator[bytes]) -> AsyncGenerator[bytes]:
        """The same bytes, unless some are missing at the end, which may have been a field."""
        async for chunk in stream:
            yield chunk
        if not self._whole:
            raise MultiPartException("its last boundary is missing")


def is_form(request: Request) -> bool:
    """Whether the body is called a multipart form."""
    return request.headers.get("content-type", "").lower().startswith("multipart/form-data")


async def read_form(
    request: Request,
    max_bytes: int,
    stall: float,
    *,
    longest: float = math.inf,
    file_field: str = "file",
) -> Form:
    """Read a multipart form.

    Args:
        request: Its body has not been read yet.
        max_bytes: Of the body.
        stall: Seconds that the next bytes may take.
        longest: Seconds that the whole may take.
        file_field: Name of the one field that holds a file.

    Raises:
        Problem: 413 too large, 408 too slow, 415 packed, 400 no such form.
        ClientLeftError: The connection was closed.
    """
    if not is_form(request):
        message = f"the body must be multipart/form-data with a field {file_field!r}"
        raise Problem(400, message, file_field)
    packed = request.headers.get("content-encoding", "identity")
    if packed.lower() != "identity":
        message = f"the body is packed ({packed}), and not unpacked here; send it as it is"
        raise Problem(415, message, None, "unsupported_encoding", {"Accept-Encoding": "identity"})
    declared = request.headers.get("content-length", "")
    if declared.isdecimal() and int(declared) > max_bytes:
        raise _too_large(max_bytes)
    stream = _bounded(request, max_bytes, stall, longest)
    parser = _InMemory(
        request.headers, stream, max_files=1, max_fields=_FIELDS, max_part_size=_FIELD_BYTES
    )
    parser.file_field = file_field
    parser.stream = parser.checked(stream)
    try:
        parsed = await parser.parse()
    except MultiPartException as error:
        raise Problem(400, f"the form cannot be read ({error.message})") from None
    except FormParserError:  # older releases of Starlette let it through
        raise Problem(400, "the form cannot be read (Invalid multipart data.)") from None
    except UnicodeError:
        raise _not_utf8() from None
    except ClientDisconnect:
        raise ClientLeftError from None
    try:
        for name, value in parsed.multi_items():  # half a character cannot stand in any answer
            f"{name}{value.filename if isinstance(value, UploadFile) else value}".encode()
        return await _form(parsed, file_field)
    except UnicodeError:
        raise _not_utf8() from None
    finally:
        await parsed.close()


async def _form(parsed: FormData, file_field: str) -> Form:
    fields, file = [], None
    for name, value in parsed.multi_items():
        if isinstance(value, UploadFile):
            if name != file_field:
                message = f"{name}: a file belongs into the field {file_field!r}"
                raise Problem(400, message, name)
            coding = value.headers.get("content-transfer-encoding", "binary")
            if coding.lower() not in _PLAIN:
                message = f"{name}: is written in {coding}; send its bytes as they are"
                raise Problem(400, message, name, "unsupported_encoding")
            file = Upload(value.filename or "upload", await value.read())
        else:
            fields.append((name, value))
    return Form(tuple(fields), file)


def _not_utf8() -> Problem:
    message = "the form's text cannot be read; write it in UTF-8, and name no other charset"
    return Problem(400, message)


async def _bounded(
    request: Request, max_bytes: int, stall: float, longest: float
) -> AsyncGenerator[bytes]:
    size = 0
    stream = request.stream()
    now = asyncio.get_running_loop().time
    end = now() + longest
    while True:
        try:
            async with asyncio.timeout_at(min(now() + stall, end)):
                chunk = await anext(stream, None)
        except TimeoutError:
            if now() >= end:
                raise Problem(408, f"the upload took longer than {longest:g} s") from None
            raise Problem(408, f"no byte of the upload came for {stall:g} s") from None
        if chunk is None:
            return
        size += len(chunk)
        if size > max_bytes:
            raise _too_large(max_bytes)
        yield chunk


def _too_large(max_bytes: int) -> Problem:
    return Problem(
        413,
        f"the upload is larger than {max_bytes:,} bytes; send it in a compressed format, or in "
        "parts",
        "file",
        "upload_too_large",
    )
