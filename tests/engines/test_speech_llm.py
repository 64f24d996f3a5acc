"""The layout "speech-llm", built of the embedded model's checkpoint, against PyTorch."""

from __future__ import annotations

import json
import shutil

import numpy as np
import onnx
import pytest
from typer.testing import CliRunner

import ark_asr
from ark_asr import cli
from ark_asr.decoding.hotwords import HotWords
from ark_asr.engines import load_engine
from ark_asr.engines.speech_llm import SpeechLlmEngine
from ark_asr.engines.torch import TorchEngine
from ark_asr.errors import ModelFormatError, ModelNotFoundError, OptionError
from ark_asr.models.store import resolve
from ark_asr.models.tokenizer import Tokenizer
from ark_asr.types import Prompt, TranscribeOptions
from checkpoints import write_checkpoint
from layout_speech import answers, assert_same_answers, sample_mels
from speech_llm_folder import write_speech_llm


@pytest.fixture(scope="module")
def source(root):
    return root / "checkpoints" / "ark-mini"


@pytest.fixture(scope="module")
def folder(source, tmp_path_factory):
    return write_speech_llm(source, tmp_path_factory.mktemp("speech-llm") / "mini")


@pytest.fixture(scope="module")
def engine(folder):
    engine = SpeechLlmEngine.load(folder, threads=1)
    yield engine
    engine.close()


@pytest.fixture
def tiny(tmp_path):
    """A folder of a tiny checkpoint, to be broken."""
    write_checkpoint(tmp_path / "source", encoder_layers=1, layers=1)
    return write_speech_llm(tmp_path / "source", tmp_path / "tiny")


def change(folder, **changes):
    config = json.loads((folder / "config.json").read_text()) | changes
    config = {key: value for key, value in config.items() if value is not ...}
    (folder / "config.json").write_text(json.dumps(config))


def test_real_speech_gives_the_tokens_of_pytorch(engine, source, root):
    mels = sample_mels(root, engine.tokenizer.features, multiple=8)
    expected = answers(TorchEngine.load(source, threads=1), Tokenizer.load(source), mels)
    assert_same_answers(answers(engine, engine.tokenizer, mels), expected)


def test_ids_and_text_are_those_of_the_checkpoint(engine, source):
    tokenizer = Tokenizer.load(source)
    own = engine.tokenizer
    assert own.prompt(3) == [
        -1 if id_ == tokenizer.config.audio_token_id else id_ for id_ in tokenizer.prompt(3)
    ]
    assert own.stop_ids == tokenizer.stop_ids
    assert own.suppressed_ids.tolist() == tokenizer.suppressed_ids.tolist()
    text = "there was a light, naïve 한국 in 1999"
    assert own.decode(tokenizer.encode(text)) == tokenizer.decode(tokenizer.encode(text)) == text
    assert own.encode("there was a light") == tokenizer.encode("there was a light")


def test_from_the_command_line(folder, root):
    recording = root / "samples" / "hello.flac"
    arguments = ["transcribe", str(recording), "--model", str(folder), "-q", "--threads", "1"]
    result = CliRunner().invoke(cli.app, arguments)
    assert result.exit_code == 0, result.stderr
    with ark_asr.load(folder, threads=1) as model:
        assert result.stdout.strip() == model.transcribe(recording).text != ""
        with pytest.raises(OptionError, match="an instruction cannot be given"):
            model.transcribe(recording, TranscribeOptions(instruction="Translate."))
    about = CliRunner().invoke(cli.app, ["models", "info", str(folder)]).stdout
    assert "speech-llm" in about
    assert resolve(folder).kind == "speech-llm"
    assert isinstance(load_engine(folder, "onnx"), SpeechLlmEngine)


@pytest.mark.parametrize(
    ("frames", "slots"), [(1, 1), (7, 1), (8, 1), (15, 1), (16, 2), (23, 2), (1600, 200)]
)
def test_what_fills_no_slot_is_cut_off(engine, frames, slots):
    mel = np.random.default_rng(0).standard_normal((128, frames)).astype(np.float32)
    (audio,) = engine.embed_audio([mel])
    assert audio.shape == (slots, 192)
    if frames < 8:
        silence = np.full((128, 8 - frames), mel.max() - 2, np.float32)
        (longer,) = engine.embed_audio([np.hstack([mel, silence])])
        np.testing.assert_array_equal(audio, longer)


def test_a_clip_that_is_too_long(engine):
    with pytest.raises(OptionError, match="1601 frames; the model takes 1600"):
        engine.embed_audio([np.zeros((128, 1601), np.float32)])


