"""Events of live captions for programs; their keys are documented in ``docs/json-schema.md``."""

from __future__ import annotations

from typing import Any

from ark_asr.types import LiveEvent
from ark_asr.writers.records import segment_record
from ark_asr.writers.timestamps import milliseconds


def event_record(event: LiveEvent) -> dict[str, Any]:
    """One event as it stands in JSON: times in seconds, confidence 0 to 1 or null."""
    record: dict[str, Any] = {
        "kind": event.kind,
        "utterance": event.utterance,
        "start": milliseconds(event.start) / 1000,
        "end": milliseconds(event.end) / 1000,
    }
    if event.kind != "silence":
        record["settled"] = event.settled
        record["pending"] = event.pending
        record["confidence"] = None if event.confidence is None else round(event.confidence, 4)
    if event.kind == "final":
        record["segments"] = [segment_record(segment) for segment in event.segments]
    return record | {"lag": round(event.lag, 3), "behind": event.behind}
