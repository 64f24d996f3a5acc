"""``config.json`` as transformers wants it: a Qwen2 configuration with the audio keys beside it."""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping
from typing import Any

from transformers import Qwen2Config

from ark_asr.errors import ArkWarning
from ark_asr.models.config import CONFIG_FILE, ModelConfig


class ArkasrConfig(Qwen2Config):
    """Numbers of a checkpoint; unknown keys are kept and written back.

    Args:
        whisper_config: The audio encoder's keys, as published; a plain dictionary.
        audio_token_id: The id whose embedding is replaced by audio.
        merge_factor: Encoder frames that the adapter joins into one audio embedding.
        use_rope: Rotary positions in the encoder; else learned ones.
        **kwargs: Those of `Qwen2Config`.
    """

    model_type = "arkasr"

    def __init__(
        self,
        whisper_config: Mapping[str, Any] | None = None,
        audio_token_id: int | None = None,
        merge_factor: int = 4,
        use_rope: bool = True,
        **kwargs: Any,  # noqa: ANN401
    ) -> None:
        self.whisper_config = dict(whisper_config or {})
        self.audio_token_id = audio_token_id
        self.merge_factor = merge_factor
        self.use_rope = use_rope
        if kwargs.get("head_dim") is None:  # Qwen2 divides for itself, but only if there is no key
            kwargs.pop("head_dim", None)
        super().__init__(**kwargs)

    @classmethod
    def from_dict(cls, config_dict: dict[str, Any], **kwargs: Any) -> ArkasrConfig:  # noqa: ANN401
        """Read ``config.json``; code that it names (``auto_map``) is ignored.

        Warns:
            ArkWarning: It names code. Python shows it once per folder.
        """
        published = dict(config_dict)
        where = kwargs.get("name_or_path") or published.get("_name_or_path") or CONFIG_FILE
        ignore_code(where, published.pop("auto_map", None))
        config: ArkasrConfig = super().from_dict(published, **kwargs)
        return config

    def numbers(self) -> ModelConfig:
        """The same as a checked record.

        Raises:
            ModelFormatError: Keys are missing or make no sense; all are named.
        """
        return ModelConfig.from_dicts(self.to_dict())


def ignore_code(where: str | os.PathLike[str], auto_map: Mapping[str, Any] | None) -> None:
    """Warn that the code which a file of a checkpoint names is not run."""
    if auto_map:
        files = sorted({str(name).partition(".")[0] + ".py" for name in auto_map.values()})
        warnings.warn(
            f"{where}: names code of its own ({', '.join(files)}); it is not run, the classes of "
            "ark_asr take its place",
            ArkWarning,
            stacklevel=3,
        )