def prompts(engine, *slots):
    rng = np.random.default_rng(1)
    audio = [rng.standard_normal((n, 192)).astype(np.float32) for n in slots]
    return [Prompt(engine.tokenizer.prompt(len(row)), row) for row in audio]


def test_rows_do_not_depend_on_each_other_and_end_on_their_own(engine):
    (stop,) = engine.tokenizer.stop_ids
    both = prompts(engine, 3, 9)
    state = engine.start(both, 3)
    alone = [engine.start([prompt], 3) for prompt in both]
    for row in (0, 1):
        np.testing.assert_array_equal(state.logits[row], alone[row].logits[0])
    positions = state.positions.copy()
    state = engine.step(state, np.array([stop, 5]))
    np.testing.assert_array_equal(state.logits[1], engine.step(alone[1], np.array([5])).logits[0])
    assert (state.positions - positions).tolist() == [0, 1]


def test_rows_can_be_put_in_another_order(engine):
    state = engine.step(engine.start(prompts(engine, 3, 9), 4), np.array([5, 6]))
    chosen = engine.select(state, np.array([1, 1, 0]))
    stepped = engine.step(chosen, np.array([7, 8, 9]))
    for row, (slots, tokens) in enumerate([(1, (6, 7)), (1, (6, 8)), (0, (5, 9))]):
        alone = engine.start([prompts(engine, 3, 9)[slots]], 4)
        for token in tokens:
            alone = engine.step(alone, np.array([token]))
        np.testing.assert_allclose(stepped.logits[row], alone.logits[0], atol=1e-4)


def test_room_is_kept_and_not_more(engine):
    with pytest.raises(OptionError, match="positions; the model has"):
        engine.start(prompts(engine, 3), engine.max_positions)
    state = engine.step(engine.start(prompts(engine, 3), 1), np.array([5]))
    with pytest.raises(OptionError, match="a row is full"):
        engine.step(state, np.array([5]))
    with pytest.raises(OptionError, match="no prompt"):
        engine.start([], 1)
    with pytest.raises(OptionError, match="2 audio ids, but 3 embeddings"):
        engine.start([Prompt([-1, -1], np.zeros((3, 192), np.float32))], 1)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"model_type": "whisper"}, "model_type is 'whisper', expected 'speech-llm'"),
        ({"model_type": ...}, "model_type is None"),
        ({"trim_features": ...}, "trim_features is missing"),
        ({"trim_features": 0}, "trim_features is 0, expected 1 to"),
        ({"max_frames": 10**400}, "max_frames is 1000.*, expected 1 to"),
        ({"hop_length": 10**400}, "hop_length is 1000.*, expected 1 to"),
        ({"max_frames": "3000"}, "max_frames is '3000', expected int"),
        ({"normalize_waveform": True}, "normalize_waveform is True, expected False"),
        ({"tokenizer_type": "sentencepiece"}, "tokenizer_type is 'sentencepiece'"),
        ({"preprocessor": "kaldi"}, "preprocessor is 'kaldi', expected 'whisper128'"),
        ({"features_size": 80}, "features_size is 80, expected 128"),
        ({"prompt_prefix_ids": ["a"]}, "prompt_prefix_ids"),
        ({"prompt_suffix_ids": []}, "prompt_suffix_ids is empty"),
        ({"eos_token_ids": 7}, "eos_token_ids is 7, expected a list of ids"),
        ({"suppress_token_ids": [-1]}, "suppress_token_ids"),
        ({"suppress_token_ids": [10**30]}, "suppress_token_ids"),
        ({"eos_token_ids": [True]}, "eos_token_ids"),
        ({"text_start_token_id": "x"}, "text_start_token_id is 'x'"),
    ],
)
def test_a_config_that_cannot_be_run(tiny, changes, said):
    change(tiny, **changes)
    with pytest.raises(ModelFormatError, match=rf"config\.json: .*{said}"):
        SpeechLlmEngine.load(tiny)


def test_an_id_beyond_the_logits(tiny):
    change(tiny, eos_token_ids=[10**6])
    engine = SpeechLlmEngine.load(tiny)
    prompt = Prompt(engine.tokenizer.prompt(0), np.empty((0, 64), np.float32))
    with pytest.raises(ModelFormatError, match=r"logits for 290 ids, expected more than 10{6}"):
        engine.start([prompt], 1)


