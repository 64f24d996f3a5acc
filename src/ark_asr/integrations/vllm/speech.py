"""vLLM's own transcription route: what it must know of the model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal

from transformers.models.whisper.tokenization_whisper import LANGUAGES

from ark_asr.decoding.text import clean
from ark_asr.integrations.vllm.interfaces import (
    SpeechToTextConfig,
    SpeechToTextParams,
    StreamingTranscriptionPostProcessor,
    SupportsTranscription,
    TokensPrompt,
    VllmModelConfig,
    VLLMValidationError,
    cached_tokenizer_from_config,
)
from ark_asr.integrations.vllm.processing import numbers_of
from ark_asr.modeling.transformers.conversation import AUDIO_PART
from ark_asr.models.catalogue import catalogue
from ark_asr.models.tokenizer import ASSISTANT, INSTRUCTION, USER

_CODES = sorted({code for entry in catalogue() for code in entry.languages})


class CleanDeltas(StreamingTranscriptionPostProcessor):
    """Cleans an answer while it grows: what was sent is never taken back."""

    def __init__(self) -> None:
        self._raw = self._sent = ""

    def process_delta(self, text_delta: str, finished: bool) -> str:
        """The clean text that these new words add."""
        self._raw += text_delta
        text = clean(self._raw)
        if not text.startswith(self._sent):
            return ""
        new, self._sent = text[len(self._sent) :], text
        return new


class Transcribes(SupportsTranscription):
    """Clips, prompt and clean-up of ARK-ASR for ``/v1/audio/transcriptions``."""

    supported_languages: ClassVar[Mapping[str, str]] = {
        code: LANGUAGES[code] for code in _CODES if code in LANGUAGES
    }

    @classmethod
    def validate_language(cls, language: str | None) -> str | None:
        """A language tells only how pieces are joined: the model hears for itself which one it is.

        Raises:
            VLLMValidationError: The model was not trained for it.
        """
        if language is None or language in cls.supported_languages:
            return language
        raise VLLMValidationError(
            f"language {language!r}: not one of {', '.join(cls.supported_languages)}",
            parameter="language",
        )

    @classmethod
    def get_speech_to_text_config(
        cls, model_config: VllmModelConfig, task_type: Literal["transcribe", "translate"]
    ) -> SpeechToTextConfig:
        """The longest clip, and the rate; longer recordings are cut by vLLM at quiet points."""
        features = numbers_of(model_config).features
        return SpeechToTextConfig(
            sample_rate=features.sample_rate, max_audio_clip_s=int(features.clip_seconds)
        )

    @classmethod
    def get_generation_prompt(cls, stt_params: SpeechToTextParams) -> TokensPrompt:
        """The prompt of one clip; the request's ``prompt`` stands in the instruction's place.

        Raises:
            VLLMValidationError: The request asks for what the model cannot do.
        """
        if stt_params.task_type != "transcribe" or stt_params.to_language:
            raise VLLMValidationError(
                "the model writes down what is said in its own language; it does not translate"
            )
        if stt_params.hotwords:
            raise VLLMValidationError(
                "hotwords are not heeded here; `ark-asr transcribe --hotwords` does them",
                parameter="hotwords",
            )
        instruction = stt_params.request_prompt or INSTRUCTION
        if "<|" in instruction:
            raise VLLMValidationError("a prompt cannot hold control tokens", parameter="prompt")
        tokenizer = cached_tokenizer_from_config(stt_params.model_config)
        text = USER + AUDIO_PART + instruction + ASSISTANT
        return TokensPrompt(
            prompt_token_ids=tokenizer.encode(text, add_special_tokens=False),
            multi_modal_data={"audio": (stt_params.audio, stt_params.stt_config.sample_rate)},
        )

    @classmethod
    def post_process_output(cls, text: str) -> str:
        """Clean text of a whole answer."""
        return clean(text)

    @classmethod
    def get_streaming_post_processor_cls(cls) -> type[StreamingTranscriptionPostProcessor]:
        """Clean text of an answer that grows."""
        return CleanDeltas
