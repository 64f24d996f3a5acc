"""The Audio8 bundle, built of the embedded model's checkpoint, against PyTorch."""

from __future__ import annotations

import io
import json
import math
import shutil
import struct
import zipfile

import numpy as np
import onnx
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

import ark_asr
from ark_asr import cli
from ark_asr.engines.audio8 import Audio8Engine, Projector, pool
from ark_asr.engines.torch import TorchEngine
from ark_asr.errors import ModelFormatError, ModelNotFoundError, OptionError
from ark_asr.models.audio8 import Audio8Tokenizer
from ark_asr.models.store import resolve
from ark_asr.models.tokenizer import USER, Tokenizer
from ark_asr.types import Prompt
from audio8_folder import write_audio8
from checkpoints import write_checkpoint
from layout_speech import answers, assert_same_answers, sample_mels


@pytest.fixture(scope="module")
def source(root):
    return root / "checkpoints" / "ark-mini"


@pytest.fixture(scope="module")
def folder(source, tmp_path_factory):
    return write_audio8(source, tmp_path_factory.mktemp("audio8") / "mini")


@pytest.fixture(scope="module")
def engine(folder):
    engine = Audio8Engine.load(folder, threads=1)
    yield engine
    engine.close()


@pytest.fixture(scope="module")
def tiny_source(tmp_path_factory):
    folder = tmp_path_factory.mktemp("source")
    write_checkpoint(folder, encoder_layers=1, layers=1)
    return folder


@pytest.fixture
def tiny(tiny_source, tmp_path):
    """A bundle of a tiny checkpoint, to be broken."""
    return write_audio8(tiny_source, tmp_path / "tiny", positions=64)


def change(folder, *, tokens=None, **changes):
    metadata = json.loads((folder / "metadata.json").read_text()) | changes
    metadata["tokens"] |= tokens or {}
    metadata = {key: value for key, value in metadata.items() if value is not ...}
    (folder / "metadata.json").write_text(json.dumps(metadata))


@pytest.fixture(scope="module")
def heard(source, root):
    """Log-mels of real speech, and what PyTorch makes of them."""
    tokenizer = Tokenizer.load(source)
    mels = sample_mels(root, tokenizer.features)
    return mels, answers(TorchEngine.load(source, threads=1), tokenizer, mels)


def test_real_speech_gives_the_tokens_of_pytorch(engine, heard):
    mels, expected = heard
    assert_same_answers(answers(engine, engine.tokenizer, mels), expected)


def test_the_order_of_axes_is_read_from_the_graph(source, tmp_path, heard):
    """A cache written along the wrong axis would not fail, it would scramble the text."""
    swapped = Audio8Engine.load(write_audio8(source, tmp_path, axis=1, positions=256), threads=1)
    mels, expected = heard
    assert_same_answers(answers(swapped, swapped.tokenizer, mels[:2]), expected[:2])


def test_from_the_command_line(folder, root):
    recording = root / "samples" / "hello.flac"
    arguments = ["transcribe", str(recording), "--model", str(folder), "-q", "--threads", "1"]
    result = CliRunner().invoke(cli.app, arguments)
    assert result.exit_code == 0, result.stderr
    with ark_asr.load(folder, threads=1) as model:
        assert result.stdout.strip() == model.transcribe(recording).text != ""
    assert "audio8" in CliRunner().invoke(cli.app, ["models", "info", str(folder)]).stdout
    assert resolve(folder).kind == "audio8"


@pytest.mark.parametrize("frames", [1, 7, 8, 15, 16, 803, 1600])
def test_embeddings_are_those_of_pytorch(engine, source, frames):
    mel = np.random.default_rng(frames).standard_normal((128, frames)).astype(np.float32) * 0.5
    (found,) = engine.embed_audio([mel])
    torch_engine = TorchEngine.load(source, threads=1)
    (expected,) = torch_engine.embed_audio([mel])
    np.testing.assert_allclose(found, expected, atol=1e-3)


@settings(max_examples=40)
@given(st.integers(1, 400), st.integers(1, 400))
def test_pooling_is_that_of_pytorch(n, count):
    rows = np.random.default_rng(n).standard_normal((n, 3)).astype(np.float32)
    expected = torch.nn.functional.adaptive_avg_pool1d(torch.from_numpy(rows).T[None], count)
    np.testing.assert_allclose(pool(rows, count), expected[0].T.numpy(), atol=1e-6)


def test_projecting_is_that_of_pytorch():
    rng = np.random.default_rng(5)
    shapes = ((9,), (9,), (4, 9), (4,))
    weights = [rng.standard_normal(shape).astype(np.float32) for shape in shapes]
    rows = rng.standard_normal((6, 9)).astype(np.float32)
    x, scale, shift, matrix, bias = map(torch.from_numpy, (rows, *weights))
    normed = torch.nn.functional.layer_norm(x, (9,), scale, shift, eps=1e-5)
    expected = torch.nn.functional.linear(normed, matrix, bias).numpy()
    np.testing.assert_allclose(Projector(*weights)(rows), expected, atol=1e-5)