def test_something_can_be_remembered_of_its_text_side(engine):
    """As of every other layout's: what hot words need is spelled out once for each model."""
    assert {engine.tokenizer: 1}[engine.tokenizer] == 1
    assert HotWords(["light"], 1.0, engine.tokenizer, engine.output_ids)


def test_text_begins_behind_its_marker(tiny):
    change(tiny, text_start_token_id=3)
    tokenizer = SpeechLlmEngine.load(tiny).tokenizer
    assert tokenizer.decode([7, 8, 3, 5, 6]) == tokenizer.decode([5, 6]) != ""
    assert tokenizer.decode([10**6]) == ""


@pytest.mark.parametrize(
    "vocabulary",
    [[], {}, {"a": "1"}, {"a": 1, "b": 1}, {"a": -1}, {"a": 1.5}, {"a": True}, {"a": 10**30}],
)
def test_a_vocabulary_that_is_none(tiny, vocabulary):
    (tiny / "vocab.json").write_text(json.dumps(vocabulary))
    with pytest.raises(ModelFormatError, match=r"vocab\.json"):
        SpeechLlmEngine.load(tiny)


@pytest.mark.parametrize("name", ["encoder", "embed_tokens", "decoder"])
def test_a_missing_graph_is_named(tiny, name):
    (tiny / f"{name}.onnx").rename(tiny / f"{name}_int8.onnx")
    others = {"encoder", "embed_tokens", "decoder"} - {name}
    with pytest.raises(ModelNotFoundError, match=f"({'|'.join(others)})_int8.onnx: no such file"):
        SpeechLlmEngine.load(tiny)


def test_int8_graphs_are_taken_first(tiny):
    for path in list(tiny.glob("*.onnx")):
        shutil.copy(path, path.with_stem(f"{path.stem}_int8"))
        path.write_bytes(b"damaged")
    SpeechLlmEngine.load(tiny).close()


def edit(path, act):
    model = onnx.load(path)
    act(model.graph)
    onnx.save(model, path)


def test_graphs_of_another_kind_are_refused_by_name(tiny, tmp_path):
    decoder = tiny / "decoder.onnx"
    whole = decoder.read_bytes()

    def rename(graph):
        graph.input[-1].name = graph.input[-1].name.replace("past_key_values", "past")

    def widen(graph):
        shape = next(i for i in graph.input if i.name == "inputs_embeds").type.tensor_type.shape
        shape.dim[2].dim_value = 65

    def retype(graph):
        next(i for i in graph.input if i.name == "position_ids").type.tensor_type.elem_type = 6

    for act, said in (
        (rename, "its inputs are|cannot load"),
        (widen, r"audio_embeds is tensor\(float\) \[1, any, 64\], expected .* 65\]|cannot load"),
        (retype, r"position_ids is tensor\(int32\)|cannot load"),
    ):
        edit(decoder, act)
        with pytest.raises(ModelFormatError, match=said):
            SpeechLlmEngine.load(tiny)
        decoder.write_bytes(whole)
    shutil.copy(tiny / "embed_tokens.onnx", tiny / "encoder.onnx")
    said = r"encoder\.onnx: its inputs are input_ids, expected input_features"
    with pytest.raises(ModelFormatError, match=said):
        SpeechLlmEngine.load(tiny)
    (tiny / "encoder.onnx").write_bytes(b"\0" * 1000)
    with pytest.raises(ModelFormatError, match=r"encoder\.onnx: ONNX Runtime cannot load it"):
        SpeechLlmEngine.load(tiny)


def test_a_graph_cannot_reach_for_files_elsewhere(tiny, tmp_path):
    """Its weights may lie in files beside it, and nowhere else."""
    (tmp_path / "secret").write_bytes(bytes(300 * 64 * 4))
    graph = tiny / "embed_tokens.onnx"
    model = onnx.load(graph)
    table = next(t for t in model.graph.initializer if t.name == "table")
    size = len(table.raw_data)
    table.ClearField("raw_data")
    table.data_location = onnx.TensorProto.EXTERNAL
    for key, value in (("location", "../secret"), ("offset", "0"), ("length", str(size))):
        table.external_data.add(key=key, value=value)
    graph.write_bytes(model.SerializeToString())
    with pytest.raises(ModelFormatError, match=r"embed_tokens\.onnx: ONNX Runtime cannot load it"):
        SpeechLlmEngine.load(tiny)


def test_a_state_of_another_engine(engine):
    with pytest.raises(TypeError, match="another engine"):
        engine.step(object(), np.array([1]))
