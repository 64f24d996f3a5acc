"""The layout "llm-kv", made of the embedded model's weights, against PyTorch on real speech."""

from __future__ import annotations

import json
import logging
import shutil
from types import SimpleNamespace

import numpy as np
import onnx
import pytest
from onnx import helper
from typer.testing import CliRunner

import ark_asr
from ark_asr import cli
from ark_asr.audio import LogMel, load_audio
from ark_asr.engines import load_engine
from ark_asr.engines.llm_kv import LlmKvEngine
from ark_asr.errors import ModelFormatError, ModelNotFoundError, OptionError
from ark_asr.models.tokenizer import Tokenizer
from ark_asr.types import Prompt
from checkpoints import write_checkpoint
from llm_kv_folder import edit_graph, quantize, write_llm_kv

# As the 0.6B is published; without the input that not every graph has; with the other axis, which
# no package of this layout has yet; and the second kind of decoder.
VARIANTS = {
    "static": {},
    "no_mask": {"masked": False, "embedding": "fp16", "manifest": False},
    "axis_2": {"axis": 2},
    "growing": {"growing": True, "embedding": "fp16"},
}
STEPS = 12


@pytest.fixture(scope="module")
def real(root):
    """The checkpoint on PyTorch, recordings of different lengths, and what it makes of them."""
    source = root / "checkpoints" / "ark-mini"
    engine = load_engine(source, threads=1)
    tokenizer = Tokenizer.load(source)
    log_mel = LogMel(tokenizer.features)
    sounds = [load_audio(root / "samples" / f"{name}.flac") for name in ("hello", "numbers")]
    sounds.append(sounds[0].cut(0.0, 0.9))
    mels = [log_mel(sound.samples) for sound in sounds]
    audio = engine.embed_audio(mels)
    prompts = [Prompt(tokenizer.prompt(len(a)), a) for a in audio]
    fed, logits = [], []
    state = engine.start(prompts, STEPS)
    for _ in range(STEPS):
        logits.append(state.logits.copy())
        # Ids that end an answer would end the row.
        open_ids = ~np.isin(engine.output_ids, list(tokenizer.stop_ids))
        fed.append(engine.output_ids[np.where(open_ids, state.logits, -np.inf).argmax(axis=1)])
        state = engine.step(state, fed[-1])
    recordings = [root / "samples" / "hello.flac", root / "samples" / "numbers.flac"]
    with ark_asr.load(source, threads=1) as model:
        heard = [spoken(model.transcribe(recording)) for recording in recordings]
    return SimpleNamespace(
        source=source, engine=engine, mels=mels, audio=audio, prompts=prompts, fed=fed,
        logits=logits, recordings=recordings, heard=heard,
    )  # fmt: skip


def spoken(transcript):
    return [(s.raw_text, s.tokens, s.start, s.end) for s in transcript.segments]


@pytest.fixture(scope="module", params=VARIANTS)
def folder(request, real, tmp_path_factory):
    return write_llm_kv(
        real.source, tmp_path_factory.mktemp("llm-kv") / request.param, **VARIANTS[request.param]
    )


@pytest.fixture(scope="module")
def engine(folder):
    engine = load_engine(folder, threads=1)
    assert isinstance(engine, LlmKvEngine)
    yield engine
    engine.close()


def logits_of(engine, prompts, fed):
    state = engine.start(prompts, len(fed))
    found = []
    for tokens in fed:
        found.append(state.logits.copy())
        state = engine.step(state, tokens)
    assert state.positions.tolist() == [len(p.token_ids) + len(fed) for p in prompts]
    return found


def distance(found, expected):
    return np.linalg.norm(np.subtract(found, expected)) / np.linalg.norm(expected)


def test_same_embeddings_as_pytorch(engine, real):
    for found, expected in zip(engine.embed_audio(real.mels), real.audio, strict=True):
        assert found.shape == expected.shape
        assert distance(found, expected) < 1e-4


