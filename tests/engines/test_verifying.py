"""A draft behind a prompt, in one pass: the logits of one token at a time, and how to go back."""

from __future__ import annotations

import json
from itertools import takewhile

import numpy as np
import onnx
import pytest
from onnx import helper

from ark_asr import load
from ark_asr.audio import LogMel, load_audio
from ark_asr.decoding.drafts import Drafted
from ark_asr.decoding.search import greedy
from ark_asr.engines.base import Verifies
from ark_asr.engines.ort import OnnxEngine
from ark_asr.engines.scripted import ScriptedEngine
from ark_asr.engines.torch import TorchEngine
from ark_asr.errors import OptionError
from ark_asr.graphs.convert import build_package
from ark_asr.models.config import ModelConfig
from ark_asr.models.package import DECODER_FILE, MANIFEST_FILE, hash_file
from ark_asr.types import Prompt
from checkpoints import write_checkpoint

# int8 rounds activations, and a last digit of attention can tip one over. The weights are random,
# so that is larger here than in speech.
CLOSE = {"fp32": 1e-4, "int8": 0.2, "int4": 0.2, "torch": 1e-4}
DRAFT = [40, 50, 60, 70]


class Counting:
    """An engine, and how often it was stepped."""

    def __init__(self, engine):
        self._engine, self.steps = engine, 0

    def __getattr__(self, name):
        return getattr(self._engine, name)

    def step(self, state, token_ids):
        self.steps += 1
        return self._engine.step(state, token_ids)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("verifying")
    write_checkpoint(folder / "source", max_positions=40)
    for precision in ("fp32", "int8", "int4"):
        build_package(folder / "source", folder / precision, precision=precision)
    return folder


@pytest.fixture(scope="module", params=CLOSE)
def engine(request, folder):
    if request.param == "torch":
        return TorchEngine.load(folder / "source")
    return OnnxEngine.load(folder / request.param, threads=1)


@pytest.fixture
def close(engine):
    return CLOSE["torch" if isinstance(engine, TorchEngine) else engine.manifest.precision]


@pytest.fixture
def prompt(engine):
    rng = np.random.default_rng(1)
    audio = rng.standard_normal((5, 64)).astype(np.float32)
    return Prompt([1, *[engine.config.audio_token_id] * 5, 2], audio)


def one_by_one(engine, prompt, tokens, room=10):
    state = engine.start([prompt], room)
    found = [state.logits.copy()]
    for token in tokens:
        state = engine.step(state, np.array([token]))
        found.append(state.logits.copy())
    return np.concatenate(found)


def test_a_draft_has_the_logits_of_its_tokens_one_by_one(engine, prompt, close):
    assert isinstance(engine, Verifies)
    state, logits = engine.verify(prompt, DRAFT, 10)
    assert (logits.shape, logits.dtype) == ((5, len(engine.output_ids)), np.float32)
    assert state.positions.tolist() == [11]
    np.testing.assert_allclose(logits, one_by_one(engine, prompt, DRAFT), atol=close)


@pytest.mark.parametrize("kept", range(len(DRAFT) + 1))
def test_what_was_read_in_vain_is_forgotten(engine, prompt, close, kept):
    state, _ = engine.verify(prompt, DRAFT, 10)
    state = engine.rewind(state, len(prompt.token_ids) + kept)
    tokens = [*DRAFT[:kept], 41, 42]
    for token in tokens[kept:]:
        state = engine.step(state, np.array([token]))
    assert state.positions.tolist() == [len(prompt.token_ids) + len(tokens)]
    expected = one_by_one(engine, prompt, tokens)[-1:]
    np.testing.assert_allclose(state.logits, expected, atol=close)


def test_no_draft(engine, prompt):
    state, logits = engine.verify(prompt, [], 3)
    np.testing.assert_array_equal(logits, engine.start([prompt], 3).logits)
    assert state.positions.tolist() == [7]


def test_room_is_that_of_prompt_and_new_tokens(engine, prompt):
    with pytest.raises(OptionError, match="41 positions; the model has 40"):
        engine.verify(prompt, DRAFT, 34)
    state, _ = engine.verify(prompt, DRAFT, 4)
    with pytest.raises(OptionError, match="a row is full"):
        engine.step(state, np.array([1]))


def test_a_state_of_another_engine(engine, folder):
    scripted = ScriptedEngine(ModelConfig.load(folder / "source"), [[1]])
    scripted.embed_audio([np.zeros((128, 8), np.float32)])
    state = scripted.start([Prompt([1], np.zeros((1, 64), np.float32))], 1)
    with pytest.raises(TypeError, match="another engine"):
        engine.rewind(state, 1)


@pytest.fixture(scope="module")
def older(folder):
    """A package as they were before drafts: one position per row, without an axis for it."""
    build_package(folder / "source", folder / "older", precision="fp32")
    path = folder / "older" / DECODER_FILE
    model = onnx.load(path, load_external_data=False)
    graph = model.graph
    (last,) = (value for value in graph.input if value.name == "last")
    (logits,) = (value for value in graph.output if value.name == "logits")
    for value in (last, logits):
        del value.type.tensor_type.shape.dim[1]
    for node in graph.node:
        for names in (node.input, node.output):
            for place, name in enumerate(names):
                if name in ("last", "logits"):
                    names[place] = f"{name}_of_many"
    axis = helper.make_tensor("axis", onnx.TensorProto.INT64, [1], [1])
    graph.initializer.append(axis)
    graph.node.insert(0, helper.make_node("Unsqueeze", ["last", "axis"], ["last_of_many"]))
    graph.node.append(helper.make_node("Squeeze", ["logits_of_many", "axis"], ["logits"]))
    onnx.save(model, path)
    manifest = folder / "older" / MANIFEST_FILE
    data = json.loads(manifest.read_text())
    file = hash_file(path)
    data["files"][DECODER_FILE] = {"size": file.size, "sha256": file.sha256}
    manifest.write_text(json.dumps(data))
    return OnnxEngine.load(folder / "older", threads=1)


def test_packages_from_before_drafts_run_as_ever(older, folder):
    new = OnnxEngine.load(folder / "fp32", threads=1)
    audio = np.random.default_rng(2).standard_normal((5, 64)).astype(np.float32)
    slot = new.config.audio_token_id
    prompts = [Prompt([1, *[slot] * n, 2], audio[:n]) for n in (3, 5)]
    states = [engine.start(prompts, 3) for engine in (older, new)]
    np.testing.assert_array_equal(states[0].logits, states[1].logits)
    states = [e.step(s, np.array([7, 8])) for e, s in zip((older, new), states, strict=True)]
    np.testing.assert_array_equal(states[0].logits, states[1].logits)
    state, logits = older.verify(prompts[0], DRAFT, 5)
    assert (len(logits), state.positions.tolist()) == (1, [5])
    options = {"rules": [], "stop_ids": {int(new.output_ids[-1])}, "max_new_tokens": 5}
    drafted, plain = Drafted(older, DRAFT), new
    assert greedy(drafted, prompts[:1], **options) == greedy(plain, prompts[:1], **options)


def test_real_speech_is_heard_as_without_a_draft(root):
    """The draft is what was heard of the first four fifths."""
    sound = load_audio(root / "samples" / "numbers.flac").samples
    with load(threads=1) as recognizer:
        engine, tokenizer = recognizer._engine, recognizer.tokenizer
        mels = [LogMel(tokenizer.features)(part) for part in (sound[: len(sound) * 4 // 5], sound)]
        part, whole = (Prompt(tokenizer.prompt(len(a)), a) for a in engine.embed_audio(mels))
        options = {"rules": [], "stop_ids": tokenizer.stop_ids, "max_new_tokens": 60}
        (draft,), (plain,) = (greedy(engine, [prompt], **options) for prompt in (part, whole))
        counting = Counting(engine)
        (drafted,) = greedy(Drafted(counting, list(draft.token_ids)), [whole], **options)
    assert drafted.token_ids == plain.token_ids
    np.testing.assert_allclose(drafted.logprobs, plain.logprobs, atol=0.1)
    pairs = zip(draft.token_ids, plain.token_ids, strict=False)
    true = len(list(takewhile(lambda pair: pair[0] == pair[1], pairs)))
    assert counting.steps == len(plain.token_ids) - true < len(plain.token_ids) / 2
