"""Make the folder that `ark-mini` starts from: its geometry and its own tokenizer, no weights.

python start.py --manifests speech/train.jsonl real/real-train.jsonl --out start
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers

from ark_asr.models.tokenizer import CONTROL_TOKENS, END_OF_TEXT, IM_END, INSTRUCTION

GEOMETRY = {
    "encoder": {"d_model": 192, "encoder_layers": 8, "encoder_attention_heads": 3},
    "decoder": {"hidden_size": 192, "num_hidden_layers": 3, "num_attention_heads": 3},
}


def texts(manifests: list[Path], limit: int) -> list[str]:
    """Transcripts of the manifests, at most `limit` of each."""
    found = []
    for path in manifests:
        lines = path.read_text(encoding="utf-8").splitlines()[:limit]
        found += [json.loads(line)["text"] for line in lines]
    return found


def train_tokenizer(lines: list[str], pieces: int) -> Tokenizer:
    """Byte-level BPE without prefix space, as the published tokenizer, but small.

    The instruction is one piece: it is always the same, and spelling it out in small pieces would
    only lengthen every prompt.
    """
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = sorted(set("abcdefghijklmnopqrstuvwxyz'Ġ"))
    trainer = trainers.BpeTrainer(vocab_size=pieces, initial_alphabet=alphabet, show_progress=False)
    tokenizer.train_from_iterator([*lines, *["abcdefghijklmnopqrstuvwxyz '"]], trainer)
    everything = json.loads(tokenizer.to_str())
    vocabulary = everything["model"]["vocab"]
    for symbol in pre_tokenizers.ByteLevel.alphabet():  # any byte can be written, seen or not
        vocabulary.setdefault(symbol, len(vocabulary))
    tokenizer = Tokenizer.from_str(json.dumps(everything))
    tokenizer.add_tokens([AddedToken(INSTRUCTION, normalized=False)])
    tokenizer.add_special_tokens([AddedToken(t, special=True) for t in CONTROL_TOKENS])
    return tokenizer


def main() -> None:
    """Write tokenizer and configuration."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--manifests", type=Path, nargs="+", required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--pieces", type=int, default=512)
    parser.add_argument("--limit", type=int, default=20_000, help="lines read per manifest")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    tokenizer = train_tokenizer(texts(args.manifests, args.limit), args.pieces)
    tokenizer.save(str(args.out / "tokenizer.json"))

    encoder, decoder = GEOMETRY["encoder"], GEOMETRY["decoder"]
    write(args.out / "tokenizer_config.json", {
        "tokenizer_class": "Qwen2Tokenizer", "bos_token": None, "eos_token": IM_END,
        "pad_token": END_OF_TEXT, "unk_token": None,
    })  # fmt: skip
    id_of = tokenizer.token_to_id
    write(args.out / "config.json", {
        "architectures": ["ArkasrForConditionalGeneration"],
        "model_type": "arkasr",
        **decoder,
        "num_key_value_heads": 1,
        "head_dim": 64,
        "intermediate_size": 3 * decoder["hidden_size"],
        "vocab_size": tokenizer.get_vocab_size(),
        "hidden_act": "silu",
        "rms_norm_eps": 1e-6,
        "rope_theta": 10_000.0,
        "max_position_embeddings": 512,
        "tie_word_embeddings": True,
        "bos_token_id": id_of(END_OF_TEXT),
        "eos_token_id": id_of(IM_END),
        "pad_token_id": id_of(END_OF_TEXT),
        "audio_token_id": id_of("<|audio|>"),
        "adapter_type": "mlp",
        "mlp_adapter_act": "gelu",
        "merge_factor": 4,
        "use_rope": True,
        "torch_dtype": "bfloat16",
        "whisper_config": {
            **encoder,
            "encoder_ffn_dim": 4 * encoder["d_model"],
            "num_mel_bins": 128,
            "max_source_positions": 800,
            "activation_function": "gelu",
        },
    })  # fmt: skip
    write(args.out / "preprocessor_config.json", {
        "chunk_length": 16, "feature_extractor_type": "WhisperFeatureExtractor",
        "feature_size": 128, "hop_length": 160, "n_fft": 400, "n_samples": 256_000,
        "sampling_rate": 16_000,
    })  # fmt: skip
    write(args.out / "generation_config.json", {"eos_token_id": id_of(IM_END)})


def write(path: Path, data: object) -> None:
    """Pretty JSON."""
    path.write_text(json.dumps(data, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