def text_side(folder, **changes):
    sizes = {"mel_bins": 128, "frames": 3000, "positions": 512, "vocab_size": 290} | changes
    return Audio8Tokenizer.load(folder, **sizes)


def test_prompt_and_answer_share_the_positions(folder):
    """With the published numbers a clip is 24 s, although the audio graph takes 30."""
    change(folder, max_audio_seconds=30)
    assert 24 <= text_side(folder).features.clip_seconds < 24.5
    assert text_side(folder, positions=4096).features.clip_seconds == 30
    assert text_side(folder, frames=900).features.clip_seconds == 9
    positions = len(text_side(folder).prompt(0)) + 1
    with pytest.raises(ModelFormatError, match=f"prompt fills the decoder's {positions} positions"):
        text_side(folder, positions=positions)
    change(folder, max_audio_seconds=16)


@settings(max_examples=25)
@given(positions=st.integers(40, 2000))
def test_the_longest_clip_leaves_room_for_its_text(folder, positions):
    side = text_side(folder, positions=positions, frames=10**6)
    frames = side.features.frames(side.features.clip_samples)
    slots = side.config.audio_slots(frames)
    assert len(side.prompt(slots)) + math.floor(slots * 2 / 3) <= positions


def test_ids_are_those_the_bundle_names(folder, source):
    tokenizer, side = Tokenizer.load(source), text_side(folder, vocab_size=750)
    assert side.prompt(4) == tokenizer.prompt(4)
    assert side.prompt(2, "Please.") == tokenizer.prompt(2, "Please.")
    assert side.stop_ids == {*tokenizer.stop_ids, tokenizer.config.pad_token_id}
    blocked = {*tokenizer.suppressed_ids.tolist()} - side.stop_ids
    assert {*side.suppressed_ids.tolist()} == blocked
    assert side.decode(side.encode("two words")) == "two words"


def test_a_border_of_text_ids_and_a_prefix(tiny):
    change(tiny, tokens={"asr_block_token_id_from": 280, "extra_block_token_ids": []})
    side = text_side(tiny)
    assert side.suppressed_ids.tolist() == sorted({side.audio_id, *range(280, 290)})
    change(tiny, tokens={"asr_block_token_id_from": -1}, response_prefix="ab")
    side = text_side(tiny)
    assert side.suppressed_ids.tolist() == [side.audio_id]
    assert side.prompt(1)[-2:] == side.encode("ab")
    change(tiny, response_prefix=None)
    assert text_side(tiny).prompt(1) == side.prompt(1)[:-2]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"tokens": {"eos_token_ids": "x"}}, "eos_token_ids is 'x'"),
        ({"tokens": {"eos_token_ids": None}}, "eos_token_ids is None"),
        ({"tokens": {"pad_token_id": "x"}}, "pad_token_id"),
        ({"tokens": {"extra_block_token_ids": [1.5]}}, "extra_block_token_ids"),
        ({"tokens": {"asr_block_token_id_from": "no"}}, "asr_block_token_id_from"),
        ({"tokens": {"user_token": 7}}, "user_token is 7, expected str"),
        ({"tokens": {"extra_block_token_ids": [10**30]}}, "extra_block_token_ids"),
        ({"response_prefix": 7}, "response_prefix is 7, expected str"),
        ({"tokens": {"audio_token": "two words"}}, "two words is .* tokens, expected one"),
        ({"prompt_audio": {}}, "merge_factor is missing"),
        ({"prompt_audio": {"merge_factor": 0}}, "must be positive"),
        ({"max_audio_seconds": ...}, "max_audio_seconds is missing"),
        ({"language_hint_enabled": True}, "language_hint_enabled is set"),
    ],
)
def test_metadata_that_cannot_be_run(tiny, changes, said):
    change(tiny, **changes)
    with pytest.raises(ModelFormatError, match=rf"(metadata|tokenizer)\.json.*{said}"):
        Audio8Engine.load(tiny)


def test_room(tiny):
    engine = Audio8Engine.load(tiny)
    assert engine.max_positions == 64
    audio = np.zeros((2, 64), np.float32)
    prompt = Prompt(engine.tokenizer.prompt(2), audio)
    with pytest.raises(OptionError, match="the model has 64"):
        engine.start([prompt], 60)
    state = engine.start([prompt], 64 - len(prompt.token_ids))
    while int(state.positions[0]) < 64:
        state = engine.step(state, np.array([5]))
    assert np.isfinite(state.logits).all()
    with pytest.raises(OptionError, match="a row is full"):
        engine.step(state, np.array([5]))
    most = engine.tokenizer.features.frames(engine.tokenizer.features.clip_samples)
    with pytest.raises(OptionError, match=f"the model takes {most}, cut it"):
        engine.embed_audio([np.zeros((128, most + 1), np.float32)])