def test_every_length_of_a_clip(engine, real):
    # Completed with zeros (1 to 6), one embedding (7, 8), and every remainder of 8.
    mels = [real.mels[0][:, :n] for n in (1, 2, 3, 6, 7, 8, *range(16, 25))]
    expected = real.engine.embed_audio(mels)
    for found, one in zip(engine.embed_audio(mels), expected, strict=True):
        assert found.shape == one.shape
        np.testing.assert_allclose(found, one, atol=2e-3)


def test_same_logits_as_pytorch_for_all_rows_of_a_batch(engine, real):
    assert engine.output_ids.tolist() == real.engine.output_ids.tolist()
    for found, expected in zip(logits_of(engine, real.prompts, real.fed), real.logits, strict=True):
        np.testing.assert_allclose(found, expected, atol=0.02)
        assert found.argmax(axis=1).tolist() == expected.argmax(axis=1).tolist()


def test_same_words_as_pytorch(folder, real):
    with ark_asr.load(folder, threads=1) as model:
        assert [spoken(model.transcribe(recording)) for recording in real.recordings] == real.heard


def test_rows_can_be_put_in_another_order(engine, real):
    rows = np.array([1, 0, 0])
    state = engine.select(engine.start(real.prompts, 2), rows)
    twins = engine.start([real.prompts[i] for i in rows], 2)
    for tokens in ([5, 6, 7], [8, 9, 10]):
        state, twins = (engine.step(each, np.array(tokens)) for each in (state, twins))
        np.testing.assert_allclose(state.logits, twins.logits, atol=1e-4)


def test_a_row_that_is_taken_once_is_not_copied(engine, real):
    """A row of the published size has 48 MiB, and a beam puts its rows in order at each step."""
    state = engine.start(real.prompts[:2], 2)
    first, second = state.caches
    caches = engine.select(state, np.array([1, 0, 1])).caches
    assert caches[0] is second
    assert caches[1] is first
    assert caches[2] is not second


def test_positions_end_where_the_cache_ends(engine, real):
    assert engine.max_positions == 512
    length = len(real.prompts[0].token_ids)
    with pytest.raises(OptionError, match=f"{513 - length} new tokens need 513 positions; the"):
        engine.start(real.prompts[:1], 513 - length)


def test_int8_graphs_are_run(real, tmp_path_factory):
    folder = write_llm_kv(real.source, tmp_path_factory.mktemp("int8") / "int8")
    logging.disable()  # it recommends what is beside the point here
    quantize(folder)
    logging.disable(logging.NOTSET)
    assert not list(folder.glob("*encoder*_fp32.onnx"))
    engine = load_engine(folder, threads=1)
    for found, expected in zip(engine.embed_audio(real.mels), real.audio, strict=True):
        assert 1e-4 < distance(found, expected) < 0.3
    found = logits_of(engine, real.prompts, real.fed)
    assert 1e-4 < distance(found, real.logits) < 0.3


def test_the_command_line_takes_the_folder(folder, real):
    if folder.name == "static":  # one is enough: a second or two each
        arguments = ["transcribe", str(real.recordings[0]), "--model", str(folder)]
        result = CliRunner().invoke(cli.app, [*arguments, "--threads", "1", "--format", "json"])
        assert result.exit_code == 0, result.stderr
        written = json.loads(result.stdout)
        assert [s["text"] for s in written["segments"]] == [raw for raw, *_ in real.heard[0]]
    told = CliRunner().invoke(cli.app, ["models", "info", str(folder)]).stdout
    assert "kind         llm-kv\nprecision    fp32\n" in told


# What is refused: tiny random weights do for that.


@pytest.fixture(scope="module")
def intact(tmp_path_factory):
    folder = tmp_path_factory.mktemp("refused")
    write_checkpoint(folder / "source", encoder_layers=1, layers=2, max_positions=64)
    return write_llm_kv(folder / "source", folder / "intact", length=64)


