"""A checkpoint's numbers, read from its own files.

Nothing about a particular checkpoint is written in code: hidden sizes, vocabulary, audio id, merge
factor, clip length and mel settings all come from ``config.json`` and ``preprocessor_config.json``.
Defaults stand only where the published configuration classes have the same default.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ark_asr.errors import ModelFormatError, ModelNotFoundError

CONFIG_FILE = "config.json"
PREPROCESSOR_FILE = "preprocessor_config.json"
GENERATION_FILE = "generation_config.json"

# The encoder rotates the first half of each head, in adjacent pairs, over this base. Neither number
# has a key in the published configuration: they belong to the architecture, as in GLM-ASR.
ENCODER_ROPE_THETA = 10_000.0
ENCODER_ROTARY_FRACTION = 0.5


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object.

    Raises:
        ModelNotFoundError: There is no such file.
        ModelFormatError: It is not a JSON object.
    """
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ModelNotFoundError(f"{path}: no such file; a model folder needs it") from None
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise ModelFormatError(f"{path}: not valid JSON ({error})") from None
    if not isinstance(value, dict):
        raise ModelFormatError(f"{path}: expected a JSON object, found {type(value).__name__}")
    return value


def require(data: Mapping[str, Any], keys: Mapping[str, type], where: str) -> None:
    """Check that all ``keys`` are present with the right type; name every one that is not."""
    wrong = []
    for key, kind in keys.items():
        value = data.get(key)
        if value is None:
            wrong.append(f"{key} is missing")
        elif not isinstance(value, kind) or isinstance(value, bool):
            wrong.append(f"{key} is {value!r}, expected {kind.__name__}")
    if wrong:
        raise ModelFormatError(f"{where}: {'; '.join(wrong)}")


@dataclass(frozen=True, slots=True)
class EncoderConfig:
    """The Whisper-shaped audio encoder (key ``whisper_config``)."""

    hidden_size: int
    layers: int
    heads: int
    ffn_size: int
    mel_bins: int
    max_positions: int
    layer_norm_eps: float = 1e-5

    @property
    def head_dim(self) -> int:
        """Width of one attention head."""
        return self.hidden_size // self.heads

    @property
    def rotary_dim(self) -> int:
        """Leading dimensions of each head that are rotated."""
        return int(self.head_dim * ENCODER_ROTARY_FRACTION)


@dataclass(frozen=True, slots=True)
class DecoderConfig:
    """The Qwen2 decoder (keys at the top level)."""

    hidden_size: int
    layers: int
    heads: int
    kv_heads: int
    head_dim: int
    ffn_size: int
    vocab_size: int
    rms_norm_eps: float
    rope_theta: float
    max_positions: int
    tied_head: bool


@dataclass(frozen=True, slots=True)
class FeatureConfig:
    """The log-mel front end and the longest clip (``preprocessor_config.json``)."""

    sample_rate: int = 16_000
    mel_bins: int = 128
    n_fft: int = 400
    hop_length: int = 160
    clip_samples: int = 480_000

    @property
    def clip_seconds(self) -> float:
        """The longest clip in seconds."""
        return self.clip_samples / self.sample_rate

    def frames(self, samples: int) -> int:
        """Mel frames of a clip of that many samples."""
        return samples // self.hop_length

    @classmethod
    def from_dict(cls, data: Mapping[str, Any], where: str = PREPROCESSOR_FILE) -> FeatureConfig:
        """Read the published keys; unknown ones are ignored.

        Raises:
            ModelFormatError: A key is missing, of the wrong type or not positive.
        """
        names = ("sampling_rate", "feature_size", "n_fft", "hop_length")
        require(data, dict.fromkeys(names, int), where)
        rate, bins, n_fft, hop = (int(data[name]) for name in names)
        samples = data.get("n_samples") or int(data.get("chunk_length") or 0) * rate
        if not isinstance(samples, int) or min(rate, bins, n_fft, hop, samples) <= 0:
            raise ModelFormatError(
                f"{where}: sampling_rate, feature_size, n_fft, hop_length and n_samples (or "
                "chunk_length) must be positive whole numbers"
            )
        return cls(rate, bins, n_fft, hop, samples)


