"""Conversations with audio in, what the model's ``generate`` takes out."""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping, Sequence
from numbers import Integral
from typing import Any, TypeAlias, cast

import numpy as np
import torch
from transformers import (
    AutoConfig,
    BatchFeature,
    PreTrainedTokenizerBase,
    ProcessorMixin,
    SequenceFeatureExtractor,
)

from ark_asr.audio import LogMel, Source, load_audio
from ark_asr.errors import AudioError, AudioWarning, ModelFormatError, OptionError
from ark_asr.modeling.transformers.configuration import ignore_code
from ark_asr.modeling.transformers.conversation import (
    CHAT_TEMPLATE,
    Conversation,
    audio_part,
    prompt_of,
)
from ark_asr.models.config import FeatureConfig
from ark_asr.models.tokenizer import AUDIO
from ark_asr.types import FloatArray

AudioSource: TypeAlias = Source | torch.Tensor | Sequence[float]

_HUB_OPTIONS = ("cache_dir", "force_download", "local_files_only", "token", "revision", "subfolder")


class ArkasrProcessor(ProcessorMixin):
    """Tokenizer and log-mel front end of a checkpoint.

    Args:
        feature_extractor: Its numbers (rate, bins, window, hop, longest clip) are used; the log-mel
            is this package's own, of a clip's true length.
        tokenizer: Of the same checkpoint; it pads at the left, unless told otherwise afterwards.
        merge_factor: Encoder frames that the adapter joins into one audio embedding.
    """

    def __init__(
        self,
        feature_extractor: SequenceFeatureExtractor,
        tokenizer: PreTrainedTokenizerBase,
        merge_factor: int = 4,
    ) -> None:
        super().__init__(feature_extractor, tokenizer)
        self.merge_factor = merge_factor
        tokenizer.padding_side = "left"
        tokenizer.pad_token = tokenizer.pad_token or tokenizer.eos_token
        self._features = FeatureConfig.from_dict(feature_extractor.to_dict())
        self._log_mel = LogMel(self._features)

    @property
    def model_input_names(self) -> list[str]:
        """What `__call__` returns."""
        return ["input_ids", "attention_mask", "audios", "audio_lengths"]

    def apply_chat_template(
        self,
        conversation: Conversation | Sequence[Conversation],
        *,
        add_generation_prompt: bool = False,
        tokenize: bool = True,
        return_dict: bool = True,
        **kwargs: Any,  # noqa: ANN401
    ) -> BatchFeature | torch.Tensor | str | list[str]:
        """Prompts and log-mels of one conversation or of several.

        Args:
            conversation: One message of role ``user`` whose content is a list of parts in the order
                the model gets them: exactly one ``{"type": "audio", "path" or "audio": source}``,
                with ``begin_time`` and ``end_time`` in seconds if only a part of it is meant
                (negative or ``None``: not set), and ``{"type": "text", "text": words}``. Sound
                alone gets the words of training, as by `CHAT_TEMPLATE`.
            add_generation_prompt: End with the marker that asks for the answer.
            tokenize: Return tensors; else the text of each prompt, its audio as one marker.
            return_dict: Return all tensors; else ``input_ids`` alone.
            **kwargs: Those of `__call__`.

        Raises:
            OptionError: The conversation is of another form.
            AudioError: The sound cannot be used.
        """
        if not isinstance(conversation, Sequence) or not conversation:
            raise OptionError("a conversation is a list that holds one message")
        several = not isinstance(conversation[0], Mapping)
        conversations = cast("Sequence[Conversation]", conversation if several else [conversation])
        prompts = [prompt_of(one, answer=add_generation_prompt) for one in conversations]
        if not tokenize:
            return prompts if several else prompts[0]
        rate = kwargs.get("sampling_rate")
        audio = [self._load(audio_part(one), rate) for one in conversations]
        inputs = self(prompts, audio, **(kwargs | {"sampling_rate": self._features.sample_rate}))
        return inputs if return_dict else cast(torch.Tensor, inputs["input_ids"])

    def __call__(
        self,
        text: str | Sequence[str],
        audio: AudioSource | Sequence[AudioSource],
        *,
        sampling_rate: int | None = None,
        audio_padding: str | bool = "longest",
        audio_max_length: int | None = None,
        text_kwargs: Mapping[str, Any] | None = None,
        return_tensors: str = "pt",
    ) -> BatchFeature:
        """Prompts with one audio marker each, and their recordings.

        Args:
            text: Prompts; each one's audio marker becomes as many as it has audio embeddings.
            audio: One recording per prompt: a path, bytes, an array or a tensor.
            sampling_rate: Hz of arrays and tensors; the model's own if not given.
            audio_padding: Only ``longest``: padding to 30 s makes the model write nonsense.
            audio_max_length: Samples after which a recording is cut; the longest clip of the
                checkpoint if not given.
            text_kwargs: Handed to the tokenizer.
            return_tensors: Only ``pt``.

        Returns:
            ``input_ids`` and ``attention_mask`` int64 ``[batch, length]``, ``audios`` float32
            ``[batch, bins, frames]`` and ``audio_lengths`` int64 ``[batch]``, the frames of each.

        Raises:
            OptionError: An argument makes no sense.
            AudioError: The sound cannot be used.

        Warns:
            AudioWarning: A recording was cut.
        """
        if audio_padding not in ("longest", True) or return_tensors != "pt":
            raise OptionError("audio_padding must be 'longest' and return_tensors 'pt'")
        prompts = [text] if isinstance(text, str) else list(text)
        recordings = [audio] if isinstance(text, str) else list(cast("Sequence[Any]", audio))
        markers = [one.count(AUDIO) for one in prompts]
        if not prompts or len(prompts) != len(recordings) or markers != [1] * len(prompts):
            raise OptionError(f"each prompt needs one {AUDIO} and one recording")
        limit = self._features.clip_samples if audio_max_length is None else audio_max_length
        if not isinstance(limit, Integral) or limit < 1:
            raise OptionError(
                f"audio_max_length is {limit!r}; it must be a whole number, at least 1"
            )
        mels = [
            self._log_mel(self._cut(self._samples(one, sampling_rate), limit)) for one in recordings
        ]
        lengths = [mel.shape[1] for mel in mels]
        if not min(lengths):
            raise AudioError(f"a clip is shorter than {self._features.hop_length} samples")
        batch = np.zeros((len(mels), self._features.mel_bins, max(lengths)), np.float32)
        for row, mel in zip(batch, mels, strict=True):
            row[:, : mel.shape[1]] = mel
        slots = [max((frames + 1) // 2 // self.merge_factor, 1) for frames in lengths]
        expanded = [one.replace(AUDIO, AUDIO * n) for one, n in zip(prompts, slots, strict=True)]
        words = {"padding": "longest", **(text_kwargs or {})}
        inputs = self.tokenizer(expanded, add_special_tokens=False, return_tensors="pt", **words)
        return BatchFeature(
            {**inputs, "audios": torch.from_numpy(batch), "audio_lengths": torch.tensor(lengths)}
        )

    @classmethod
    def from_pretrained(
        cls,
        pretrained_model_name_or_path: str | os.PathLike[str],
        **kwargs: Any,  # noqa: ANN401
    ) -> ArkasrProcessor:
        """Read a checkpoint folder; ``trust_remote_code`` is not heeded: there is no need for any.

        Raises:
            ModelFormatError: The tokenizer is not that of ``config.json``.

        Warns:
            ArkWarning: ``preprocessor_config.json`` names code, which is ignored.
        """
        kwargs.pop("trust_remote_code", None)
        where = pretrained_model_name_or_path
        hub = {name: kwargs[name] for name in _HUB_OPTIONS if name in kwargs}
        config = AutoConfig.from_pretrained(where, **hub)
        processor: ArkasrProcessor = super().from_pretrained(where, **kwargs)
        processor.merge_factor = config.merge_factor
        processor.chat_template = CHAT_TEMPLATE
        ignore_code(where, processor.feature_extractor.__dict__.pop("auto_map", None))
        found = processor.tokenizer.convert_tokens_to_ids(AUDIO)
        if found != config.audio_token_id:
            raise ModelFormatError(
                f"{where}: {AUDIO} is id {found}, but config.json says {config.audio_token_id}"
            )
        return processor

    def save_pretrained(
        self,
        save_directory: str | os.PathLike[str],
        **kwargs: Any,  # noqa: ANN401
    ) -> list[str]:
        """Write the published files; transformers 5 alone leaves ``preprocessor_config.json``."""
        written: list[str] = super().save_pretrained(save_directory, **kwargs)
        return [*written, *self.feature_extractor.save_pretrained(save_directory)]

    def _load_audio_file(
        self,
        path: str | os.PathLike[str],
        sampling_rate: int | None = None,
        offset: float = 0.0,
        duration: float | None = None,
    ) -> FloatArray:
        """Samples float32 ``[n]``, mono; the published training script calls this by name."""
        rate = sampling_rate or self._features.sample_rate
        end = None if duration is None else offset + duration
        return load_audio(path, sample_rate=rate, begin=offset, end=end).samples

    def _load(self, part: Mapping[str, Any], rate: int | None) -> FloatArray:
        begin, end = (-1 if at is None else at for at in map(part.get, ("begin_time", "end_time")))
        return self._samples(
            part["audio"] if part.get("path") is None else part["path"],
            rate,
            begin=begin if begin >= 0 else None,
            end=end if end > max(begin, 0) else None,
        )

    def _samples(
        self,
        source: Any,  # noqa: ANN401
        rate: int | None,
        *,
        begin: float | None = None,
        end: float | None = None,
    ) -> FloatArray:
        if isinstance(source, torch.Tensor):
            # numpy has no bfloat16.
            source = (source.float() if source.is_floating_point() else source).numpy(force=True)
        elif isinstance(source, Sequence) and not isinstance(source, str | bytes):
            try:
                source = np.asarray(source, np.float32)
            except (ValueError, TypeError):
                raise AudioError("a list is sound only if it holds samples, all numbers") from None
        own = self._features.sample_rate
        given = None
        if isinstance(source, np.ndarray):
            given = own if rate is None else rate
        return load_audio(source, sample_rate=own, begin=begin, end=end, source_rate=given).samples

    def _cut(self, samples: FloatArray, limit: int) -> FloatArray:
        if len(samples) > limit:
            rate = self._features.sample_rate
            warnings.warn(
                f"a recording of {len(samples) / rate:.1f} s is heard to second {limit / rate:g} "
                "only; ark_asr.load() transcribes long ones",
                AudioWarning,
                stacklevel=3,
            )
        return samples[:limit]