@pytest.fixture
def broken(intact, tmp_path):
    """A copy to be broken."""
    return shutil.copytree(intact, tmp_path / "broken")


def edit_json(path, **changes):
    data = json.loads(path.read_text()) | changes
    path.write_text(json.dumps({key: value for key, value in data.items() if value is not None}))


def refusal(folder, error=ModelFormatError):
    with pytest.raises(error) as caught:
        load_engine(folder, threads=1)
    message = str(caught.value)
    assert "\n" not in message
    return message


@pytest.mark.parametrize(
    ("name", "changes", "expected"),
    [
        ("runtime_manifest.json", {"audio_merge_factor": 2}, "audio_merge_factor is 2, but .* 4"),
        ("runtime_manifest.json", {"audio_token_id": 7}, "audio_token_id is 7, but"),
        ("runtime_manifest.json", {"im_end_token_id": 1}, "im_end_token_id is 1, but"),
        ("runtime_manifest.json", {"asr_block_token_id_from": "x"}, "'x', expected a whole number"),
        ("llm_kv_cpu_fp32.json", {"num_layers": 24}, "num_layers is 24, but .* 2"),
        ("llm_kv_cpu_fp32.json", {"max_total_len": 2048}, "holds 64 positions, expected 2048"),
        ("llm_kv_cpu_fp32.json", {"max_total_len": 0}, "max_total_len is 0, expected 1 or more"),
        (
            "config.json",
            {"vocab_size": 300},
            r"table is \[290, 64\], but config.json .*\[300, 64\]",
        ),
        ("config.json", {"model_type": "whisper"}, "expected 'arkasr'"),
    ],
)
def test_files_that_contradict_each_other(broken, name, changes, expected):
    edit_json(broken / name, **changes)
    message = refusal(broken)
    assert message.startswith(str(broken))
    with pytest.raises(ModelFormatError, match=expected):
        load_engine(broken)


def test_another_number_of_layers(broken):
    (broken / "llm_kv_cpu_fp32.json").unlink()
    edit_json(broken / "config.json", num_hidden_layers=3)
    message = refusal(broken)
    assert "llm_kv_cpu_fp32.onnx: its inputs are" in message
    assert message.endswith("; missing: cache_key_2, cache_value_2")


def test_an_axis_that_cannot_be_told(broken):
    def change(graph):
        for given in graph.input:
            if given.name == "cache_key_0":
                given.type.tensor_type.shape.dim[2].dim_param = "heads"

    edit_graph(broken / "llm_kv_cpu_fp32.onnx", change)
    assert "cache_key_0 is [1, 64, any, 16]; which axis counts positions" in refusal(broken)


def test_an_input_that_is_not_known(broken):
    extra = helper.make_tensor_value_info("speaker", onnx.TensorProto.FLOAT, [1])
    edit_graph(broken / "audio_encoder_whisper_fp32.onnx", lambda graph: graph.input.append(extra))
    message = refusal(broken)
    assert "audio_encoder_whisper_fp32.onnx: its inputs are audios, speaker, expected" in message


def test_an_adapter_of_another_model(broken, real):
    # Its inner size is that of other frames.
    from llm_kv_folder import save_adapter
    from plain_graphs import Checkpoint

    save_adapter(Checkpoint(real.source), broken / "audio_encoder_adapter_fp32.onnx")
    message = refusal(broken)
    assert "input merged_audio_features is tensor(float) [1, any, 768], expected" in message
    assert message.endswith("[1, any, 256]")


def test_an_encoder_that_loses_frames(broken):
    def change(graph):
        last = graph.node[-1]
        graph.initializer.append(onnx.numpy_helper.from_array(np.array([1]), "one"))
        graph.initializer.append(onnx.numpy_helper.from_array(np.array([999]), "end"))
        graph.node[-1].CopyFrom(
            helper.make_node("Slice", [last.input[0], "one", "end", "one"], list(last.output))
        )

    edit_graph(broken / "audio_encoder_whisper_fp32.onnx", change)
    engine = load_engine(broken, threads=1)
    message = r"made \[1, 9, 64\] of 20 log-mel frames, expected \[1, 10, 64\]"
    with pytest.raises(ModelFormatError, match=message):
        engine.embed_audio([np.zeros((128, 20), np.float32)])


