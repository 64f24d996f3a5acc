"""Everything that is taken from vLLM, in one place: these names move between its releases."""

from __future__ import annotations

from ark_asr.engines.vllm_release import release_problem

if (problem := release_problem()) is not None:
    raise problem

from vllm.config import ModelConfig as VllmModelConfig
from vllm.config import SpeechToTextConfig, VllmConfig
from vllm.config.multimodal import MultiModalDummyOptions
from vllm.config.speech_to_text import SpeechToTextParams
from vllm.distributed import get_tensor_model_parallel_world_size
from vllm.exceptions import VLLMValidationError
from vllm.inputs import MultiModalDataDict, TokensPrompt
from vllm.model_executor.layers.attention import MMEncoderAttention
from vllm.model_executor.layers.linear import (
    ColumnParallelLinear,
    QKVParallelLinear,
    RowParallelLinear,
)
from vllm.model_executor.layers.quantization import QuantizationConfig
from vllm.model_executor.layers.rotary_embedding.common import ApplyRotaryEmb
from vllm.model_executor.models.interfaces import (
    MultiModalEmbeddings,
    StreamingTranscriptionPostProcessor,
    SupportsLoRA,
    SupportsMultiModal,
    SupportsPP,
    SupportsTranscription,
)
from vllm.model_executor.models.module_mapping import MultiModelKeys
from vllm.model_executor.models.qwen2 import Qwen2ForCausalLM
from vllm.model_executor.models.utils import AutoWeightsLoader, WeightsMapper, maybe_prefix
from vllm.multimodal import MULTIMODAL_REGISTRY
from vllm.multimodal.inputs import MultiModalFieldConfig, MultiModalKwargsItems
from vllm.multimodal.parse import MultiModalDataItems, MultiModalDataParser
from vllm.multimodal.processing import (
    BaseDummyInputsBuilder,
    BaseMultiModalProcessor,
    BaseProcessingInfo,
    PromptReplacement,
    PromptUpdate,
)
from vllm.sequence import IntermediateTensors
from vllm.tokenizers import cached_tokenizer_from_config
from vllm.transformers_utils.processor import cached_processor_from_config

__all__ = [
    "MULTIMODAL_REGISTRY",
    "ApplyRotaryEmb",
    "AutoWeightsLoader",
    "BaseDummyInputsBuilder",
    "BaseMultiModalProcessor",
    "BaseProcessingInfo",
    "ColumnParallelLinear",
    "IntermediateTensors",
    "MMEncoderAttention",
    "MultiModalDataDict",
    "MultiModalDataItems",
    "MultiModalDataParser",
    "MultiModalDummyOptions",
    "MultiModalEmbeddings",
    "MultiModalFieldConfig",
    "MultiModalKwargsItems",
    "MultiModelKeys",
    "PromptReplacement",
    "PromptUpdate",
    "QKVParallelLinear",
    "QuantizationConfig",
    "Qwen2ForCausalLM",
    "RowParallelLinear",
    "SpeechToTextConfig",
    "SpeechToTextParams",
    "StreamingTranscriptionPostProcessor",
    "SupportsLoRA",
    "SupportsMultiModal",
    "SupportsPP",
    "SupportsTranscription",
    "TokensPrompt",
    "VLLMValidationError",
    "VllmConfig",
    "VllmModelConfig",
    "WeightsMapper",
    "cached_processor_from_config",
    "cached_tokenizer_from_config",
    "get_tensor_model_parallel_world_size",
    "maybe_prefix",
]