def test_rows_can_be_put_in_another_order(tiny):
    engine = Audio8Engine.load(tiny)
    rng = np.random.default_rng(0)
    audio = [rng.standard_normal((n, 64)).astype(np.float32) for n in (2, 4)]
    prompts = [Prompt(engine.tokenizer.prompt(len(row)), row) for row in audio]
    state = engine.step(engine.start(prompts, 4), np.array([5, 6]))
    stepped = engine.step(engine.select(state, np.array([1, 1])), np.array([7, 8]))
    for row, token in enumerate((7, 8)):
        alone = engine.step(engine.start(prompts[1:], 4), np.array([6]))
        alone = engine.step(alone, np.array([token]))
        np.testing.assert_allclose(stepped.logits[row], alone.logits[0], atol=1e-4)


def test_tables_may_lie_beside_the_graphs(tiny):
    for path in (tiny / "weights").iterdir():
        path.rename(tiny / path.name)
    (tiny / "weights").rmdir()
    Audio8Engine.load(tiny).close()


def test_a_link_out_of_the_bundle(tiny, tmp_path):
    table, elsewhere = tiny / "weights" / "token_embedding.npy", tmp_path / "elsewhere"
    table.rename(elsewhere)
    table.symlink_to(elsewhere)
    with pytest.raises(ModelFormatError, match=r"embedding\.npy: is a link out of its folder"):
        resolve(tiny)
    table.unlink()
    elsewhere.rename(table)
    (tiny / "weights").rename(elsewhere)
    (tiny / "weights").symlink_to(elsewhere)
    with pytest.raises(ModelFormatError, match=r"weights.*is a link out of its folder"):
        resolve(tiny)
    (tiny / "weights").unlink()
    (tiny / "tables").mkdir()
    elsewhere.rename(tiny / "tables" / "here")
    (tiny / "weights").symlink_to("tables/here")  # it stays in the bundle
    assert resolve(tiny).kind == "audio8"


def test_int8_graphs_are_taken_first_and_both_of_a_kind(tiny):
    for path in list(tiny.glob("*.onnx")):
        shutil.copy(path, path.with_stem(f"{path.stem}_int8"))
        path.write_bytes(b"damaged")
    Audio8Engine.load(tiny).close()
    (tiny / "lm_cache_prefill_int8.onnx").unlink()
    with pytest.raises(ModelNotFoundError, match=r"lm_cache_prefill_int8\.onnx: no such file"):
        Audio8Engine.load(tiny)


@pytest.mark.parametrize(
    "name",
    ["metadata.json", "tokenizer.json", "weights/token_embedding.npy",
     "weights/audio_projector.npz", "audio_hidden.onnx", "lm_cache_decode.onnx"],
)  # fmt: skip
def test_a_missing_file_is_named(tiny, name):
    (tiny / name).unlink()
    with pytest.raises(ModelNotFoundError, match=name.rpartition("/")[2].replace(".", r"\.")):
        Audio8Engine.load(tiny)


def test_graphs_that_do_not_fit_are_refused_by_name(tiny, tiny_source, tmp_path):
    write_checkpoint(tmp_path / "wide", encoder_layers=1, layers=1, hidden=128, heads=4)
    wide = write_audio8(tmp_path / "wide", tmp_path / "wide-bundle", positions=64)
    # As many heads as positions: no telling which axis is which.
    write_checkpoint(tmp_path / "odd", encoder_layers=1, layers=1, heads=4, kv_heads=4, head_dim=32)
    odd = write_audio8(tmp_path / "odd", tmp_path / "odd-bundle", positions=4)
    for name, donor, said in (
        ("lm_cache_decode.onnx", wide, r"lm_cache_decode.onnx: input inputs_embeds is .* 128\]"),
        ("lm_cache_decode.onnx", odd, r"cache_key_0 is \[1, 4, 4, 32\], expected one axis of 4"),
        ("lm_cache_prefill.onnx", odd, r"lm_cache_prefill.onnx: output key_delta_0"),
        ("audio_hidden.onnx", wide, r"audio_hidden.onnx: output audio_hidden is"),
    ):
        whole = (tiny / name).read_bytes()
        shutil.copy(donor / name, tiny / name)
        with pytest.raises(ModelFormatError, match=said):
            Audio8Engine.load(tiny)
        (tiny / name).write_bytes(whole)
    shutil.copy(tiny / "lm_cache_prefill.onnx", tiny / "lm_cache_decode.onnx")
    with pytest.raises(ModelFormatError, match=r"its inputs are .*, expected .*attention_mask"):
        Audio8Engine.load(tiny)


