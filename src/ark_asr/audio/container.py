"""Opening files of any container with every release of PyAV that is allowed."""

from __future__ import annotations

from typing import Any, BinaryIO

import av
from av.container import InputContainer

_RELEASE = int(av.__version__.partition(".")[0])
# Titles in a file need not be UTF-8. PyAV 19 takes them as they are and has no such option.
_LENIENT: dict[str, Any] = {"metadata_errors": "replace"} if _RELEASE < 19 else {}


def open_container(
    file: str | BinaryIO, form: str | None = None, options: dict[str, str] | None = None
) -> InputContainer:
    """A file, open for reading.

    Args:
        file: Where it is, or its bytes.
        form: FFmpeg's name of its container; ``None`` to find out.
        options: FFmpeg's options of the container.

    Raises:
        av.FFmpegError: FFmpeg cannot read it; some releases raise ``ValueError``, too.
    """
    container: InputContainer = av.open(
        file, mode="r", format=form, container_options=options or {}, **_LENIENT
    )
    return container
