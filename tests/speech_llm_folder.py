"""A folder in the layout "speech-llm", made of a checkpoint."""

from __future__ import annotations

import json
from pathlib import Path

from ark_asr.graphs.builder import FLOAT, INT64, GraphBuilder
from ark_asr.models.tokenizer import Tokenizer
from ark_asr.models.weights import EMBEDDING
from plain_graphs import Checkpoint, Qwen2, save_encoder


class GrowingQwen2(Qwen2):
    """Past keys and values come in, present ones go out."""

    def cache(self, i, key, value):
        graph, text = self.graph, self.config
        present = []
        for kind, new in (("key", key), ("value", value)):
            past = graph.input(
                f"past_key_values.{i}.{kind}", FLOAT, [1, text.kv_heads, "past", text.head_dim]
            )
            name = graph.output(
                f"present.{i}.{kind}", FLOAT, [1, text.kv_heads, "total", text.head_dim]
            )
            graph.node_to("Concat", [past, new], [name], axis=2)
            present.append(name)
        return tuple(present)

    def bias(self):
        return "attn_bias"


def write_speech_llm(source_folder: Path, dest: Path, *, ending="", **changes) -> Path:
    """Write ``encoder``, ``embed_tokens``, ``decoder``, ``config.json`` and ``vocab.json``."""
    dest.mkdir(parents=True, exist_ok=True)
    source = Checkpoint(source_folder)
    tokenizer = Tokenizer.load(source_folder, source.config)
    text = source.config.decoder
    save_encoder(
        source, dest / f"encoder{ending}.onnx", inputs=["input_features"], output="audio_embeds"
    )
    graph = GraphBuilder("embed_tokens")
    ids = graph.input("input_ids", INT64, [1, "length"])
    table = graph.weight("table", source.weights[EMBEDDING])
    graph.node_to("Gather", [table, ids], ["inputs_embeds"])
    graph.output("inputs_embeds", FLOAT, [1, "length", text.hidden_size])
    graph.save(dest / f"embed_tokens{ending}.onnx")
    graph = GraphBuilder("decoder")
    embeds = graph.input("inputs_embeds", FLOAT, [1, "length", text.hidden_size])
    graph.input("attn_bias", FLOAT, [1, 1, "length", "total"])
    positions = graph.input("position_ids", INT64, [1, "length"])
    logits = GrowingQwen2(source, graph).build(embeds, positions)
    graph.node_to("Identity", [logits], ["logits"])
    graph.output("logits", FLOAT, [1, "length", text.vocab_size])
    graph.save(dest / f"decoder{ending}.onnx")
    prompt = tokenizer.prompt(1)
    slot = prompt.index(source.config.audio_token_id)
    features = source.config.features
    config = {
        "model_type": "speech-llm", "features_size": features.mel_bins,
        "preprocessor": "whisper128", "tokenizer_type": "byte-level",
        "prompt_prefix_ids": prompt[:slot], "prompt_suffix_ids": prompt[slot + 1 :],
        "eos_token_ids": sorted(tokenizer.stop_ids),
        "suppress_token_ids": tokenizer.suppressed_ids.tolist(), "text_start_token_id": None,
        "max_sequence_length": 128, "trim_features": 2 * source.config.merge_factor,
        "max_frames": features.frames(features.clip_samples), "hop_length": features.hop_length,
        **changes,
    }  # fmt: skip
    (dest / "config.json").write_text(json.dumps(config))
    (dest / "vocab.json").write_text(json.dumps(tokenizer.raw.get_vocab()))
    return dest
