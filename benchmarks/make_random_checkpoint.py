"""Write a checkpoint of random weights in the exact layout of ARK-ASR-0.6B.

782 bfloat16 tensors, 2,599,020,680 bytes, 163,958 ids: everything that speed, memory and conversion
depend on is that of the published model; what it says is noise. The tokenizer has the published ids
of all control tokens over a vocabulary of invented pieces.

    python benchmarks/make_random_checkpoint.py DEST [--seed N]
"""

from __future__ import annotations

import argparse
import json
import math
import struct
from pathlib import Path
from zlib import crc32

import numpy as np

from ark_asr.models.config import ModelConfig
from ark_asr.models.weights import EMBEDDING, HEAD, tensor_shapes

PUBLISHED_BYTES = 2_599_020_680
CONFIG = {
    "architectures": ["ArkasrForConditionalGeneration"],
    "model_type": "arkasr",
    "adapter_type": "mlp",
    "audio_token_id": 151663,
    "bos_token_id": 151643,
    "dtype": "bfloat16",
    "eos_token_id": 151645,
    "hidden_act": "silu",
    "hidden_size": 896,
    "intermediate_size": 4864,
    "max_position_embeddings": 32768,
    "max_whisper_length": 1500,
    "merge_factor": 4,
    "mlp_adapter_act": "gelu",
    "num_attention_heads": 14,
    "num_hidden_layers": 24,
    "num_key_value_heads": 2,
    "pad_token_id": 151643,
    "rms_norm_eps": 1e-6,
    "rope_theta": 1e6,
    "tie_word_embeddings": True,
    "use_rope": True,
    "vocab_size": 163958,
    "whisper_config": {
        "activation_function": "gelu",
        "d_model": 1280,
        "encoder_attention_heads": 20,
        "encoder_ffn_dim": 5120,
        "encoder_layers": 32,
        "max_source_positions": 1500,
        "num_mel_bins": 128,
    },
}
PREPROCESSOR = {
    "chunk_length": 30, "dither": 0.0, "feature_extractor_type": "WhisperFeatureExtractor",
    "feature_size": 128, "hop_length": 160, "n_fft": 400, "n_samples": 480_000,
    "nb_max_frames": 3000, "padding_side": "right", "padding_value": 0.0,
    "processor_class": "ArkasrProcessor", "return_attention_mask": False, "sampling_rate": 16_000,
}  # fmt: skip
BASE_PIECES = 151_643
NAMED = {
    151643: "<|endoftext|>", 151644: "<|im_start|>", 151645: "<|im_end|>", 151663: "<|audio|>",
    151665: "<|user|>", 151666: "<|begin_of_audio|>", 151667: "<|end_of_audio|>",
    151668: "<|assistant|>", 151669: "<|system|>",
}  # fmt: skip


def write_tokenizer(folder: Path) -> None:
    from tokenizers import Tokenizer, decoders, pre_tokenizers
    from tokenizers.models import BPE

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    pieces = [*alphabet, *(f"piece{i}" for i in range(len(alphabet), BASE_PIECES))]
    raw = Tokenizer(BPE({piece: id_ for id_, piece in enumerate(pieces)}, []))
    raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    raw.decoder = decoders.ByteLevel()
    last = max(NAMED)
    raw.add_special_tokens([NAMED.get(i, f"<|unused{i}|>") for i in range(BASE_PIECES, last + 1)])
    raw.save(str(folder / "tokenizer.json"))
    text = json.dumps({"eos_token": "<|im_end|>", "pad_token": "<|endoftext|>"})
    (folder / "tokenizer_config.json").write_text(text)


def write_weights(folder: Path, config: ModelConfig, seed: int) -> int:
    shapes = dict(sorted(tensor_shapes(config).items()))
    header: dict[str, object] = {"__metadata__": {"format": "pt"}}
    begin = 0
    for name, shape in shapes.items():
        end = begin + 2 * math.prod(shape)
        header[name] = {"dtype": "BF16", "shape": list(shape), "data_offsets": [begin, end]}
        begin = end
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    path = folder / "model.safetensors"
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for name, shape in shapes.items():
            # The published head is stored beside the embeddings it is tied to, and equals them.
            same = EMBEDDING if name == HEAD else name
            rng = np.random.default_rng([seed, crc32(same.encode())])
            norm = len(shape) == 1
            scale = (
                0.02
                if norm or "embed" in name or "lm_head" in name
                else math.prod(shape[1:]) ** -0.5
            )
            left = math.prod(shape)
            while left:
                count = min(left, 1 << 24)
                values = rng.standard_normal(count, dtype=np.float32) * np.float32(scale)
                values += norm and name.endswith("norm.weight")
                file.write((values.view(np.uint32) >> 16).astype("<u2").tobytes())
                left -= count
    return path.stat().st_size


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("dest", type=Path, help="folder to make; must not exist")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    options.dest.mkdir(parents=True)
    for name, content in (("config", CONFIG), ("preprocessor_config", PREPROCESSOR)):
        (options.dest / f"{name}.json").write_text(json.dumps(content, indent=2) + "\n")
    write_tokenizer(options.dest)
    size = write_weights(options.dest, ModelConfig.load(options.dest), options.seed)
    print(f"{options.dest}: {size:,} bytes of weights")
    if size != PUBLISHED_BYTES:
        raise SystemExit(f"the published file has {PUBLISHED_BYTES:,}")


if __name__ == "__main__":
    main()
