"""ARK-ASR for circuitforge-core: a backend of its speech-to-text, and the same as a service."""

from ark_asr.integrations.circuitforge.backend import ArkSTTBackend, STTResult, STTSegment

__all__ = ["ArkSTTBackend", "STTResult", "STTSegment"]