def test_a_tower_that_hears_nothing(tiny):
    path = tiny / "audio_hidden.onnx"
    model = onnx.load(path)
    ones = next(t for t in model.graph.initializer if t.name == "int64 [1]")
    valid = next(node for node in model.graph.node if node.op_type == "Expand"
                 and node.input[0] == ones.name)  # fmt: skip
    valid.input[0] = "int64 [0]"
    onnx.save(model, path)
    with pytest.raises(ModelFormatError, match=r"audio_hidden\.onnx: heard nothing in 80 frames"):
        Audio8Engine.load(tiny).embed_audio([np.zeros((128, 80), np.float32)])


class Bomb:
    """Says so when it is unpickled."""

    def __reduce__(self):
        return (pytest.fail, ("a pickle was read",))


def projector(folder):
    with np.load(folder / "weights" / "audio_projector.npz") as arrays:
        return dict(arrays)


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("norm_bias", np.array([Bomb()], object), "not an archive of arrays .*[Oo]bject"),
        ("linear_weight", np.zeros((64, 3), np.float32), r"linear_weight is \[64, 3\], expected"),
        ("linear_bias", np.zeros(63, np.float32), r"linear_bias is \[63\], expected \[64\]"),
        ("norm_weight", np.float32(1), r"norm_weight is float32 \[\], expected float32 with 1 dim"),
        ("norm_weight", np.zeros(258), r"norm_weight is float64 \[258\], expected float32"),
        ("norm_bias", np.full(258, np.nan, np.float32), "norm_bias holds values that are not fin"),
        ("norm_bias", None, "norm_bias is missing"),
    ],
)
def test_a_projector_that_is_none(tiny, name, value, said):
    arrays = projector(tiny) | {name: value}
    kept = {key: array for key, array in arrays.items() if array is not None}
    np.savez(tiny / "weights" / "audio_projector.npz", **kept)
    with pytest.raises(ModelFormatError, match=rf"audio_projector\.npz: {said}"):
        Audio8Engine.load(tiny)


def test_an_embedding_table_that_is_none(tiny):
    path = tiny / "weights" / "token_embedding.npy"
    whole, table = path.read_bytes(), np.load(path)
    pickled = io.BytesIO()
    np.save(pickled, np.array([Bomb()], object))
    huge = whole.replace(b"(290, 64)", b"(2**60,1)", 1)
    for content in (pickled.getvalue(), whole[:-4], b"", b"PK\x03\x04", huge, b"\x80\x04."):
        path.write_bytes(content)
        with pytest.raises(ModelFormatError, match=r"token_embedding\.npy: not an array"):
            Audio8Engine.load(tiny)
    # numpy reads the head as Python's own words, and raises what comes of it.
    for shape in (
        "(10**400, 64)",
        f"({10**30}, 64)",
        "(True, 64)",
        "{[]: 1}",
        "(290, 64",
        "(" * 6000,
    ):
        head = f"{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}, }}".encode()
        size = struct.pack("<H", len(head))
        path.write_bytes(b"\x93NUMPY\x01\x00" + size + head + table.tobytes())
        with pytest.raises(ModelFormatError, match=r"token_embedding\.npy: not an array") as caught:
            Audio8Engine.load(tiny)
        assert len(str(caught.value).splitlines()) == 1
    for wrong in (table.astype(np.float64), table[0], table.astype(">f4")):
        np.save(path, wrong)
        with pytest.raises(ModelFormatError, match="expected float32 with 2 dimensions"):
            Audio8Engine.load(tiny)
    np.save(path, table[:-1])  # the graphs have logits for one id more
    with pytest.raises(ModelFormatError, match=r"output logits is .*290\], expected .*289\]"):
        Audio8Engine.load(tiny)


def test_an_archive_that_is_none(tiny, monkeypatch):
    path = tiny / "weights" / "audio_projector.npz"
    whole = path.read_bytes()
    for content in (b"", whole[:-30], b"\x80\x04.", whole[: len(whole) // 2]):
        path.write_bytes(content)
        with pytest.raises(ModelFormatError, match=r"audio_projector\.npz: not an archive"):
            Audio8Engine.load(tiny)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("norm_weight.npy", bytes(1 << 20))
    monkeypatch.setattr("ark_asr.models.npy._MAX_MEMBER", 1 << 19)
    with pytest.raises(ModelFormatError, match="norm_weight takes 1,048,576 bytes, at most"):
        Audio8Engine.load(tiny)


def test_the_scaffold_is_the_familys(engine):
    assert engine.tokenizer.raw.token_to_id(USER) == engine.tokenizer.prompt(1)[0]
