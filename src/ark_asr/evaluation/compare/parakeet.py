"""Parakeet as transformers has it: CTC, RNN-T and TDT."""

from __future__ import annotations

import warnings

from ark_asr.errors import ModelError
from ark_asr.evaluation.compare.base import RATE
from ark_asr.evaluation.compare.pretrained import Pretrained, model_type
from ark_asr.types import FloatArray

_KINDS = {
    "parakeet_ctc": "ParakeetForCTC",
    "parakeet_rnnt": "ParakeetForRNNT",
    "parakeet_tdt": "ParakeetForTDT",
}


class Parakeet(Pretrained):
    """No language model inside, so no limit of tokens is needed: frames end by themselves."""

    def hear(self, clip: FloatArray, language: str) -> str:  # noqa: ARG002 - it finds out
        """See ``Backend``."""
        import torch

        inputs = self.processor(clip, sampling_rate=RATE).to(dtype=self._dtype)
        with torch.inference_mode(), warnings.catch_warnings():
            # The limit that it warns of is its own: what the frames of the clip have room for.
            warnings.filterwarnings("ignore", message=".*default `max_length`")
            found = self.model.generate(**inputs, return_dict_in_generate=True)
        text: str = self.processor.decode(found.sequences, skip_special_tokens=True)[0]
        return text.strip()


def load(place: str, threads: int, precision: str) -> Parakeet:
    """See ``Family``.

    Raises:
        ModelError: The folder holds another kind of model.
    """
    kind = model_type(place)
    if kind not in _KINDS:
        raise ModelError(f"{place}: is a {kind!r}, not one of {', '.join(_KINDS)}")
    # Before 5.23 its log-mel needs librosa.
    return Parakeet(place, threads, precision, _KINDS[kind], "5.23")
