"""The model: this package's audio encoder before vLLM's own Qwen2."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import cast

import torch
from torch import Tensor, nn

from ark_asr.integrations.vllm.encoder import AudioEncoder
from ark_asr.integrations.vllm.interfaces import (
    MULTIMODAL_REGISTRY,
    AutoWeightsLoader,
    IntermediateTensors,
    MultiModalEmbeddings,
    MultiModelKeys,
    Qwen2ForCausalLM,
    SupportsLoRA,
    SupportsMultiModal,
    SupportsPP,
    VllmConfig,
    WeightsMapper,
    maybe_prefix,
)
from ark_asr.integrations.vllm.processing import (
    MELS,
    ArkasrDummyInputs,
    ArkasrMultiModalProcessor,
    ArkasrProcessingInfo,
    tokenizer_of,
)
from ark_asr.integrations.vllm.speech import Transcribes
from ark_asr.modeling.transformers.conversation import AUDIO_PART


@MULTIMODAL_REGISTRY.register_processor(
    ArkasrMultiModalProcessor, info=ArkasrProcessingInfo, dummy_inputs=ArkasrDummyInputs
)
class ArkasrForConditionalGeneration(
    nn.Module, SupportsMultiModal, SupportsPP, SupportsLoRA, Transcribes
):
    """ARK-ASR as vLLM runs it; weights are read by their published names."""

    audio_encoder: AudioEncoder
    language_model: Qwen2ForCausalLM
    suppressed_ids: Tensor
    packed_modules_mapping = {  # noqa: RUF012 - vLLM's form
        "qkv_proj": ["q_proj", "k_proj", "v_proj"],
        "gate_up_proj": ["gate_proj", "up_proj"],
    }
    hf_to_vllm_mapper = WeightsMapper(
        orig_to_new_prefix={
            "model.": "language_model.model.",
            "lm_head.": "language_model.lm_head.",
        }
    )

    def __init__(self, *, vllm_config: VllmConfig, prefix: str = "") -> None:
        super().__init__()
        self.config = vllm_config.model_config.hf_config
        tokenizer = tokenizer_of(vllm_config.model_config)
        marks = cast(SupportsMultiModal, self)
        with marks._mark_tower_model(vllm_config, "audio"):
            self.audio_encoder = AudioEncoder(
                tokenizer.config, vllm_config.quant_config, maybe_prefix(prefix, "audio_encoder")
            )
        with marks._mark_language_model(vllm_config):
            self.language_model = Qwen2ForCausalLM(
                vllm_config=vllm_config, prefix=maybe_prefix(prefix, "language_model")
            )
        self.make_empty_intermediate_tensors = self.language_model.make_empty_intermediate_tensors
        self.register_buffer(
            "suppressed_ids", torch.from_numpy(tokenizer.suppressed_ids), persistent=False
        )

    @classmethod
    def get_placeholder_str(cls, modality: str, i: int) -> str | None:
        """How a recording is spelled in a prompt."""
        return AUDIO_PART if modality == "audio" else None

    def embed_multimodal(self, **kwargs: object) -> MultiModalEmbeddings:
        """Audio embeddings ``[N_i, hidden]`` of log-mels ``[bins, F_i]``."""
        mels = cast("Sequence[Tensor] | None", kwargs.get(MELS))
        return [] if mels is None else self.audio_encoder(list(mels))

    def forward(
        self,
        input_ids: Tensor | None,
        positions: Tensor,
        intermediate_tensors: IntermediateTensors | None = None,
        inputs_embeds: Tensor | None = None,
        **kwargs: object,
    ) -> Tensor | IntermediateTensors:
        """Hidden states of the language model, or what its next stage needs."""
        if intermediate_tensors is not None:
            inputs_embeds = None
        return cast(
            Tensor,
            self.language_model.model(
                input_ids, positions, intermediate_tensors, inputs_embeds=inputs_embeds
            ),
        )

    def compute_logits(self, hidden_states: Tensor) -> Tensor | None:
        """Logits, with the ids that are never text out of reach.

        Here, and not in a logits processor of vLLM's sampler, because this holds for every route
        and every way of sampling, and because reported log-probabilities are then those among the
        ids that can be chosen, as everywhere in this package.
        """
        logits: Tensor | None = self.language_model.compute_logits(hidden_states)
        if logits is not None:
            logits.index_fill_(-1, self.suppressed_ids, -torch.inf)
        return logits

    def load_weights(self, weights: Iterable[tuple[str, Tensor]]) -> set[str]:
        """Read weights by their published names; a tied head that is stored as well is skipped."""
        loader = AutoWeightsLoader(self)
        return cast("set[str]", loader.load_weights(weights, mapper=self.hf_to_vllm_mapper))

    def get_mm_mapping(self) -> MultiModelKeys:
        """Which modules are which; LoRA applies to the language model."""
        return MultiModelKeys.from_string_field(
            language_model="language_model",
            connector="audio_encoder.adapting",
            tower_model="audio_encoder.whisper",
        )
