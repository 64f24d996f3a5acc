"""Models of NeMo, Kaldi, Whisper and others on ONNX Runtime, by onnx-asr."""

from __future__ import annotations

from typing import Any

from ark_asr.evaluation.compare.base import RATE
from ark_asr.evaluation.compare.pretrained import model_type
from ark_asr.types import FloatArray


class OnnxAsr:
    """Its ``int8`` takes the files that are named so."""

    def __init__(self, place: str, threads: int, precision: str) -> None:
        import onnxruntime
        from onnx_asr import load_model

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        self.precision = precision
        self._model: Any = load_model(
            model_type(place), place, quantization=None if precision == "fp32" else precision,
            sess_options=options, providers=["CPUExecutionProvider"],
        )  # fmt: skip

    def hear(self, clip: FloatArray, language: str) -> str:
        """See ``Backend``."""
        text: str = self._model.recognize(clip, sample_rate=RATE, language=language or None)
        return text.strip()


def load(place: str, threads: int, precision: str) -> OnnxAsr:
    """See ``Family``."""
    return OnnxAsr(place, threads, precision)
