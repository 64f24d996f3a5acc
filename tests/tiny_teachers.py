"""Tiny random models of the real classes, saved as their makers save them."""

from __future__ import annotations

from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers

TEXTS = ["a bad cab", "dad ad", "abba cab", "the quick brown fox", "Sie sagte: \u00e4h"] * 4


def byte_level(special, merges=30):
    """A byte-level BPE with a few merges of its own, and special tokens."""
    raw = Tokenizer(models.BPE())
    raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    raw.decoder = decoders.ByteLevel()
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(
        vocab_size=256 + merges, initial_alphabet=alphabet, show_progress=False
    )
    raw.train_from_iterator(TEXTS, trainer)
    raw.add_special_tokens([AddedToken(token, special=True) for token in special])
    return raw


def write_whisper(folder, *, multilingual=True):
    """A Whisper of two thin layers."""
    import torch
    from transformers import WhisperConfig, WhisperFeatureExtractor, WhisperForConditionalGeneration

    torch.manual_seed(0)
    controls = ["<|endoftext|>", "<|startoftranscript|>", "<|en|>", "<|de|>", "<|transcribe|>",
                "<|notimestamps|>", "<|0.00|>"]  # fmt: skip
    raw = byte_level(controls)
    end = raw.token_to_id("<|endoftext|>")
    config = WhisperConfig(
        vocab_size=raw.get_vocab_size(), num_mel_bins=80, d_model=16, encoder_layers=1,
        decoder_layers=1, encoder_attention_heads=2, decoder_attention_heads=2, encoder_ffn_dim=16,
        decoder_ffn_dim=16, max_target_positions=40, pad_token_id=end, bos_token_id=end,
        eos_token_id=end, decoder_start_token_id=end + 1, begin_suppress_tokens=None,
        suppress_tokens=None,
    )  # fmt: skip
    model = WhisperForConditionalGeneration(config)
    model.generation_config._from_model_config = False
    model.generation_config.is_multilingual = multilingual
    model.generation_config.suppress_tokens = [5]
    model.generation_config.begin_suppress_tokens = None
    with torch.no_grad():
        model.proj_out.weight.mul_(20)  # opinions, not a uniform distribution
    model.save_pretrained(folder)
    WhisperFeatureExtractor(feature_size=80).save_pretrained(folder)
    raw.save(str(folder / "tokenizer.json"))
    return folder


_TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message.role }}\n"
    "{% if message.content is string %}{{ message.content }}{% else %}"
    "{% for part in message.content %}{% if part.type == 'audio' %}"
    "<|audio_start|><|audio_pad|><|audio_end|>{% else %}{{ part.text }}{% endif %}{% endfor %}"
    "{% endif %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def write_qwen3_asr(folder):
    """A Qwen3-ASR of one thin layer on each side."""
    import torch
    from transformers import (
        PreTrainedTokenizerFast,
        Qwen3ASRConfig,
        Qwen3ASRFeatureExtractor,
        Qwen3ASRForConditionalGeneration,
        Qwen3ASRProcessor,
    )

    torch.manual_seed(0)
    controls = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|audio_start|>", "<|audio_end|>",
                "<|audio_pad|>", "<asr_text>"]  # fmt: skip
    raw = byte_level(controls)
    id_of = raw.token_to_id
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=raw, eos_token="<|im_end|>", pad_token="<|endoftext|>",
        extra_special_tokens={"audio_token": "<|audio_pad|>", "audio_bos_token": "<|audio_start|>",
                              "audio_eos_token": "<|audio_end|>"},
    )  # fmt: skip
    config = Qwen3ASRConfig(
        audio_config={"encoder_layers": 1, "encoder_attention_heads": 2, "encoder_ffn_dim": 16,
                      "d_model": 16, "output_dim": 16, "downsample_hidden_size": 4},
        text_config={"model_type": "qwen3", "vocab_size": raw.get_vocab_size(), "hidden_size": 16,
                     "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2,
                     "num_key_value_heads": 1, "head_dim": 8, "max_position_embeddings": 512,
                     "tie_word_embeddings": True},
        audio_token_id=id_of("<|audio_pad|>"), pad_token_id=id_of("<|endoftext|>"),
        eos_token_id=[id_of("<|endoftext|>"), id_of("<|im_end|>")],
    )  # fmt: skip
    model = Qwen3ASRForConditionalGeneration(config)
    with torch.no_grad():
        model.lm_head.weight.mul_(20)
    model.save_pretrained(folder)
    processor = Qwen3ASRProcessor(Qwen3ASRFeatureExtractor(), tokenizer, chat_template=_TEMPLATE)
    processor.save_pretrained(folder)
    return folder
