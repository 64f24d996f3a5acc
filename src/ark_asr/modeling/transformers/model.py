"""The model as transformers wants it: its own Qwen2 decoder behind this package's audio encoder."""

from __future__ import annotations

import inspect
import os
from typing import Any

import torch
from torch import Tensor
from transformers import Cache, Qwen2ForCausalLM
from transformers.modeling_outputs import CausalLMOutputWithPast

from ark_asr.errors import ModelFormatError, OptionError
from ark_asr.modeling.encoder import AudioEncoder
from ark_asr.modeling.model import place_audio
from ark_asr.modeling.transformers.configuration import ArkasrConfig
from ark_asr.models.weights import HEAD, POSITIONS

# Renamed in transformers 5.24, which warns of the old name; others ignore a name they do not know.
_CACHE = next(
    name
    for name in ("cache", "past_key_values")
    if name in inspect.signature(Qwen2ForCausalLM.forward).parameters
)


class ArkasrForConditionalGeneration(Qwen2ForCausalLM):
    """Audio embeddings take the place of the audio ids in a Qwen2 prompt.

    Weight names are the published ones. A clip's result does not depend on its neighbours in a
    batch as long as ``audio_lengths`` says where it ends.
    """

    config_class = ArkasrConfig
    config: ArkasrConfig
    _no_split_modules = ("Qwen2DecoderLayer", "EncoderLayer")

    def __init__(self, config: ArkasrConfig) -> None:
        super().__init__(config)
        numbers = config.numbers()
        self.audio_token_id = numbers.audio_token_id
        self.audio_encoder = AudioEncoder(numbers)
        self.post_init()

    def forward(  # noqa: PLR0917 - transformers' arguments, in its order
        self,
        input_ids: Tensor | None = None,
        audios: Tensor | None = None,
        audio_lengths: Tensor | None = None,
        attention_mask: Tensor | None = None,
        position_ids: Tensor | None = None,
        past_key_values: Cache | None = None,
        inputs_embeds: Tensor | None = None,
        labels: Tensor | None = None,
        use_cache: bool | None = None,
        logits_to_keep: int | Tensor = 0,
        cache: Cache | None = None,
        **kwargs: Any,  # noqa: ANN401
    ) -> CausalLMOutputWithPast:
        """Logits of each position, as `Qwen2ForCausalLM`.

        Args:
            input_ids: int64 ``[batch, length]``; its audio ids are the places of ``audios``.
            audios: Log-mels ``[batch, bins, frames]``, padded at the right. Needed with the prompt
                only, not with the tokens that follow it.
            audio_lengths: Frames of each clip, int64 ``[batch]``; ``None`` if all fill the batch,
                or to let padding be heard as the published code does.
            attention_mask: 0 where a prompt is padding, at its left.
            position_ids: As the following ones, as `Qwen2ForCausalLM` wants it. All are named here
                because ``generate`` hands over what it finds in this list.
            past_key_values: The cache, in the name that it had before transformers 5.24.
            inputs_embeds: In place of ``input_ids``.
            labels: See there.
            use_cache: See there.
            logits_to_keep: See there.
            cache: Keys and values of the positions before these; see there. Either name does in
                every release.
            **kwargs: See there.
        """
        if cache is not None and past_key_values is not None:
            raise OptionError("cache and past_key_values are two names of one thing; give one")
        if audios is not None:
            if input_ids is None or inputs_embeds is not None:
                raise OptionError("audios need input_ids, to know where they belong")
            self._check_audio(input_ids, audios, audio_lengths)
            audio = self.audio_encoder(audios.to(self.dtype), audio_lengths)
            table = self.get_input_embeddings()
            inputs_embeds = place_audio(table, input_ids, audio, self.audio_token_id)
            input_ids = None
        output: CausalLMOutputWithPast = super().forward(
            input_ids=input_ids,
            attention_mask=attention_mask,
            position_ids=position_ids,
            inputs_embeds=inputs_embeds,
            labels=labels,
            use_cache=use_cache,
            logits_to_keep=logits_to_keep,
            **{_CACHE: past_key_values if cache is None else cache},
            **kwargs,
        )
        return output

    def _check_audio(self, input_ids: Tensor, audios: Tensor, lengths: Tensor | None) -> None:
        """Whether each row has as many places as its sound fills.

        Raises:
            OptionError: It has not: a prompt was cut, or is that of another recording.
        """
        bins = self.audio_encoder.config.encoder.mel_bins
        if audios.ndim != 3 or audios.shape[:2] != (len(input_ids), bins):
            raise OptionError(
                f"audios are {list(audios.shape)}, expected [{len(input_ids)}, {bins}, frames] for "
                f"input_ids {list(input_ids.shape)}"
            )
        if torch.compiler.is_compiling():  # what follows looks at numbers
            return
        frames = torch.tensor([audios.shape[-1]]) if lengths is None else lengths
        slots = ((frames + 1) // 2 // self.config.merge_factor).clamp(min=1).to(input_ids.device)
        here = input_ids == self.audio_token_id
        first = here.int().argmax(1, keepdim=True)
        behind = torch.arange(1, here.shape[1] + 1, device=here.device) - first
        # The first run of them: an answer that is fed again may hold that id as well.
        places = (here & (here.cumsum(1) == behind)).sum(1)
        # Without lengths, padding is heard as it is in the published code, in rows of fewer places.
        fits = places <= slots if lengths is None else places == slots
        if not bool(fits.all()):
            raise OptionError(
                f"the prompts have {places.tolist()} places for audio, their sound fills "
                f"{slots.tolist()}; give both as the processor made them, not truncated"
            )

    def generate(self, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401 - as transformers has it
        """As of transformers.

        Raises:
            OptionError: The prompt is to be fed in chunks: each would begin with the first sound.
        """
        settings = kwargs.get("generation_config") or self.generation_config
        if kwargs.get("prefill_chunk_size", getattr(settings, "prefill_chunk_size", None)):
            raise OptionError("prefill_chunk_size: a prompt with audio is fed as a whole; leave it")
        return super().generate(*args, **kwargs)

    def prepare_inputs_for_generation(self, *args: Any, **kwargs: Any) -> dict[str, Any]:  # noqa: ANN401
        """The inputs of one step: the audio is given with the prompt only."""
        inputs: dict[str, Any] = super().prepare_inputs_for_generation(*args, **kwargs)
        cache = inputs.get(_CACHE)
        if cache is not None and cache.get_seq_length():
            inputs["audios"] = inputs["audio_lengths"] = None
        return inputs

    @classmethod
    def from_pretrained(
        cls,
        pretrained_model_name_or_path: str | os.PathLike[str] | None,
        *args: Any,  # noqa: ANN401
        output_loading_info: bool = False,
        **kwargs: Any,  # noqa: ANN401
    ) -> Any:  # noqa: ANN401 - a model, or a pair if output_loading_info is set
        """Load safetensors weights, and only those; arguments are those of transformers.

        Raises:
            ModelFormatError: Weights are missing (transformers alone would make them up) or hold
                values that are not finite.
        """
        kwargs["use_safetensors"] = True
        model, info = super().from_pretrained(
            pretrained_model_name_or_path, *args, output_loading_info=True, **kwargs
        )
        optional = {POSITIONS} if model.config.use_rope else set()
        if missing := sorted(set(info["missing_keys"]) - optional):
            raise ModelFormatError(
                f"{pretrained_model_name_or_path}: lacks {missing[0]}"
                + (f" and {len(missing) - 1} more tensors" if missing[1:] else "")
            )
        for name, weight in model.named_parameters():
            if weight.is_floating_point() and not weight.is_meta and not weight.isfinite().all():
                raise ModelFormatError(
                    f"{pretrained_model_name_or_path}: {name} holds values that are not finite"
                )
        return (model, info) if output_loading_info else model

    def save_pretrained(
        self,
        save_directory: str | os.PathLike[str],
        *,
        state_dict: dict[str, Tensor] | None = None,
        **kwargs: Any,  # noqa: ANN401
    ) -> None:
        """Write the published layout: the tied head is stored as well; see transformers."""
        state = dict(self.state_dict() if state_dict is None else state_dict)
        state[HEAD] = torch.clone(state[HEAD])  # transformers leaves out what shares its memory
        super().save_pretrained(save_directory, state_dict=state, **kwargs)
