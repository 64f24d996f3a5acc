"""What a writer is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

from ark_asr.types import Transcript
from ark_asr.writers.rounding import rounded


class Writer(ABC):
    """One output format.

    Attributes:
        suffix: File name ending without the dot; also the name of the format.
    """

    suffix: ClassVar[str]

    def render(self, transcript: Transcript) -> str | bytes:
        """The whole file: text that ends with a newline unless it is empty, or bytes.

        Every format starts from the same rounded numbers, so a transcript that went through a json
        file gives the same output as one that did not.

        Raises:
            OptionError: An option asks for something that the transcript does not have.
            ValueError: A time is negative or not finite.
        """
        return self._render(rounded(transcript))

    @abstractmethod
    def _render(self, transcript: Transcript) -> str | bytes:
        """``render`` of a transcript whose numbers are rounded already."""
