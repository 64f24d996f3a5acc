"""Sampling where a request says nothing of it."""

from __future__ import annotations

from typing import Any

from ark_asr.decoding.guards import TooManyTokens
from ark_asr.models.config import FeatureConfig, ModelConfig


class ArkasrDefaults:
    """What vLLM asks for when it reads an ARK-ASR checkpoint.

    Its chat route would draw words by chance (temperature 1) and let an answer that goes in circles
    fill the whole context. A request, and ``--override-generation-config``, have the last word.
    """

    @staticmethod
    def verify_and_update_model_config(model_config: Any) -> None:  # noqa: ANN401 - vLLM's
        """Greedy search, and at most the tokens that the longest clip can hold."""
        numbers: ModelConfig = model_config.hf_config.numbers()
        longest = numbers.audio_slots(FeatureConfig().frames(FeatureConfig().clip_samples))
        ours = {"temperature": 0.0, "max_new_tokens": TooManyTokens().limit(longest)}
        model_config.override_generation_config = ours | model_config.override_generation_config

    @staticmethod
    def verify_and_update_config(vllm_config: Any) -> None:  # noqa: ANN401 - vLLM's
        """Nothing else is changed."""
