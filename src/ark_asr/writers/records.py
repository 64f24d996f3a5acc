"""For programs: json and jsonl. Their keys are documented in ``docs/json-schema.md``."""

from __future__ import annotations

import json
from typing import Any

from ark_asr.types import Segment, Timings, Transcript
from ark_asr.writers.timestamps import milliseconds

SCHEMA = "ark-asr/transcript"
VERSION = 1


class JsonWriter:
    """One object with all that is known about the transcript."""

    suffix = "json"

    def render(self, transcript: Transcript) -> str:
        """See ``Writer``."""
        data = {
            "schema": SCHEMA,
            "version": VERSION,
            "source": transcript.source,
            "model": transcript.model,
            "duration": _seconds(transcript.duration),
            "text": transcript.text,
            "segments": [_segment(segment) for segment in transcript.segments],
            "timings": _timings(transcript.timings),
            "warnings": list(transcript.warnings),
        }
        return json.dumps(data, ensure_ascii=False, indent=2, allow_nan=False) + "\n"


class JsonlWriter:
    """One object a line for each segment: those of the json format, and the recording's name."""

    suffix = "jsonl"

    def render(self, transcript: Transcript) -> str:
        """See ``Writer``."""
        return "".join(
            json.dumps(
                {"source": transcript.source, **_segment(segment)},
                ensure_ascii=False,
                allow_nan=False,
            )
            + "\n"
            for segment in transcript.segments
        )


def _seconds(value: float) -> float:
    return milliseconds(value) / 1000


def _segment(segment: Segment) -> dict[str, Any]:
    return {
        "start": _seconds(segment.start),
        "end": _seconds(segment.end),
        "text": segment.text,
        "raw_text": segment.raw_text,
        "confidence": None if segment.confidence is None else round(segment.confidence, 4),
        "tokens": segment.tokens,
        "flags": list(segment.flags),
    }


def _timings(timings: Timings | None) -> dict[str, float | None] | None:
    if timings is None:
        return None
    first = timings.first_text
    return {
        "audio": _seconds(timings.audio),
        "total": _seconds(timings.total),
        "first_text": None if first is None else _seconds(first),
        "decode": _seconds(timings.decode),
        "features": _seconds(timings.features),
        "encoder": _seconds(timings.encoder),
        "decoder": _seconds(timings.decoder),
        "rtf": round(timings.rtf, 4),
    }
