"""Tiny models with random weights, each of the real class of its family, as folders on disk.

They say nothing that makes sense: what they are for is to see that a family is loaded and run as
its library wants it, with no network and in no time.
"""

from __future__ import annotations

import json
from pathlib import Path

from tokenizers import AddedToken, Tokenizer, decoders, pre_tokenizers
from tokenizers.models import BPE

_SPREAD = 0.4  # of the weights: much, so that what is said hangs on what is heard


def byte_tokenizer(special: list[str]) -> Tokenizer:
    """256 bytes, then the special tokens."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    raw = Tokenizer(BPE({letter: number for number, letter in enumerate(alphabet)}, []))
    raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    raw.decoder = decoders.ByteLevel()
    raw.add_special_tokens([AddedToken(token, special=True) for token in special])
    return raw


def whisper(folder: Path, seed: int = 0) -> Path:
    """Knows English and German."""
    from transformers import (
        GenerationConfig,
        WhisperConfig,
        WhisperFeatureExtractor,
        WhisperForConditionalGeneration,
        WhisperProcessor,
        WhisperTokenizer,
    )

    names = ["<|endoftext|>", "<|startoftranscript|>", "<|en|>", "<|de|>", "<|translate|>",
             "<|transcribe|>", "<|startoflm|>", "<|startofprev|>", "<|nocaptions|>",
             "<|notimestamps|>", *(f"<|{step * 0.02:.2f}|>" for step in range(1501))]  # fmt: skip
    tokens = {name: 256 + number for number, name in enumerate(names)}
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = WhisperTokenizer({letter: n for n, letter in enumerate(alphabet)}, [])
    tokenizer.add_tokens([AddedToken(name, special=True, normalized=False) for name in names])
    end = tokens["<|endoftext|>"]
    config = WhisperConfig(
        vocab_size=256 + len(names), num_mel_bins=80, d_model=32, encoder_layers=2,
        encoder_attention_heads=2, encoder_ffn_dim=64, decoder_layers=2, decoder_attention_heads=2,
        decoder_ffn_dim=64, max_target_positions=448, bos_token_id=end, eos_token_id=end,
        pad_token_id=end, decoder_start_token_id=tokens["<|startoftranscript|>"],
    )  # fmt: skip
    model = _seeded(WhisperForConditionalGeneration, config, seed)
    model.generation_config = GenerationConfig(
        bos_token_id=end, eos_token_id=end, pad_token_id=end, max_length=448,
        decoder_start_token_id=tokens["<|startoftranscript|>"], is_multilingual=True,
        lang_to_id={name: tokens[name] for name in ("<|en|>", "<|de|>")},
        task_to_id={name: tokens[f"<|{name}|>"] for name in ("translate", "transcribe")},
        no_timestamps_token_id=tokens["<|notimestamps|>"], begin_suppress_tokens=[end],
        # Times too: a model that knows what "no times" means does not say any.
        suppress_tokens=[tokens["<|startoflm|>"], *range(tokens["<|0.00|>"], 256 + len(names))],
    )  # fmt: skip
    processor = WhisperProcessor(WhisperFeatureExtractor(feature_size=80), tokenizer)
    return _save(folder, model, processor)


def faster_whisper(folder: Path, source: Path) -> Path:
    """The same model for CTranslate2."""
    from ctranslate2.converters import TransformersConverter

    files = ["tokenizer.json", "preprocessor_config.json"]
    if not (source / files[1]).is_file():  # transformers 5 has it inside of processor_config.json
        inside = json.loads((source / "processor_config.json").read_text())["feature_extractor"]
        (source / files[1]).write_text(json.dumps(inside))
    TransformersConverter(str(source), copy_files=files).convert(str(folder))
    return folder


def qwen3_asr(folder: Path, seed: int = 0) -> Path:
    from transformers import (
        Qwen2Tokenizer,
        Qwen3ASRConfig,
        Qwen3ASRFeatureExtractor,
        Qwen3ASRForConditionalGeneration,
        Qwen3ASRProcessor,
    )

    special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|audio_start|>", "<|audio_end|>",
               "<|audio_pad|>"]  # fmt: skip
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Qwen2Tokenizer(
        vocab={**{letter: n for n, letter in enumerate(alphabet)}, special[0]: 256}, merges=[],
        extra_special_tokens={"audio_token": special[5], "audio_bos_token": special[3],
                              "audio_eos_token": special[4]},
    )  # fmt: skip
    tokenizer.add_tokens([AddedToken(name, special=True) for name in special[1:3]])
    tokenizer.add_tokens(["<asr_text>"])
    ids = tokenizer.convert_tokens_to_ids
    config = Qwen3ASRConfig(
        audio_config={"encoder_layers": 2, "encoder_attention_heads": 2, "encoder_ffn_dim": 64,
                      "d_model": 32, "output_dim": 32, "downsample_hidden_size": 8},
        text_config={"model_type": "qwen3", "hidden_size": 32, "intermediate_size": 64,
                     "num_hidden_layers": 2, "num_attention_heads": 2, "num_key_value_heads": 1,
                     "head_dim": 16, "vocab_size": len(tokenizer), "tie_word_embeddings": True},
        audio_token_id=ids(special[5]), pad_token_id=ids(special[0]), eos_token_id=ids(special[2]),
    )  # fmt: skip
    model = _seeded(Qwen3ASRForConditionalGeneration, config, seed)
    template = (
        "{% for m in messages %}<|im_start|>{{ m.role }}\n{% for part in m.content %}"
        "{% if part.type == 'audio' %}<|audio_start|><|audio_pad|><|audio_end|>"
        "{% else %}{{ part.text }}{% endif %}{% endfor %}"
        "{% if not loop.last or not continue_final_message %}<|im_end|>\n{% endif %}{% endfor %}"
    )
    processor = Qwen3ASRProcessor(Qwen3ASRFeatureExtractor(), tokenizer, chat_template=template)
    return _save(folder, model, processor)


def cohere_asr(folder: Path, seed: int = 0) -> Path:
    """Knows English and German."""
    from transformers import (
        CohereAsrConfig,
        CohereAsrFeatureExtractor,
        CohereAsrForConditionalGeneration,
        CohereAsrProcessor,
        PreTrainedTokenizerFast,
    )

    special = ["<unk>", "<pad>", "<eos>", "\u2581", "<|startofcontext|>", "<|startoftranscript|>",
               "<|emo:undefined|>", "<|en|>", "<|de|>", "<|pnc|>", "<|nopnc|>", "<|noitn|>",
               "<|notimestamp|>", "<|nodiarize|>"]  # fmt: skip
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=byte_tokenizer(special), pad_token="<pad>", eos_token="<eos>",
        unk_token="<unk>",
    )  # fmt: skip
    config = CohereAsrConfig(
        encoder_config=_parakeet_encoder() | {"num_mel_bins": 128}, vocab_size=len(tokenizer),
        hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64,
        pad_token_id=tokenizer.pad_token_id, eos_token_id=tokenizer.eos_token_id,
        bos_token_id=256 + special.index("<|startoftranscript|>"),
        decoder_start_token_id=256 + special.index("\u2581"),
    )  # fmt: skip
    model = _seeded(CohereAsrForConditionalGeneration, config, seed)
    return _save(folder, model, CohereAsrProcessor(CohereAsrFeatureExtractor(), tokenizer))


def glm_asr(folder: Path, seed: int = 0) -> Path:
    from transformers import (
        GlmAsrConfig,
        GlmAsrForConditionalGeneration,
        GlmAsrProcessor,
        PreTrainedTokenizerFast,
        WhisperFeatureExtractor,
    )

    special = ["<|endoftext|>", "<|user|>", "<|assistant|>", "<|pad|>", "<|begin_of_audio|>",
               "<|end_of_audio|>"]  # fmt: skip
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=byte_tokenizer(special), pad_token="<|endoftext|>",
        eos_token="<|endoftext|>",
    )  # fmt: skip
    config = GlmAsrConfig(
        audio_config={"model_type": "glmasr_encoder", "hidden_size": 32, "intermediate_size": 128,
                      "num_hidden_layers": 2, "num_attention_heads": 2},
        text_config={"model_type": "llama", "vocab_size": len(tokenizer), "hidden_size": 32,
                     "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2,
                     "num_key_value_heads": 1, "eos_token_id": tokenizer.eos_token_id},
        audio_token_id=256 + special.index("<|pad|>"),
    )  # fmt: skip
    model = _seeded(GlmAsrForConditionalGeneration, config, seed)
    template = (
        "{% for m in messages %}<|user|>\n{% for part in m.content %}"
        "{% if part.type == 'audio' %}<|begin_of_audio|><|pad|><|end_of_audio|><|user|>\n"
        "{% else %}{{ part.text }}{% endif %}{% endfor %}{% endfor %}"
        "{% if add_generation_prompt %}<|assistant|>\n{% endif %}"
    )
    processor = GlmAsrProcessor(
        WhisperFeatureExtractor(feature_size=128), tokenizer, chat_template=template
    )
    return _save(folder, model, processor)


def moonshine(folder: Path, seed: int = 0) -> Path:
    from transformers import (
        MoonshineConfig,
        MoonshineForConditionalGeneration,
        Wav2Vec2FeatureExtractor,
        Wav2Vec2Processor,
    )

    tokenizer = _plain_tokenizer()
    config = MoonshineConfig(
        vocab_size=len(tokenizer), hidden_size=32, intermediate_size=64,
        encoder_num_hidden_layers=2, decoder_num_hidden_layers=2, encoder_num_attention_heads=2,
        decoder_num_attention_heads=2, bos_token_id=257, eos_token_id=258,
        decoder_start_token_id=257, pad_token_id=258,
    )  # fmt: skip
    model = _seeded(MoonshineForConditionalGeneration, config, seed)
    processor = Wav2Vec2Processor(
        Wav2Vec2FeatureExtractor(return_attention_mask=True, do_normalize=False), tokenizer
    )
    return _save(folder, model, processor)


def moonshine_streaming(folder: Path, seed: int = 0) -> Path:
    from transformers import (
        MoonshineStreamingConfig,
        MoonshineStreamingForConditionalGeneration,
        MoonshineStreamingProcessor,
        Wav2Vec2FeatureExtractor,
    )

    tokenizer = _plain_tokenizer()
    config = MoonshineStreamingConfig(
        encoder_config={"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2,
                        "num_attention_heads": 2, "num_key_value_heads": 2,
                        "sliding_windows": [[16, 4], [16, 0]]},
        vocab_size=len(tokenizer), hidden_size=32, intermediate_size=64, num_hidden_layers=2,
        num_attention_heads=2, num_key_value_heads=2, pad_token_id=258, bos_token_id=257,
        eos_token_id=258, decoder_start_token_id=257,
    )  # fmt: skip
    model = _seeded(MoonshineStreamingForConditionalGeneration, config, seed)
    processor = MoonshineStreamingProcessor(
        Wav2Vec2FeatureExtractor(return_attention_mask=True, do_normalize=False), tokenizer
    )
    return _save(folder, model, processor)


def parakeet(folder: Path, kind: str = "tdt", seed: int = 0) -> Path:
    """``kind`` is ctc, rnnt or tdt."""
    import transformers
    from transformers import ParakeetFeatureExtractor, ParakeetProcessor, ParakeetTokenizer

    tokenizer = ParakeetTokenizer(
        tokenizer_object=byte_tokenizer(["<unk>", "<pad>", "<blank>"]), unk_token="<unk>",
        pad_token="<blank>" if kind == "ctc" else "<pad>",
    )  # fmt: skip
    name = kind.upper()
    numbers = {"pad_token_id": tokenizer.pad_token_id, "vocab_size": len(tokenizer)}
    if kind != "ctc":
        numbers |= {"blank_token_id": 258, "decoder_hidden_size": 16, "num_decoder_layers": 1,
                    "max_symbols_per_step": 2}  # fmt: skip
    config = getattr(transformers, f"Parakeet{name}Config")(
        encoder_config=_parakeet_encoder(), **numbers
    )
    model = _seeded(getattr(transformers, f"ParakeetFor{name}"), config, seed)
    model.generation_config.decoder_start_token_id = numbers.get("blank_token_id")
    processor = ParakeetProcessor(ParakeetFeatureExtractor(), tokenizer, decoder_type=kind)
    return _save(folder, model, processor)


def onnx_asr(folder: Path, seed: int = 0) -> Path:
    """A CTC model of NeMo's layout: one linear layer over eightfold frames, and the vocabulary."""
    import numpy as np
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    vocabulary = [*"abcdefghijklmnopqrstuvwxyz", "\u2581", "<blk>"]
    weights = np.random.default_rng(seed).standard_normal((80 * 8, len(vocabulary)))
    nodes = [
        helper.make_node("Transpose", ["audio_signal"], ["frames"], perm=[0, 2, 1]),
        helper.make_node("Shape", ["frames"], ["shape"]),
        helper.make_node("Gather", ["shape", "one"], ["count"]),
        helper.make_node("Mod", ["minus", "eight"], ["lack"]),
        helper.make_node("Neg", ["count"], ["minus"]),
        helper.make_node("Concat", ["zeros_before", "lack", "zero"], ["pads"], axis=0),
        helper.make_node("Pad", ["frames", "pads"], ["padded"]),
        helper.make_node("Reshape", ["padded", "groups"], ["grouped"]),
        helper.make_node("MatMul", ["grouped", "weights"], ["logits"]),
        helper.make_node("LogSoftmax", ["logits"], ["logprobs"], axis=-1),
    ]
    nodes[3], nodes[4] = nodes[4], nodes[3]
    constants = {
        "one": [1], "eight": [8], "zero": [0], "zeros_before": [0, 0, 0, 0],
        "groups": [0, -1, 80 * 8],
    }  # fmt: skip
    graph = helper.make_graph(
        nodes, "ctc",
        [helper.make_tensor_value_info("audio_signal", TensorProto.FLOAT, ["b", 80, "t"]),
         helper.make_tensor_value_info("length", TensorProto.INT64, ["b"])],
        [helper.make_tensor_value_info("logprobs", TensorProto.FLOAT, ["b", "s", None])],
        [numpy_helper.from_array(np.array(value, np.int64), name)
         for name, value in constants.items()]
        + [numpy_helper.from_array(weights.astype(np.float32), "weights")],
    )  # fmt: skip
    folder.mkdir(parents=True)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.save(model, str(folder / "model.onnx"))
    lines = [f"{token} {number}\n" for number, token in enumerate(vocabulary)]
    (folder / "vocab.txt").write_text("".join(lines), encoding="utf-8")
    (folder / "config.json").write_text(json.dumps({"model_type": "nemo-conformer-ctc"}))
    return folder


def _plain_tokenizer():
    from transformers import PreTrainedTokenizerFast

    return PreTrainedTokenizerFast(
        tokenizer_object=byte_tokenizer(["<unk>", "<s>", "</s>"]), unk_token="<unk>",
        bos_token="<s>", eos_token="</s>", pad_token="</s>",
    )  # fmt: skip


def _parakeet_encoder() -> dict[str, object]:
    return {
        "model_type": "parakeet_encoder", "hidden_size": 32, "num_hidden_layers": 2,
        "num_attention_heads": 2, "intermediate_size": 64, "num_mel_bins": 80,
        "subsampling_conv_channels": 8, "dropout": 0.0, "layerdrop": 0.0,
        "activation_dropout": 0.0, "attention_dropout": 0.0,
    }  # fmt: skip


def _seeded(kind, config, seed: int):
    import torch

    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = kind(config).eval()
        with torch.no_grad():  # as they are, such models say one token again and again
            for weight in model.parameters():
                if weight.dim() > 1:
                    weight.normal_(std=_SPREAD)
    return model


def _save(folder: Path, model, processor) -> Path:
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder
