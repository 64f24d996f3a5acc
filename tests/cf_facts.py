"""What cf-voice, circuitforge-core and Linnet expect, from their public sources (mid 2026).

cf-voice: Forgejo, ``cf_voice/stt.py`` at 24f04b6. circuitforge-core: 0.21.0, main at 11e4906.
Linnet: main at b92285b. Only names, shapes and numbers.
"""

from __future__ import annotations

import base64

import numpy as np

# cf_voice.stt
CF_VOICE_RESULT = {"text": str, "language": str, "duration_s": float, "is_final": bool}
LEAST_SECONDS = 0.3
LEAST_RMS = 0.005
MOST_REPEATS = 2
HALLUCINATIONS = {"ty", "t y", "bye", "hmm", "mm", "mhm", "uh", "um"}

# circuitforge_core.stt
CORE_RESULT = [
    "text", "confidence", "below_threshold", "language", "duration_s", "segments", "model",
    "CONFIDENCE_DEFAULT_THRESHOLD",
]  # fmt: skip
CORE_SEGMENT = ["start_s", "end_s", "text", "confidence"]
CORE_THRESHOLD = 0.75
CORE_DEFAULTS = {"device": "cuda", "compute_type": "float16"}
CORE_PORT = 8004
CORE_HEALTH = {"status": str, "model": str, "vram_mb": int}
CORE_TRANSCRIBE = [key for key in CORE_RESULT if key.islower()]
CORE_OPTIONS = [
    "--model", "ark-mini", "--port", "9", "--gpu-id", "0", "--device", "cuda", "--compute-type",
    "float16", "--confidence-threshold", "0.75",
]  # fmt: skip

# Linnet and the cf-voice service that it calls
VOICE_PORT = 8007
WINDOWS = (0.5, 1.0, 2.0, 3.0)
CLIENT_TIMEOUT = 5.0
MODEL_STATES = {"loading", "ready", "error"}
SESSION_IDLE = 90.0
HIDDEN_SPEAKER = "speaker_a"
MULTIPLE, SIMULTANEOUS = "Multiple", 3


def pcm(samples: np.ndarray) -> bytes:
    """What a browser's Int16Array holds."""
    return (np.clip(samples, -1, 1) * 32767).astype("<i2").tobytes()


def windows(samples: np.ndarray, seconds: float) -> list[bytes]:
    """Windows without overlap; the last one may be shorter."""
    size = round(seconds * 16_000)
    return [pcm(samples[first : first + size]) for first in range(0, len(samples), size)]


def classify_request(window: bytes, timestamp: float, session: str, language=None) -> dict:
    """The body of Linnet's ``POST /classify``."""
    return {
        "audio_chunk": base64.b64encode(window).decode(), "timestamp": timestamp, "elcor": False,
        "session_id": session, "language": language, "num_speakers": None,
    }  # fmt: skip


def broadcast(events: list[dict], session: str) -> list[dict]:
    """What Linnet makes of the transcripts in an answer, and shows."""
    return [
        {
            "event_type": "transcript", "session_id": session, "text": event["label"],
            "speaker_id": event.get("speaker_id", HIDDEN_SPEAKER), "timestamp": event["timestamp"],
        }
        for event in events if event.get("event_type") == "transcript"
    ]  # fmt: skip