@dataclass(frozen=True, slots=True)
class ModelConfig:
    """Everything about a checkpoint that is a number.

    Attributes:
        merge_factor: Encoder frames that the adapter joins into one audio embedding.
        use_rope: Rotary positions in the encoder; else the learned ``embed_positions`` are added.
        audio_token_id: The id whose embedding is replaced by audio.
        eos_token_ids: Ids that end an answer, from ``config.json`` and ``generation_config.json``.
        block_from: First id that is never text, if the checkpoint says so.
    """

    encoder: EncoderConfig
    decoder: DecoderConfig
    features: FeatureConfig
    merge_factor: int
    use_rope: bool
    audio_token_id: int
    eos_token_ids: tuple[int, ...]
    pad_token_id: int
    block_from: int | None = None

    @property
    def adapter_size(self) -> int:
        """Width of the adapter's hidden layer."""
        return 2 * self.decoder.hidden_size

    @property
    def encoder_positions(self) -> int:
        """Positions (two mel frames each) that the encoder can tell apart.

        Learned ones end with their table; rotary ones have no end, so they cover the longest clip
        of the front end too.
        """
        if not self.use_rope:
            return self.encoder.max_positions
        longest = self.features.frames(self.features.clip_samples)
        return max(self.encoder.max_positions, (longest + 1) // 2)

    @property
    def slot_seconds(self) -> float:
        """Sound that one audio embedding stands for: 0.08 as published."""
        return 2 * self.merge_factor * self.features.hop_length / self.features.sample_rate

    def audio_slots(self, frames: int) -> int:
        """Audio embeddings that a log-mel of ``frames`` frames becomes: about 12.5 per second."""
        return max((frames + 1) // 2 // self.merge_factor, 1)

    @classmethod
    def from_dicts(
        cls,
        config: Mapping[str, Any],
        preprocessor: Mapping[str, Any] | None = None,
        generation: Mapping[str, Any] | None = None,
        where: str = CONFIG_FILE,
    ) -> ModelConfig:
        """Read the published keys; unknown ones are ignored.

        Args:
            config: ``config.json``.
            preprocessor: ``preprocessor_config.json``; Whisper-large-v3's front end if missing.
            generation: ``generation_config.json``; it may add end ids.
            where: Named in errors.

        Raises:
            ModelFormatError: Names every key that is missing or makes no sense.
        """
        if config.get("model_type") != "arkasr":
            raise ModelFormatError(
                f"{where}: model_type is {config.get('model_type')!r}, expected 'arkasr'"
            )
        encoder = _encoder(config, where)
        decoder = _decoder(config, where)
        require(config, {"audio_token_id": int}, where)
        adapter, act = config.get("adapter_type", "mlp"), config.get("mlp_adapter_act", "gelu")
        if adapter != "mlp" or act != "gelu":
            raise ModelFormatError(f"{where}: adapter {adapter!r} with {act!r} is not known")
        features = FeatureConfig.from_dict(preprocessor) if preprocessor else FeatureConfig()
        if features.mel_bins != encoder.mel_bins:
            raise ModelFormatError(
                f"{where}: num_mel_bins is {encoder.mel_bins}, but {PREPROCESSOR_FILE} makes "
                f"{features.mel_bins}"
            )
        eos = _ids(config.get("eos_token_id")) + _ids((generation or {}).get("eos_token_id"))
        pad = config.get("pad_token_id")
        block_from = config.get("asr_block_token_id_from")
        return cls(
            encoder=encoder,
            decoder=decoder,
            features=features,
            merge_factor=int(config.get("merge_factor", 4)),
            use_rope=bool(config.get("use_rope", True)),
            audio_token_id=int(config["audio_token_id"]),
            eos_token_ids=tuple(dict.fromkeys(eos)),
            pad_token_id=int(pad) if pad is not None else (eos[0] if eos else 0),
            block_from=int(block_from) if block_from is not None and block_from >= 0 else None,
        )

    @classmethod
    def load(cls, folder: str | Path) -> ModelConfig:
        """Read a checkpoint folder.

        Raises:
            ModelNotFoundError: The folder or its ``config.json`` is missing.
            ModelFormatError: A file is not what it must be.
        """
        folder = Path(folder)

        def optional(name: str) -> dict[str, Any] | None:
            return read_json(folder / name) if (folder / name).is_file() else None

        return cls.from_dicts(
            read_json(folder / CONFIG_FILE),
            optional(PREPROCESSOR_FILE),
            optional(GENERATION_FILE),
            where=str(folder / CONFIG_FILE),
        )


def _encoder(config: Mapping[str, Any], where: str) -> EncoderConfig:
    whisper = config.get("whisper_config")
    if not isinstance(whisper, Mapping):
        raise ModelFormatError(f"{where}: whisper_config is missing")
    where = f"{where}: whisper_config"
    names = ("d_model", "encoder_layers", "encoder_attention_heads", "encoder_ffn_dim",
             "num_mel_bins", "max_source_positions")  # fmt: skip
    require(whisper, dict.fromkeys(names, int), where)
    if whisper.get("activation_function", "gelu") != "gelu":
        raise ModelFormatError(f"{where}: activation_function must be gelu")
    encoder = EncoderConfig(*(int(whisper[name]) for name in names))
    if encoder.hidden_size % encoder.heads:
        raise ModelFormatError(f"{where}: d_model is not a multiple of encoder_attention_heads")
    return encoder


def _decoder(config: Mapping[str, Any], where: str) -> DecoderConfig:
    names = ("hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size",
             "vocab_size")  # fmt: skip
    require(config, dict.fromkeys(names, int), where)
    hidden, layers, heads, ffn, vocab = (int(config[name]) for name in names)
    kv_heads = int(config.get("num_key_value_heads") or heads)
    if config.get("hidden_act", "silu") != "silu" or config.get("use_sliding_window", False):
        raise ModelFormatError(f"{where}: only Qwen2 with silu and full attention is known")
    if heads % kv_heads:
        raise ModelFormatError(
            f"{where}: num_attention_heads is not a multiple of num_key_value_heads"
        )
    rope = config.get("rope_parameters") or {}
    theta = config.get("rope_theta") or rope.get("rope_theta")
    if theta is None:
        raise ModelFormatError(f"{where}: rope_theta is missing, also in rope_parameters")
    kind = rope.get("rope_type", "default")
    if kind != "default" or config.get("rope_scaling"):
        raise ModelFormatError(f"{where}: rotary scaling {kind!r} is not known")
    return DecoderConfig(
        hidden_size=hidden,
        layers=layers,
        heads=heads,
        kv_heads=kv_heads,
        head_dim=int(config.get("head_dim") or hidden // heads),
        ffn_size=ffn,
        vocab_size=vocab,
        rms_norm_eps=float(config.get("rms_norm_eps", 1e-6)),
        rope_theta=float(theta),
        max_positions=int(config.get("max_position_embeddings", 32_768)),
        tied_head=bool(config.get("tie_word_embeddings", False)),
    )


def _ids(value: Any) -> list[int]:  # noqa: ANN401 - an id, a list of them, or nothing
    if value is None:
        return []
    return [int(item) for item in (value if isinstance(value, list) else [value])]
