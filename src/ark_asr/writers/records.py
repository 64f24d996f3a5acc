"""For programs: json and jsonl. Their keys are documented in ``docs/json-schema.md``."""

from __future__ import annotations

import json
from typing import Any

from ark_asr.types import Segment, Timings, Transcript, Word
from ark_asr.writers.base import Writer
from ark_asr.writers.rounding import rounded_segment

SCHEMA = "ark-asr/transcript"
VERSION = 1


class JsonWriter(Writer):
    """One object with all that is known about the transcript."""

    suffix = "json"

    def _render(self, transcript: Transcript) -> str:
        data = {
            "schema": SCHEMA,
            "version": VERSION,
            "source": transcript.source,
            "model": transcript.model,
            "duration": transcript.duration,
            "text": transcript.text,
            "segments": [segment_record(segment) for segment in transcript.segments],
            "timings": _timings(transcript.timings),
            "warnings": list(transcript.warnings),
        }
        return json.dumps(data, ensure_ascii=False, indent=2, allow_nan=False) + "\n"


class JsonlWriter(Writer):
    """One object a line for each segment: those of the json format, and the recording's name."""

    suffix = "jsonl"

    def _render(self, transcript: Transcript) -> str:
        rows = ({"source": transcript.source, **segment_record(it)} for it in transcript.segments)
        return "".join(json.dumps(row, ensure_ascii=False, allow_nan=False) + "\n" for row in rows)


def segment_record(segment: Segment) -> dict[str, Any]:
    """One segment as it stands in JSON."""
    segment = rounded_segment(segment)
    return {
        "start": segment.start,
        "end": segment.end,
        "text": segment.text,
        "raw_text": segment.raw_text,
        "confidence": segment.confidence,
        "tokens": segment.tokens,
        "flags": list(segment.flags),
        "speaker": segment.speaker,
        "words": [_word(word) for word in segment.words],
        "alternatives": [
            {"text": other.text, "confidence": other.confidence} for other in segment.alternatives
        ],
    }


def _word(word: Word) -> dict[str, Any]:
    return {
        "start": word.start,
        "end": word.end,
        "text": word.text,
        "confidence": word.confidence,
        "speaker": word.speaker,
    }


def _timings(timings: Timings | None) -> dict[str, float | None] | None:
    if timings is None:
        return None
    return {
        "audio": timings.audio,
        "total": timings.total,
        "first_text": timings.first_text,
        "decode": timings.decode,
        "features": timings.features,
        "encoder": timings.encoder,
        "decoder": timings.decoder,
        "words": timings.words,
        "rtf": round(timings.rtf, 4),
    }
