"""From what a client sends to what the model takes: log-mels, and as many audio ids."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np
import torch
from transformers import BatchFeature

from ark_asr.audio import LogMel
from ark_asr.integrations.vllm.interfaces import (
    BaseDummyInputsBuilder,
    BaseMultiModalProcessor,
    BaseProcessingInfo,
    MultiModalDataDict,
    MultiModalDataItems,
    MultiModalDataParser,
    MultiModalDummyOptions,
    MultiModalFieldConfig,
    MultiModalKwargsItems,
    PromptReplacement,
    PromptUpdate,
    VllmModelConfig,
    VLLMValidationError,
    cached_processor_from_config,
)
from ark_asr.modeling.transformers import ArkasrConfig, ArkasrProcessor
from ark_asr.models.config import FeatureConfig, ModelConfig
from ark_asr.models.tokenizer import AUDIO, Tokenizer
from ark_asr.types import FloatArray

MELS = "mels"


def numbers_of(model_config: VllmModelConfig) -> ModelConfig:
    """The numbers of the checkpoint that vLLM has opened.

    Raises:
        ModelFormatError: They make no sense; see `ModelConfig.from_dicts`.
    """
    processor = cached_processor_from_config(model_config, processor_cls=ArkasrProcessor)
    return ModelConfig.from_dicts(
        model_config.hf_config.to_dict(),
        processor.feature_extractor.to_dict(),
        model_config.try_get_generation_config(),
        where=str(model_config.model),
    )


def tokenizer_of(model_config: VllmModelConfig) -> Tokenizer:
    """The tokenizer of the checkpoint that vLLM has opened."""
    words = cached_processor_from_config(model_config, processor_cls=ArkasrProcessor).tokenizer
    return Tokenizer(words.backend_tokenizer, numbers_of(model_config), words.eos_token)


class ArkasrProcessingInfo(BaseProcessingInfo):
    """What vLLM asks about a model before it has any input."""

    def get_hf_config(self) -> ArkasrConfig:
        """The checkpoint's configuration."""
        config: ArkasrConfig = self.ctx.get_hf_config(ArkasrConfig)
        return config

    def get_hf_processor(self, **kwargs: object) -> ArkasrProcessor:
        """The checkpoint's processor."""
        processor: ArkasrProcessor = self.ctx.get_hf_processor(ArkasrProcessor, **kwargs)
        return processor

    def get_supported_mm_limits(self) -> Mapping[str, int | None]:
        """One recording per prompt, as the model was trained."""
        return {"audio": 1}

    def get_mm_max_tokens_per_item(
        self, seq_len: int, mm_counts: Mapping[str, int]
    ) -> Mapping[str, int]:
        """Audio embeddings of the longest clip."""
        return {"audio": self.numbers.audio_slots(self.features.frames(self.features.clip_samples))}

    def get_data_parser(self) -> MultiModalDataParser:
        """Takes sound of any rate; resampled as everywhere in this package."""
        return MultiModalDataParser(
            target_sr=self.features.sample_rate, target_channels=1, audio_resample_method="soxr"
        )

    @cached_property
    def numbers(self) -> ModelConfig:
        """The checkpoint's numbers."""
        return numbers_of(self.ctx.model_config)

    @property
    def features(self) -> FeatureConfig:
        """The log-mel front end and the longest clip."""
        return self.numbers.features


class ArkasrDummyInputs(BaseDummyInputsBuilder[ArkasrProcessingInfo]):
    """The largest input, with which vLLM measures how much memory it needs."""

    def get_dummy_text(self, mm_counts: Mapping[str, int]) -> str:
        """As many audio markers as recordings."""
        return AUDIO * mm_counts.get("audio", 0)

    def get_dummy_mm_data(
        self, seq_len: int, mm_counts: Mapping[str, int], mm_options: MultiModalDummyOptions
    ) -> MultiModalDataDict:
        """The longest clip."""
        return {
            "audio": self._get_dummy_audios(
                length=self.info.features.clip_samples,
                num_audios=mm_counts.get("audio", 0),
                overrides=mm_options.get("audio"),
            )
        }


class ArkasrMultiModalProcessor(BaseMultiModalProcessor[ArkasrProcessingInfo]):
    """Log-mels of this package, each of its clip's true length."""

    @cached_property
    def _log_mel(self) -> LogMel:
        return LogMel(self.info.features)

    def _call_hf_processor(
        self, hf_data: Mapping[str, object], hf_kwargs: Mapping[str, object]
    ) -> BatchFeature:
        if hf_kwargs:
            raise VLLMValidationError(
                f"mm_processor_kwargs: {', '.join(hf_kwargs)}: ARK-ASR has no such options"
            )
        clips: Any = hf_data["audio"]
        return BatchFeature({MELS: [torch.from_numpy(self._mel(clip)) for clip in clips]})

    def _mel(self, samples: FloatArray) -> FloatArray:
        features = self.info.features
        rate, most = features.sample_rate, features.clip_samples
        if len(samples) > most:
            raise VLLMValidationError(
                f"the recording has {len(samples) / rate:.1f} s, but a clip at most {most / rate:g}"
                " s; /v1/audio/transcriptions takes longer ones and cuts them"
            )
        if not features.frames(len(samples)):
            raise VLLMValidationError(
                f"the recording has {len(samples)} samples, but a clip at least "
                f"{features.hop_length}"
            )
        if not np.isfinite(samples).all():
            raise VLLMValidationError("the recording holds samples that are not finite")
        return self._log_mel(np.asarray(samples, np.float32))

    def _get_mm_fields_config(
        self, hf_inputs: BatchFeature, hf_processor_mm_kwargs: Mapping[str, object]
    ) -> Mapping[str, MultiModalFieldConfig]:
        return {MELS: MultiModalFieldConfig.batched("audio")}

    def _get_prompt_updates(
        self,
        mm_items: MultiModalDataItems,
        hf_processor_mm_kwargs: Mapping[str, object],
        out_mm_kwargs: MultiModalKwargsItems,
    ) -> Sequence[PromptUpdate]:
        marker = self.info.numbers.audio_token_id

        def markers(item: int) -> list[int]:
            mel = out_mm_kwargs["audio"][item].get_data()[MELS]
            return [marker] * self.info.numbers.audio_slots(mel.shape[-1])

        return [PromptReplacement(modality="audio", target=[marker], replacement=markers)]
