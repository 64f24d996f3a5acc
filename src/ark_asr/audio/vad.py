"""Where someone speaks: Silero VAD on ONNX Runtime, streaming.

``silero_vad.onnx`` beside this file is ``silero_vad_16k_sequence.onnx`` of the package silero-vad
6.2.3, unchanged: (c) 2020-present Silero Team, MIT licence, https://github.com/snakers4/silero-vad
(its text is in NOTICE). The "sequence" form takes many windows in one call and carries its LSTM
state between calls, with the same results as window by window.
"""

from __future__ import annotations

from functools import cache
from importlib import resources
from typing import Any, Protocol

import numpy as np

from ark_asr.types import FloatArray

VAD_RATE = 16_000
WINDOW = 512
_CONTEXT = 64
_STATE = (1, 1, 128)
_WINDOWS_AT_ONCE = 128
_ERRORS_ONLY = 3


class Detector(Protocol):
    """Anything that gives a speech probability per window of `WINDOW` samples."""

    def feed(self, samples: FloatArray) -> FloatArray:
        """Probabilities float32 ``[windows]`` of the windows that ``samples`` complete."""
        ...

    def reset(self) -> None:
        """Forget what was heard: a new recording begins."""
        ...


class SpeechDetector:
    """Silero VAD; one per recording at a time.

    Samples can arrive in blocks of any size; the probabilities do not depend on the sizes. What
    does not fill a window waits for the next call.
    """

    def __init__(self) -> None:
        self._session = _session()
        self.reset()

    def reset(self) -> None:
        """Forget what was heard: a new recording begins."""
        self._hidden = np.zeros(_STATE, np.float32)
        self._cell = np.zeros(_STATE, np.float32)
        self._context = np.zeros(_CONTEXT, np.float32)
        self._rest = np.empty(0, np.float32)

    def feed(self, samples: FloatArray) -> FloatArray:
        """Hear more of the recording.

        Args:
            samples: float32 ``[n]`` at 16 kHz.

        Returns:
            Probability of speech in each 32 ms window that is now complete, float32 ``[windows]``.
        """
        joined = np.concatenate([self._rest, samples.astype(np.float32, copy=False)])
        count = len(joined) // WINDOW
        self._rest = joined[count * WINDOW :].copy()
        windows = joined[: count * WINDOW].reshape(count, WINDOW)
        found = [
            self._run(windows[start : start + _WINDOWS_AT_ONCE])
            for start in range(0, count, _WINDOWS_AT_ONCE)
        ]
        return np.concatenate(found) if found else np.empty(0, np.float32)

    def _run(self, windows: FloatArray) -> FloatArray:
        contexts = np.concatenate([self._context[None], windows[:-1, -_CONTEXT:]])
        self._context = windows[-1, -_CONTEXT:].copy()
        probabilities, self._hidden, self._cell = self._session.run(
            ["speech_probs", "hn", "cn"],
            {
                "input": np.concatenate([contexts, windows], axis=1),
                "h": self._hidden,
                "c": self._cell,
            },
        )
        return np.asarray(probabilities, np.float32).reshape(-1)


@cache  # it holds no state of its own, so detectors and threads share it
def _session() -> Any:  # noqa: ANN401  (onnxruntime is not typed)
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.log_severity_level = _ERRORS_ONLY
    model = resources.files("ark_asr.audio").joinpath("silero_vad.onnx").read_bytes()
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
