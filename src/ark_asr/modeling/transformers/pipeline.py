"""``pipeline("automatic-speech-recognition")`` for ARK-ASR.

Transformers' own pipeline of that task knows models that take audio alone; ARK-ASR is asked in
words, reads any container with PyAV instead of the program ffmpeg, and must be kept from choosing
control tokens.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, cast

from transformers import AutomaticSpeechRecognitionPipeline, PreTrainedModel
from transformers.pipelines import PIPELINE_REGISTRY

from ark_asr.decoding.text import clean
from ark_asr.errors import OptionError
from ark_asr.modeling.transformers.configuration import ArkasrConfig
from ark_asr.modeling.transformers.processor import ArkasrProcessor
from ark_asr.models.tokenizer import INSTRUCTION, Tokenizer

TASK = "automatic-speech-recognition"
_REFUSED = ("chunk_length_s", "stride_length_s", "return_timestamps", "return_language",
            "decoder_kwargs", "generation_config")  # fmt: skip


class ArkasrPipeline(AutomaticSpeechRecognitionPipeline):
    """One recording of at most one clip in, ``{"text": ...}`` out.

    Takes what the task's own pipeline takes: a path, bytes, an array or tensor at the model's rate,
    or ``{"array" or "raw": samples, "sampling_rate": Hz}``; a list or dataset of them, one by one.
    Words after the call are generation parameters. Longer recordings, times and batches are
    refused: `ark_asr.load` does those.
    """

    def __init__(self, model: PreTrainedModel, **kwargs: Any) -> None:  # noqa: ANN401
        self._refuse(kwargs)
        super().__init__(model, **kwargs)
        self.processor = ArkasrProcessor(
            self.feature_extractor, self.tokenizer, merge_factor=model.config.merge_factor
        )
        words = Tokenizer(
            self.tokenizer.backend_tokenizer, model.config.numbers(), self.tokenizer.eos_token
        )
        self._settings = {
            "max_new_tokens": 256,
            "num_beams": 1,
            "do_sample": False,
            "suppress_tokens": words.suppressed_ids.tolist(),
            "eos_token_id": sorted(words.stop_ids),
            "pad_token_id": self.tokenizer.pad_token_id,
        }

    def __call__(self, inputs: Any, **kwargs: Any) -> Any:  # noqa: ANN401
        """Transcribe one recording, or each of a list, generator or dataset."""
        self._refuse(kwargs)
        return super().__call__(inputs, **kwargs)

    def _sanitize_parameters(
        self,
        **kwargs: Any,  # noqa: ANN401
    ) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
        self._refuse(kwargs)
        # What is refused may be said to be off, as by its default elsewhere.
        said = {name: value for name, value in kwargs.items() if name not in _REFUSED}
        return {}, {**(said.pop("generate_kwargs", None) or {}), **said}, {}

    def _refuse(self, given: Mapping[str, Any]) -> None:
        wrong = [name for name in _REFUSED if given.get(name)]
        wrong += ["batch_size"] if (given.get("batch_size") or 1) > 1 else []
        if wrong:
            raise OptionError(
                f"{', '.join(wrong)}: not for ARK-ASR in this pipeline; ark_asr.load() transcribes "
                "long recordings with times, the processor and generate() take batches"
            )

    def preprocess(self, inputs: Any) -> Iterator[dict[str, Any]]:  # noqa: ANN401
        """The prompt of one recording."""
        rate = self.feature_extractor.sampling_rate
        if isinstance(inputs, Mapping):
            rate, inputs = inputs.get("sampling_rate"), inputs.get("raw", inputs.get("array"))
            if rate is None or inputs is None:
                raise OptionError("a recording in a dictionary needs 'array' and 'sampling_rate'")
        content = [{"type": "audio", "audio": inputs}, {"type": "text", "text": INSTRUCTION}]
        conversation = [{"role": "user", "content": content}]
        prompt = self.processor.apply_chat_template(
            conversation, add_generation_prompt=True, sampling_rate=rate
        )
        yield {"is_last": True, **cast("Mapping[str, Any]", prompt)}

    def _forward(self, model_inputs: dict[str, Any], **kwargs: Any) -> dict[str, Any]:  # noqa: ANN401
        prompt = {name: value for name, value in model_inputs.items() if name != "is_last"}
        # Where newer releases of transformers put what they were given together with the model.
        settings = {**self._settings, **getattr(self, "_generate_kwargs", {}), **kwargs}
        answer = self.model.generate(**prompt, **settings)
        answer = getattr(answer, "sequences", answer)  # of return_dict_in_generate
        new = answer[:, prompt["input_ids"].shape[1] :]
        return {"is_last": model_inputs["is_last"], "tokens": new}

    def postprocess(self, model_outputs: list[dict[str, Any]]) -> dict[str, str]:
        """Token ids to text, cleaned as everywhere in this package."""
        (output,) = model_outputs
        return {"text": clean(self.tokenizer.decode(output["tokens"][0]))}


class SpeechRecognitionPipeline(AutomaticSpeechRecognitionPipeline):
    """The pipeline of the task: ours for ARK-ASR, transformers' own for every other model."""

    def __new__(
        cls,
        model: PreTrainedModel,
        **kwargs: Any,  # noqa: ANN401
    ) -> AutomaticSpeechRecognitionPipeline:
        """Not an instance of this class, so that other models get exactly what they always got."""
        ours = isinstance(model.config, ArkasrConfig)
        kind = ArkasrPipeline if ours else AutomaticSpeechRecognitionPipeline
        return kind(model=model, **kwargs)


def register_pipeline() -> None:
    """Put `SpeechRecognitionPipeline` in the task's place, whose models and default stay."""
    PIPELINE_REGISTRY.supported_tasks[TASK]["impl"] = SpeechRecognitionPipeline
