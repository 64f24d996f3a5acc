"""What was said, in the forms of OpenAI's interface."""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from ark_asr.models.tokenizer import TextCodec
from ark_asr.pipeline.drift import flag_drift
from ark_asr.server.ticket import Spoken
from ark_asr.types import Segment, Transcript
from ark_asr.writers import get_writer

_FRAMES = 100  # log-mel frames of a second, in which `seek` is counted


@dataclass(frozen=True, slots=True, eq=False)
class Answer:
    """A finished transcription.

    Attributes:
        spoken: In order of time.
        duration: Seconds of sound.
        model: Its name.
        language: ISO 639 code where the model knows one only, else ``unknown``.
        tokenizer: Of the model.
        warnings: One line per damaged place.
    """

    spoken: Sequence[Spoken]
    duration: float
    model: str
    language: str
    tokenizer: TextCodec
    warnings: Sequence[str] = ()

    @property
    def transcript(self) -> Transcript:
        """As the library would return it."""
        segments = flag_drift([one.segment for one in self.spoken])
        return Transcript(tuple(segments), self.duration, self.model, warnings=(*self.warnings,))

    def text(self) -> str:
        """``text``: the words and a line end."""
        return self.transcript.text + "\n"

    def subtitles(self, name: str) -> str:
        """``srt`` or ``vtt``."""
        rendered = get_writer(name).render(self.transcript)
        return rendered if isinstance(rendered, str) else rendered.decode()

    def json(self, *, logprobs: bool) -> dict[str, Any]:
        """``json``."""
        body: dict[str, Any] = {"text": self.transcript.text}
        if logprobs:
            body["logprobs"] = self.logprobs()
        return body | {"usage": self.usage()} | self._warned()

    def verbose(self, granularities: frozenset[str]) -> dict[str, Any]:
        """``verbose_json``; ``no_speech_prob`` is always 0, because the model gives none.

        Typed clients take nothing but a number, and only what voice activity finds is transcribed.
        """
        transcript = self.transcript
        body: dict[str, Any] = {
            "task": "transcribe",
            "language": self.language,
            "duration": round(self.duration, 3),
            "text": transcript.text,
        }
        if "word" in granularities:
            body["words"] = [
                {"word": word.text, "start": round(word.start, 3), "end": round(word.end, 3)}
                for segment in transcript.segments
                for word in segment.words
            ]
        if "segment" in granularities:
            body["segments"] = [
                _segment(number, segment, one)
                for number, (segment, one) in enumerate(
                    zip(transcript.segments, self.spoken, strict=True)
                )
            ]
        usage = {"type": "duration", "seconds": math.ceil(self.duration)}
        return body | {"usage": usage} | self._warned()

    def diarized(self, segments: Iterable[Segment]) -> dict[str, Any]:
        """``diarized_json``, of segments that have speakers."""
        return {
            "task": "transcribe",
            "duration": round(self.duration, 3),
            "text": self.transcript.text,
            "segments": [spoken_by(number, segment) for number, segment in enumerate(segments)],
            "usage": self.usage(),
        } | self._warned()

    def logprobs(self) -> list[dict[str, Any]]:
        """Of every token that was chosen."""
        return [entry for one in self.spoken for entry in logprobs_of(one, self.tokenizer.decode)]

    def usage(self) -> dict[str, Any]:
        """Tokens of all prompts and of the words."""
        heard = sum(one.slots for one in self.spoken)
        asked = sum(len(self.tokenizer.prompt(one.slots)) - one.slots for one in self.spoken)
        written = sum(len(one.token_ids) for one in self.spoken)
        return {
            "type": "tokens",
            "input_tokens": heard + asked,
            "input_token_details": {"audio_tokens": heard, "text_tokens": asked},
            "output_tokens": written,
            "total_tokens": heard + asked + written,
        }

    def _warned(self) -> dict[str, Any]:
        return {"warnings": list(self.warnings)} if self.warnings else {}


def _segment(number: int, segment: Segment, spoken: Spoken) -> dict[str, Any]:
    text = segment.text.encode()
    count = len(spoken.logprobs)
    return {
        "id": number,
        "seek": round(segment.start * _FRAMES),
        "start": round(segment.start, 3),
        "end": round(segment.end, 3),
        "text": segment.text,
        "tokens": list(spoken.token_ids),
        "temperature": 0.0,
        "avg_logprob": round(sum(spoken.logprobs) / count, 4) if count else 0.0,
        "compression_ratio": round(len(text) / len(zlib.compress(text)), 4),
        "no_speech_prob": 0.0,
        "confidence": None if segment.confidence is None else round(segment.confidence, 4),
        "flags": list(segment.flags),
    }


def spoken_by(number: int, segment: Segment) -> dict[str, Any]:
    """A segment and its speaker, as in ``diarized_json``; A is the first who speaks."""
    return {
        "type": "transcript.text.segment",
        "id": f"seg_{number:03}",
        "start": round(segment.start, 3),
        "end": round(segment.end, 3),
        "text": segment.text,
        "speaker": (segment.speaker or "unknown").removeprefix("Speaker "),
    }


def logprobs_of(spoken: Spoken, decode: Callable[[Sequence[int]], str]) -> Iterator[dict[str, Any]]:
    """One entry per token; tokens that make a character only together have a common one."""
    before, total = "", 0.0
    count = len(spoken.token_ids)
    for number, logprob in enumerate(spoken.logprobs, 1):
        total += logprob
        text = decode(spoken.token_ids[:number])
        if text.endswith("\N{REPLACEMENT CHARACTER}") and number < count:
            continue
        new = text[len(before) :]
        yield {"token": new, "bytes": list(new.encode()), "logprob": round(total, 6)}
        before, total = text, 0.0
