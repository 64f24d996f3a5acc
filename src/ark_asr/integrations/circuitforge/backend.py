"""An ``STTBackend`` of circuitforge-core."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, get_args

from ark_asr.audio.sniff import describes_itself
from ark_asr.decoding.words import word_spans
from ark_asr.errors import AudioError, OptionError
from ark_asr.integrations.devices import cpu_instead
from ark_asr.integrations.languages import language_of
from ark_asr.integrations.sound import RATE, as_bytes, from_pcm
from ark_asr.models.store import languages_of, resolve
from ark_asr.pipeline import Recognizer
from ark_asr.types import Segment, Transcript, Trouble

THRESHOLD = 0.75
# What is written down in spite of these is not to be acted on.
_TROUBLES = frozenset({*get_args(Trouble), "length", "cancelled"})


@dataclass(frozen=True)
class STTSegment:
    """One phrase.

    Attributes:
        start_s: Seconds from the start of the recording.
        end_s: Seconds from the start of the recording.
        text: Its words.
        confidence: 0 to 1.
    """

    start_s: float
    end_s: float
    text: str
    confidence: float


@dataclass(frozen=True)
class STTResult:
    """The answer, field by field as in circuitforge-core, whose last one is a field there, too.

    Attributes:
        text: All that was said.
        confidence: 0 to 1.
        below_threshold: It is less than what the caller asked for: not to be acted on.
        language: ISO 639 code; ``None`` if it is not known.
        duration_s: Seconds of the recording.
        segments: In order of time.
        model: Name of the model.
    """

    text: str
    confidence: float
    below_threshold: bool
    language: str | None = None
    duration_s: float | None = None
    segments: list[STTSegment] = field(default_factory=list)
    model: str = ""
    CONFIDENCE_DEFAULT_THRESHOLD: float = THRESHOLD


if not TYPE_CHECKING:
    with suppress(ImportError):  # where theirs are, theirs are returned
        from circuitforge_core.stt.backends.base import STTResult, STTSegment


class ArkSTTBackend:
    """The model is loaded once and asked by one caller at a time: others wait for their turn.

    Confidence is honest or low. Of a calibrated model it is the share of the words that can be
    expected to be right; of another one what the model itself believes, which is often too much
    (``ark-asr models calibrate``). A phrase that a guard found fault with counts as 0, and so does
    a recording without any words.

    Args:
        model_path: Name or folder of a model.
        device: ``cpu`` or ``auto``; circuitforge-core asks for ``cuda`` unless it is told
            otherwise, which is warned of and runs on the CPU.
        compute_type: Likewise; the precision is that of the model's files.
        threads: CPU threads; ``None`` for all physical cores.

    Raises:
        ModelNotFoundError: There is no such model.
        ModelFormatError: It is damaged.
        OptionError: There is no such device or compute type.
    """

    def __init__(
        self,
        model_path: str | Path | None = None,
        device: str = "cuda",
        compute_type: str = "float16",
        *,
        threads: int | None = None,
    ) -> None:
        folder = resolve(model_path)
        cpu_instead(device, compute_type, folder.precision)
        self._recognizer = Recognizer.load(folder.path, threads=threads)
        self._languages = languages_of(self._recognizer.name)
        self._turn = threading.Lock()

    @property
    def model_name(self) -> str:
        """Name of the model."""
        return self._recognizer.name

    @property
    def vram_mb(self) -> int:
        """Video memory: none is used."""
        return 0

    def transcribe(
        self,
        audio: bytes,
        *,
        language: str | None = None,
        confidence_threshold: float = THRESHOLD,
    ) -> STTResult:
        """Write down what is said.

        Args:
            audio: A recording in any form that FFmpeg reads, or headerless 16-bit little-endian
                mono samples, 16 kHz: told from its first bytes.
            language: BCP 47 tag that is expected; any is taken, none changes a word.
            confidence_threshold: 0 to 1.

        Raises:
            AudioError: The sound cannot be used.
            OptionError: The threshold makes no sense.
        """
        check_threshold(confidence_threshold)
        audio = as_bytes(audio)
        if not audio:
            raise AudioError("the audio is empty (0 bytes)")
        bare = None if describes_itself(audio) else from_pcm(audio)
        with self._turn:
            transcript = (
                self._recognizer.transcribe(audio)
                if bare is None
                else self._recognizer.transcribe(bare, source_rate=RATE)
            )
        confidence = _confidence(transcript.segments)
        return STTResult(
            text=transcript.text,
            confidence=confidence,
            below_threshold=confidence < confidence_threshold,
            language=language_of(language, self._languages),
            duration_s=transcript.duration,
            segments=_segments(transcript),
            model=self.model_name,
        )

    def close(self) -> None:
        """Give back the model; waits for the caller whose turn it is."""
        with self._turn:
            self._recognizer.close()


def check_threshold(value: float) -> None:
    """Refuse a threshold that no confidence could be compared with.

    Raises:
        OptionError: It is not from 0 to 1.
    """
    if not 0 <= value <= 1:
        raise OptionError(f"confidence_threshold is {value:g}; it must be 0 to 1")


def _segments(transcript: Transcript) -> list[STTSegment]:
    return [
        STTSegment(one.start, one.end, one.text, _trusted(one))
        for one in transcript.segments
        if one.text
    ]


def _confidence(segments: Sequence[Segment]) -> float:
    """That of all words, each of which counts the same; what was not understood counts as one."""
    # As words are counted everywhere: of a script without spaces, each character.
    counts = [max(len(word_spans(one.text)), 1) for one in segments]
    sure = sum(_trusted(one) * count for one, count in zip(segments, counts, strict=True))
    return sure / sum(counts) if counts else 0.0


def _trusted(segment: Segment) -> float:
    if _TROUBLES.intersection(segment.flags) or segment.confidence is None:
        return 0.0
    return min(max(segment.confidence, 0.0), 1.0)
