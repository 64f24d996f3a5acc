"""Private speech-to-text with ARK-ASR models: on a CPU, with no remote code.

::

    import ark_asr

    model = ark_asr.load()
    print(model.transcribe("talk.mp3").text)

All public names are here. They are looked up when they are first used, so that importing the
package costs nothing.
"""

from __future__ import annotations

import os
from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ark_asr.errors import (
        ArkError,
        ArkWarning,
        AudioDecodeError,
        AudioError,
        AudioNotFoundError,
        AudioWarning,
        MissingExtraError,
        ModelError,
        ModelFormatError,
        ModelNotFoundError,
        OptionError,
        TranscriptError,
        TroubleError,
    )
    from ark_asr.pipeline import Journal, LiveSession, Recognizer, Task, load
    from ark_asr.types import (
        Alternative,
        Audio,
        LiveEvent,
        LiveOptions,
        Progress,
        Segment,
        Timings,
        TranscribeOptions,
        Transcript,
        Word,
    )

__version__ = "0.1.0"

# From 1.29 on the official builds of ONNX Runtime send what they are used for to their maker, from
# every system. This is read when the runtime is loaded, which happens only inside this package.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"

_HOMES = {
    "ark_asr.errors": (
        "ArkError", "ArkWarning", "AudioDecodeError", "AudioError", "AudioNotFoundError",
        "AudioWarning", "MissingExtraError", "ModelError", "ModelFormatError",
        "ModelNotFoundError", "OptionError", "TranscriptError", "TroubleError",
    ),
    "ark_asr.pipeline": ("Journal", "LiveSession", "Recognizer", "Task", "load"),
    "ark_asr.types": (
        "Alternative", "Audio", "LiveEvent", "LiveOptions", "Progress", "Segment", "Timings",
        "TranscribeOptions", "Transcript", "Word",
    ),
}  # fmt: skip
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

__all__ = [
    "Alternative",
    "ArkError",
    "ArkWarning",
    "Audio",
    "AudioDecodeError",
    "AudioError",
    "AudioNotFoundError",
    "AudioWarning",
    "Journal",
    "LiveEvent",
    "LiveOptions",
    "LiveSession",
    "MissingExtraError",
    "ModelError",
    "ModelFormatError",
    "ModelNotFoundError",
    "OptionError",
    "Progress",
    "Recognizer",
    "Segment",
    "Task",
    "Timings",
    "TranscribeOptions",
    "Transcript",
    "TranscriptError",
    "TroubleError",
    "Word",
    "__version__",
    "load",
]


def __getattr__(name: str) -> object:
    if name not in _HOME_OF:
        raise AttributeError(f"module 'ark_asr' has no attribute {name!r}")
    return getattr(import_module(_HOME_OF[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
