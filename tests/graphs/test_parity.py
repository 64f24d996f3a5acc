"""Graphs on ONNX Runtime against numpy and PyTorch: embeddings, logits, greedy tokens."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from ark_asr.engines.ort import OnnxEngine
from ark_asr.graphs.convert import build_package
from ark_asr.models.tokenizer import Tokenizer
from ark_asr.models.weights import Weights
from ark_asr.types import Prompt
from checkpoints import write_checkpoint
from reference import Reference

GEOMETRIES = {
    "plain": {},
    "one_kv_head_untied": {"head_dim": 32, "kv_heads": 1, "tied": False},
    "learned_positions": {"size": 80, "encoder_heads": 5, "heads": 2, "use_rope": False},
    "head_of_64": {"size": 128, "hidden": 128, "heads": 2, "kv_heads": 1, "layers": 3},
    "merge_3": {"merge": 3, "kv_heads": 4},
}
# One slot completed with zeros (3, 6), exactly one slot (7, 8), and every remainder of 8.
FRAMES = (3, 6, 7, 8, 16, 17, 18, 19, 20, 21, 22, 23, 150)


@pytest.fixture(scope="module", params=GEOMETRIES)
def built(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp(request.param)
    config = write_checkpoint(folder / "source", **GEOMETRIES[request.param])
    build_package(folder / "source", folder / "fp32", precision="fp32")
    build_package(folder / "source", folder / "int8", precision="int8")
    build_package(folder / "source", folder / "int4", precision="int4")
    weights = Weights.open(folder / "source")
    reference = Reference(config, {name: weights[name] for name in weights.shapes})
    tokenizer = Tokenizer.load(folder / "source", config)
    rng = np.random.default_rng(7)
    mels = [rng.standard_normal((128, n)).astype(np.float32) * 0.5 for n in FRAMES]
    audio = [reference.embed_audio(mel) for mel in mels]
    prompts = [Prompt(tokenizer.prompt(len(a)), a.astype(np.float32)) for a in audio]
    return SimpleNamespace(
        folder=folder, config=config, reference=reference, mels=mels, audio=audio, prompts=prompts
    )


@pytest.fixture(scope="module")
def engine(built):
    engine = OnnxEngine.load(built.folder / "fp32", threads=1)
    yield engine
    engine.close()


def test_embeddings_equal_the_mathematics(built, engine):
    for mel, expected in zip(built.mels, built.audio, strict=True):
        (found,) = engine.embed_audio([mel])
        assert found.shape == (built.config.audio_slots(mel.shape[1]), expected.shape[1])
        np.testing.assert_allclose(found, expected, atol=1e-4)


def test_a_clip_does_not_depend_on_its_neighbours(built, engine):
    together = engine.embed_audio(built.mels)
    backwards = engine.embed_audio(built.mels[::-1])[::-1]
    for mel, a, b in zip(built.mels, together, backwards, strict=True):
        (alone,) = engine.embed_audio([mel])
        np.testing.assert_allclose(a, alone, atol=1e-5)
        np.testing.assert_allclose(b, alone, atol=1e-5)


def test_noise_beyond_a_clip_is_not_heard(built, engine):
    mel = np.full((2, 128, 40), 3.0, np.float32)
    mel[0, :, :25] = built.mels[-1][:, :25]
    feed = {"mels": mel, "frames": np.array([25, 40])}
    (found,) = engine._encoder.run(["audio"], feed)
    slots = built.config.audio_slots(25)
    expected = built.reference.embed_audio(mel[0, :, :25])
    np.testing.assert_allclose(found[0, :slots], expected, atol=1e-4)


def test_prompt_and_steps_equal_whole_sequences(built, engine):
    steps = 5
    feeds = np.random.default_rng(3).integers(0, 256, (steps, len(built.prompts)))
    state = engine.start(built.prompts, steps)
    found = [state.logits.copy()]
    for tokens in feeds:
        state = engine.step(state, tokens)
        found.append(state.logits.copy())
    for row, prompt in enumerate(built.prompts):
        ids = [*prompt.token_ids, *feeds[:, row]]
        expected = built.reference.logits(ids, prompt.audio)[-steps - 1 :, engine.output_ids]
        np.testing.assert_allclose([logits[row] for logits in found], expected, atol=1e-3)
        assert state.positions[row] == len(ids)


def test_same_greedy_tokens_as_pytorch(built, engine):
    from ark_asr.engines.torch import TorchEngine

    torch_engine = TorchEngine.load(built.folder / "source")
    assert torch_engine.output_ids.tolist() == engine.output_ids.tolist()
    chosen = []
    for each in (engine, torch_engine):
        audio = each.embed_audio(built.mels)
        prompts = [
            Prompt(prompt.token_ids, a) for prompt, a in zip(built.prompts, audio, strict=True)
        ]
        state = each.start(prompts, 8)
        tokens = []
        for _ in range(8):
            tokens.append(each.output_ids[state.logits.argmax(axis=1)])
            state = each.step(state, tokens[-1])
        chosen.append(np.stack(tokens))
    np.testing.assert_array_equal(*chosen)


@pytest.mark.parametrize(("precision", "logit_error"), [("int8", 0.05), ("int4", 0.2)])
def test_fewer_bits_are_close(built, engine, precision, logit_error):
    small = OnnxEngine.load(built.folder / precision, threads=1)
    for found, expected in zip(small.embed_audio(built.mels), built.audio, strict=True):
        assert np.linalg.norm(found - expected) < 0.05 * np.linalg.norm(expected)
    found, expected = (each.start(built.prompts, 1).logits for each in (small, engine))
    assert np.linalg.norm(found - expected) < logit_error * np.linalg.norm(expected)


@pytest.mark.parametrize("precision", ["int8", "int4"])
def test_quantised_rows_do_not_depend_on_their_neighbours(built, precision):
    small = OnnxEngine.load(built.folder / precision, threads=1)
    state = small.start(built.prompts, 2)
    state = small.step(state, np.full(len(built.prompts), 65))
    for row, prompt in enumerate(built.prompts):
        alone = small.step(small.start([prompt], 2), np.array([65]))
        # Float noise can turn one rounding of one activation, and no more than that.
        np.testing.assert_allclose(state.logits[row], alone.logits[0], atol=0.1)
