"""A checkpoint's numbers, read from its own files.

Nothing about a particular checkpoint is written in code: hidden sizes, vocabulary, audio id, merge
factor, clip length and mel settings all come from ``config.json`` and ``preprocessor_config.json``.
Defaults stand only where the published configuration classes have the same default.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from reprlib import repr as short
from typing import Any

from ark_asr.errors import ModelFormatError
from ark_asr.models.fields import flag, positive, read_json, require, whole_numbers

__all__ = [
    "CONFIG_FILE",
    "GENERATION_FILE",
    "PREPROCESSOR_FILE",
    "DecoderConfig",
    "EncoderConfig",
    "FeatureConfig",
    "ModelConfig",
    "read_json",
    "require",
]

CONFIG_FILE = "config.json"
PREPROCESSOR_FILE = "preprocessor_config.json"
GENERATION_FILE = "generation_config.json"

# The encoder rotates the first half of each head, in adjacent pairs, over this base. Neither number
# has a key in the published configuration: they belong to the architecture, as in GLM-ASR.
ENCODER_ROPE_THETA = 10_000.0
ENCODER_ROTARY_FRACTION = 0.5

# The largest values that are taken, tens of times those of the largest known model.
_ENCODER_LIMITS = {
    "d_model": 1 << 16, "encoder_layers": 1024, "encoder_attention_heads": 1024,
    "encoder_ffn_dim": 1 << 18, "num_mel_bins": 1024, "max_source_positions": 1 << 20,
}  # fmt: skip
_DECODER_LIMITS = {
    "hidden_size": 1 << 16, "num_hidden_layers": 1024, "num_attention_heads": 1024,
    "num_key_value_heads": 1024, "head_dim": 1024, "intermediate_size": 1 << 18,
    "vocab_size": 1 << 22, "max_position_embeddings": 1 << 24,
}  # fmt: skip
_FEATURE_LIMITS = {
    "sampling_rate": 192_000, "feature_size": 1024, "n_fft": 1 << 14, "hop_length": 1 << 14,
    "n_samples": 1 << 30,
}  # fmt: skip


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
            ModelFormatError: A key is missing, of the wrong type or out of its range.
        """
        seconds, rate = data.get("chunk_length"), data.get("sampling_rate")
        if isinstance(seconds, int) and isinstance(rate, int):
            data = {"n_samples": seconds * rate, **data}
        features = cls(*whole_numbers(data, _FEATURE_LIMITS, where))
        if features.clip_seconds < 1:
            raise ModelFormatError(f"{where}: n_samples is {features.clip_samples}, not a second")
        return features


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
                f"{where}: model_type is {short(config.get('model_type'))}, expected 'arkasr'"
            )
        encoder = _encoder(config, where)
        decoder = _decoder(config, where)
        adapter, act = config.get("adapter_type", "mlp"), config.get("mlp_adapter_act", "gelu")
        if adapter != "mlp" or act != "gelu":
            raise ModelFormatError(f"{where}: adapter {short(adapter)} with {short(act)}; unknown")
        (merge,) = whole_numbers(config, {"merge_factor": 64}, where, {"merge_factor": 4})
        features = FeatureConfig(mel_bins=encoder.mel_bins)
        if preprocessor:
            features = FeatureConfig.from_dict(preprocessor)
        if features.mel_bins != encoder.mel_bins:
            raise ModelFormatError(
                f"{where}: num_mel_bins is {encoder.mel_bins}, but {PREPROCESSOR_FILE} makes "
                f"{features.mel_bins}"
            )

        def ids(source: Mapping[str, Any], key: str) -> list[int]:
            return _ids(source.get(key), key, decoder.vocab_size, where)

        audio = ids(config, "audio_token_id")
        if not audio:
            raise ModelFormatError(f"{where}: audio_token_id is missing")
        eos = ids(config, "eos_token_id") + ids(generation or {}, "eos_token_id")
        # A negative one is none, as in the published scripts.
        block_from = config.get("asr_block_token_id_from")
        if block_from is not None and type(block_from) is not int:
            raise ModelFormatError(f"{where}: asr_block_token_id_from is {short(block_from)}")
        return cls(
            encoder=encoder,
            decoder=decoder,
            features=features,
            merge_factor=merge,
            use_rope=flag(config, "use_rope", where, default=True),
            audio_token_id=audio[0],
            eos_token_ids=tuple(dict.fromkeys(eos)),
            pad_token_id=(ids(config, "pad_token_id") or eos or [0])[0],
            block_from=block_from if block_from is not None and block_from >= 0 else None,
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
    if whisper.get("activation_function", "gelu") != "gelu":
        raise ModelFormatError(f"{where}: activation_function must be gelu")
    encoder = EncoderConfig(*whole_numbers(whisper, _ENCODER_LIMITS, where))
    # Half of a head is rotated, in pairs.
    if encoder.hidden_size % (4 * encoder.heads):
        raise ModelFormatError(
            f"{where}: d_model is not a multiple of 4 times encoder_attention_heads"
        )
    return encoder


def _decoder(config: Mapping[str, Any], where: str) -> DecoderConfig:
    if config.get("hidden_act", "silu") != "silu" or config.get("use_sliding_window", False):
        raise ModelFormatError(f"{where}: only Qwen2 with silu and full attention is known")
    defaults = {"max_position_embeddings": 32_768}
    heads, width = config.get("num_attention_heads"), config.get("hidden_size")
    if isinstance(heads, int) and isinstance(width, int):
        defaults |= {"num_key_value_heads": heads, "head_dim": width // max(heads, 1)}
    hidden, layers, heads, kv_heads, head_dim, ffn, vocab, positions = whole_numbers(
        config, _DECODER_LIMITS, where, defaults
    )
    if heads % kv_heads or head_dim % 2:
        raise ModelFormatError(
            f"{where}: num_attention_heads is not a multiple of num_key_value_heads, or head_dim "
            "is odd"
        )
    rope = config.get("rope_parameters") or {}
    if not isinstance(rope, Mapping):
        raise ModelFormatError(f"{where}: rope_parameters is {short(rope)}")
    theta = config.get("rope_theta") or rope.get("rope_theta")
    if theta is None:
        raise ModelFormatError(f"{where}: rope_theta is missing, also in rope_parameters")
    kind = rope.get("rope_type", "default")
    if kind != "default" or config.get("rope_scaling"):
        raise ModelFormatError(f"{where}: rotary scaling {short(kind)} is not known")
    return DecoderConfig(
        hidden_size=hidden,
        layers=layers,
        heads=heads,
        kv_heads=kv_heads,
        head_dim=head_dim,
        ffn_size=ffn,
        vocab_size=vocab,
        rms_norm_eps=positive(config.get("rms_norm_eps", 1e-6), "rms_norm_eps", where),
        rope_theta=positive(theta, "rope_theta", where),
        max_positions=positions,
        tied_head=flag(config, "tie_word_embeddings", where, default=False),
    )


def _ids(value: object, key: str, vocabulary: int, where: str) -> list[int]:
    """An id or a list of them, checked; none if there is none."""
    if value is None:
        return []
    found: list[Any] = value if isinstance(value, list) else [value]
    if not all(type(item) is int and 0 <= item < vocabulary for item in found):
        raise ModelFormatError(
            f"{where}: {key} is {short(value)}, expected ids below vocab_size ({vocabulary:,})"
        )
    return found
