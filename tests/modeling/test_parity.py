"""The PyTorch model against independent implementations, in float32."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from transformers import GlmAsrEncoderConfig, Qwen2Config, Qwen2ForCausalLM, WhisperConfig
from transformers.models.glmasr.modeling_glmasr import GlmAsrEncoder
from transformers.models.whisper.modeling_whisper import WhisperEncoder

from ark_asr.modeling.decoder import KeyValueCache
from ark_asr.modeling.encoder import PairRotation, WhisperTower
from ark_asr.modeling.model import ArkForConditionalGeneration
from ark_asr.models.config import DecoderConfig, EncoderConfig, FeatureConfig, ModelConfig
from ark_asr.models.weights import tensor_shapes

ENCODER = EncoderConfig(64, 2, 2, 96, 128, 1500)
DECODER = DecoderConfig(64, 3, 4, 2, 16, 80, 120, 1e-6, 10_000.0, 512, tied_head=True)
CONFIG = ModelConfig(ENCODER, DECODER, FeatureConfig(), 4, True, 110, (111,), 112)


def random_(module, seed=0):
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, weight in module.named_parameters():
            noise = torch.randn(weight.shape, generator=generator)
            scale = 0.2 if weight.ndim == 1 else weight[0].numel() ** -0.5
            weight.copy_(noise * scale + float(weight.ndim == 1 and "norm.weight" in name))
    return module.eval()


@pytest.fixture(scope="module")
def model():
    return random_(ArkForConditionalGeneration(CONFIG))


def mels(*frames, seed=1):
    generator = torch.Generator().manual_seed(seed)
    batch = torch.zeros(len(frames), 128, max(frames))
    for row, count in enumerate(frames):
        batch[row, :, :count] = torch.randn(128, count, generator=generator)
    return batch, torch.tensor(frames)


def test_tower_without_rope_is_whispers_encoder():
    ours = random_(WhisperTower(ENCODER, use_rope=False))
    theirs = WhisperEncoder(
        WhisperConfig(
            d_model=64, encoder_layers=2, encoder_attention_heads=2, encoder_ffn_dim=96,
            num_mel_bins=128, max_source_positions=1500, activation_function="gelu", dropout=0.0,
            attn_implementation="eager",
        )
    ).eval()  # fmt: skip
    theirs.load_state_dict({**theirs.state_dict(), **ours.state_dict()})
    batch, _ = mels(3000)  # Whisper takes 30 s and nothing else
    with torch.no_grad():
        expected = theirs(batch).last_hidden_state
        # Theirs ends with a norm, which ours leaves to the adapter.
        found = torch.nn.functional.layer_norm(ours(batch), (64,))
    torch.testing.assert_close(found, expected, atol=2e-4, rtol=1e-4)


def test_tower_with_rope_is_glm_asrs_encoder():
    ours = random_(WhisperTower(ENCODER, use_rope=True))
    theirs = GlmAsrEncoder(
        GlmAsrEncoderConfig(
            hidden_size=64, num_hidden_layers=2, num_attention_heads=2, intermediate_size=96,
            num_mel_bins=128, attn_implementation="eager",
        )
    ).eval()  # fmt: skip
    names = {
        "self_attn_layer_norm": "input_layernorm", "final_layer_norm": "post_attention_layernorm",
        "self_attn.out_proj": "self_attn.o_proj", "fc1": "mlp.fc1", "fc2": "mlp.fc2",
    }  # fmt: skip
    state = {}
    for name, weight in ours.state_dict().items():
        renamed = name
        for old, new in names.items():
            renamed = renamed.replace(f".{old}.", f".{new}.")
        turned = "q_proj" in name or "k_proj" in name
        state[renamed] = halves_from_pairs(weight, 32, rotary=16) if turned else weight
    del state["embed_positions.weight"]
    missing = theirs.load_state_dict(state, strict=False)
    assert missing.missing_keys == ["norm.weight", "norm.bias"]
    assert not missing.unexpected_keys
    batch, _ = mels(437)
    with torch.no_grad():
        expected = theirs(batch).last_hidden_state
        found = torch.nn.functional.layer_norm(ours(batch), (64,))
    torch.testing.assert_close(found, expected, atol=2e-5, rtol=1e-4)


def halves_from_pairs(weight, head_dim, rotary):
    """Rows for pairs (0, 1), (2, 3)... into the order in which j turns with j + rotary / 2."""
    order = [*range(0, rotary, 2), *range(1, rotary, 2), *range(rotary, head_dim)]
    heads = weight.unflatten(0, (-1, head_dim))
    return heads[:, order].flatten(0, 1)


def test_pair_rotation_is_multiplication_by_unit_complex_numbers():
    x = torch.randn(1, 50, 2, 32, generator=torch.Generator().manual_seed(3))
    found = PairRotation(ENCODER, 50, x)(x).numpy()
    pairs = x[..., :16].double().numpy().reshape(1, 50, 2, 8, 2)
    angles = np.outer(np.arange(50), 10_000.0 ** (-np.arange(8) / 8))
    turned = (pairs[..., 0] + 1j * pairs[..., 1]) * np.exp(1j * angles)[:, None]
    expected = np.stack([turned.real, turned.imag], -1).reshape(1, 50, 2, 16)
    np.testing.assert_allclose(found[..., :16], expected, atol=1e-5)
    np.testing.assert_array_equal(found[..., 16:], x[..., 16:].numpy())


def test_decoder_is_qwen2(model):
    theirs = Qwen2ForCausalLM(
        Qwen2Config(
            vocab_size=120, hidden_size=64, intermediate_size=80, num_hidden_layers=3,
            num_attention_heads=4, num_key_value_heads=2, rms_norm_eps=1e-6, rope_theta=10_000.0,
            tie_word_embeddings=True, max_position_embeddings=512, attn_implementation="eager",
        )
    ).eval()  # fmt: skip
    state = {k: v for k, v in model.state_dict().items() if not k.startswith("audio_encoder")}
    theirs.load_state_dict(state, strict=True)
    ids = torch.randint(0, 110, (2, 40), generator=torch.Generator().manual_seed(5))
    with torch.no_grad():
        torch.testing.assert_close(model(ids), theirs(ids).logits, atol=1e-4, rtol=1e-4)


def test_a_clip_does_not_depend_on_its_neighbours(model):
    frames = (311, 120, 7, 1, 256)
    batch, lengths = mels(*frames)
    with torch.no_grad():
        together = model.embed_audio(batch, lengths)
        for row, count in enumerate(frames):
            slots = CONFIG.audio_slots(count)
            alone = model.embed_audio(batch[row : row + 1, :, :count])
            assert alone.shape == (1, slots, 64)
            torch.testing.assert_close(together[row, :slots], alone[0], atol=2e-5, rtol=1e-4)


def test_noise_behind_a_clip_is_not_heard(model):
    batch, lengths = mels(200, 90)
    louder = batch.clone()
    louder[1, :, 90:] = 50.0
    with torch.no_grad():
        slots = CONFIG.audio_slots(90)
        quiet, loud = (model.embed_audio(m, lengths)[1, :slots] for m in (batch, louder))
    torch.testing.assert_close(quiet, loud)


def test_steps_through_the_cache_equal_one_pass(model):
    ids = torch.randint(0, 110, (2, 20), generator=torch.Generator().manual_seed(7))
    lengths = [9, 14]  # prompts of different length, padded at the right
    with torch.no_grad():
        embeds = model.embed_prompt(ids, None)
        expected = model.model(embeds)
        cache = KeyValueCache(DECODER, 2, 20, embeds)
        model.decode(embeds[:, :14], torch.arange(14).expand(2, -1), cache)
        for step in range(6):
            at = torch.tensor([n + step for n in lengths])[:, None]
            new = embeds[torch.arange(2)[:, None], at]
            found = model.decode(new, at, cache)
            torch.testing.assert_close(
                found[:, 0], expected[torch.arange(2), at[:, 0]], atol=2e-5, rtol=1e-4
            )


def test_audio_takes_the_places_of_audio_ids(model):
    ids = torch.tensor([[1, 110, 110, 2], [110, 3, 4, 110]])
    audio = torch.full((2, 1, 64), 7.0)
    with torch.no_grad():
        embeds = model.embed_prompt(ids, audio)
    assert (embeds[0, 1] == 7).all()
    assert (embeds[0, 2] == 0).all()  # more ids than embeddings: zeros
    assert (embeds[1, 0] == 7).all()
    assert (embeds[1, 3] == 0).all()
    torch.testing.assert_close(embeds[0, 3], model.model.embed_tokens.weight[2].detach())


def test_names_and_shapes_are_the_published_ones(model):
    shapes = {name: tuple(weight.shape) for name, weight in model.state_dict().items()}
    assert shapes == tensor_shapes(CONFIG)


def test_the_0_6b_geometry_has_782_tensors_and_its_published_size():
    config = ModelConfig(
        EncoderConfig(1280, 32, 20, 5120, 128, 1500),
        DecoderConfig(896, 24, 14, 2, 64, 4864, 163_958, 1e-6, 1e6, 32_768, tied_head=True),
        FeatureConfig(), 4, True, 151_663, (151_645,), 151_643,
    )  # fmt: skip
    with torch.device("meta"):
        state = ArkForConditionalGeneration(config).state_dict()
    assert len(state) == 782
    assert sum(weight.numel() for weight in state.values()) == 1_299_463_168


def test_save_and_load_round_trip(model, tmp_path, byte_checkpoint):
    folder = tmp_path / "saved"
    folder.mkdir()
    (folder / "config.json").write_text((byte_checkpoint / "config.json").read_text())
    config = ModelConfig.load(folder)
    first = random_(ArkForConditionalGeneration(config), seed=9)
    first.save(folder, torch.float32)
    again = ArkForConditionalGeneration.load(folder)
    for name, weight in first.state_dict().items():
        torch.testing.assert_close(again.state_dict()[name], weight, msg=name)
    assert again.lm_head.weight is again.model.embed_tokens.weight
    assert [path.name for path in folder.iterdir() if "partial" in path.name] == []


def test_float16_is_clamped_after_each_layer():
    tower = random_(WhisperTower(dataclasses.replace(ENCODER, layers=1), use_rope=True))
    with torch.no_grad():
        tower.layers[0].fc2.bias.fill_(65_000.0)
    batch, _ = mels(64)
    with torch.no_grad():
        half = tower.half()(batch.half())
    assert torch.isfinite(half).all()
    assert half.abs().max() <= 64_512  # 65504 - 1000, as float16 can hold it