def test_a_decoder_that_gives_back_more_than_is_new(broken):
    def change(graph):
        node = next(node for node in graph.node if "key_delta_1" in node.output)
        node.output[0] = "half"
        graph.node.append(helper.make_node("Concat", ["half", "half"], ["key_delta_1"], axis=1))

    edit_graph(broken / "llm_kv_cpu_fp32.onnx", change)
    engine = load_engine(broken, threads=1)
    prompt = Prompt([1, 2, 3], np.empty((0, 64), np.float32))
    message = r"gave \[1, 6, 2, 16\] for cache_key_1, expected \[1, 3, 2, 16\]"
    with pytest.raises(ModelFormatError, match=message):
        engine.start([prompt], 1)


def test_a_table_that_is_not_there_or_short(broken):
    data = broken / "embedding_fp32.data"
    data.write_bytes(data.read_bytes()[:-1])
    assert "embedding_fp32.data: 74,239 bytes, but weight [290, 64]" in refusal(broken)
    data.unlink()
    assert "embedding_fp32.data: no such file" in refusal(broken, ModelNotFoundError)


def test_a_table_of_another_kind(broken):
    def change(graph):
        graph.initializer[0].data_type = onnx.TensorProto.INT8

    edit_tensor(broken / "embedding_fp32.onnx", change)
    assert "weight is neither float32 nor float16" in refusal(broken)


def test_a_table_outside_the_folder(broken):
    def change(graph):
        graph.initializer[0].external_data[0].value = "../elsewhere.data"

    edit_tensor(broken / "embedding_fp32.onnx", change)
    assert "'../elsewhere.data' is not the name of a file beside it" in refusal(broken)


def edit_tensor(path, change):
    """As `edit_graph`, leaving alone what is stored elsewhere."""
    model = onnx.load(path, load_external_data=False)
    change(model.graph)
    path.write_bytes(model.SerializeToString())


def test_an_embedding_that_is_more_than_a_look_up(broken):
    shutil.copyfile(broken / "audio_encoder_adapter_fp32.onnx", broken / "embedding_fp32.onnx")
    assert "embedding_fp32.onnx: has MatMul, Add," in refusal(broken)


@pytest.mark.parametrize("name", ["embedding_fp32.onnx", "llm_kv_cpu_fp32.onnx"])
@pytest.mark.parametrize("content", [b"", b"\0" * 99, b"version https://git-lfs.github.com\n" * 9])
def test_what_is_no_graph(broken, name, content):
    (broken / name).write_bytes(content)
    assert refusal(broken).startswith(f"{broken / name}: ")


def test_two_decoders_and_no_word_which(broken):
    shutil.copyfile(broken / "llm_kv_cpu_fp32.onnx", broken / "llm_kv_growing_fp32.onnx")
    assert isinstance(load_engine(broken, threads=1), LlmKvEngine)  # the manifest names one
    edit_json(broken / "runtime_manifest.json", llm_default=None)
    assert refusal(broken) == (
        f"{broken}: has llm_kv_cpu_fp32.onnx, llm_kv_growing_fp32.onnx; say in "
        "runtime_manifest.json which is to be run: 'llm_default'"
    )


def test_a_blocked_id_has_no_logit(broken):
    before = load_engine(broken, threads=1).output_ids
    edit_json(broken / "runtime_manifest.json", asr_block_token_id_from=100)
    after = load_engine(broken, threads=1).output_ids
    (end,) = Tokenizer.load(broken).stop_ids
    assert after.tolist() == [*range(100), end]
    assert len(before) > len(after)
