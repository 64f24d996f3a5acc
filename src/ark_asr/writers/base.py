"""What a writer is."""

from __future__ import annotations

from typing import Protocol

from ark_asr.types import Transcript


class Writer(Protocol):
    """One output format.

    Attributes:
        suffix: File name ending without the dot; also the name of the format.
    """

    suffix: str

    def render(self, transcript: Transcript) -> str:
        """The whole file as text, ending with a newline unless it is empty."""
        ...
