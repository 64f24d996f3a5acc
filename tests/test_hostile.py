"""Broken and hostile model folders: each is refused in one line, by every road into the program."""

from __future__ import annotations

import json
import os
import shutil
import struct
from contextlib import suppress

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import ark_asr
from ark_asr.cli import app
from ark_asr.errors import ModelError
from ark_asr.graphs.convert import build_package
from ark_asr.models.config import ModelConfig
from ark_asr.models.package import hash_file
from ark_asr.models.tokenizer import Tokenizer
from ark_asr.models.weights import Weights
from checkpoints import random_weights, write_checkpoint, write_safetensors

NORM = "model.norm.weight"
DEEP = b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}"
LONG = b'{"a":' + b"1" * 10_000 + b"}"


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    """A checkpoint and a package made of it, both sound."""
    folder = tmp_path_factory.mktemp("good")
    write_checkpoint(folder / "checkpoint", encoder_layers=1, layers=1)
    build_package(folder / "checkpoint", folder / "package")
    return folder


@pytest.fixture
def folder(good, tmp_path, request):
    kind = "package" if "package" in request.node.name else "checkpoint"
    shutil.copytree(good / kind, tmp_path / "model")
    return tmp_path / "model"


def hear(folder):
    sound = np.random.default_rng(0).standard_normal(16_000).astype(np.float32) * 0.1
    options = ark_asr.TranscribeOptions(vad=False, max_new_tokens=2)
    with ark_asr.load(folder) as recognizer:
        return recognizer.transcribe(sound, options, source_rate=16_000)


def refused(call, message):
    with pytest.raises(ModelError, match=message) as caught:
        call()
    line = str(caught.value)
    assert line.isprintable()
    assert len(line) < 600


def refused_everywhere(folder, message):
    refused(lambda: hear(folder), message)
    refused(lambda: build_package(folder, folder.parent / "made"), message)
    assert not (folder.parent / "made").exists()


def edit(path, change):
    data = json.loads(path.read_text())
    change(data)
    path.write_text(json.dumps(data))


def edit_header(path, change):
    """Change a safetensors header; ``change`` may return the bytes of another one."""
    raw = path.read_bytes()
    end = 8 + struct.unpack("<Q", raw[:8])[0]
    header = json.loads(raw[8:end])
    text = change(header) or json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + raw[end:])


def test_the_program_says_it_in_one_line_and_ends_with_2(good, tmp_path, capsys):
    shutil.copytree(good / "checkpoint", tmp_path / "model\x1b[2J\n")
    (tmp_path / "model\x1b[2J\n" / "config.json").write_text("{}")
    (tmp_path / "clip.raw").write_bytes(bytes(32_000))
    arguments = [
        "transcribe",
        str(tmp_path / "clip.raw"),
        "--model",
        str(tmp_path / "model\x1b[2J\n"),
    ]
    with pytest.raises(SystemExit) as ended:
        app(arguments)
    assert ended.value.code == 2
    said = capsys.readouterr()
    assert said.out == ""
    (line,) = said.err.splitlines()
    assert line.isprintable()
    assert r"model\x1b[2J\n" in line


def test_the_folders_of_these_tests_are_sound(good, tmp_path):
    for kind in ("checkpoint", "package"):
        assert hear(good / kind).duration == 1.0
    build_package(good / "checkpoint", tmp_path / "made")


CONFIGS = [
    ({"num_hidden_layers": -1}, "num_hidden_layers is -1, expected 1 to 1,024"),
    ({"num_hidden_layers": 10**9}, "num_hidden_layers is 1000000000, expected 1 to"),
    ({"num_attention_heads": 10**9}, "num_attention_heads is 1000000000"),
    ({"num_attention_heads": 0}, "num_attention_heads is 0"),
    ({"num_key_value_heads": 3}, "not a multiple of num_key_value_heads"),
    ({"head_dim": "16"}, "head_dim is '16', expected int"),
    ({"head_dim": 15}, "head_dim is odd"),
    ({"hidden_size": 10**9}, "hidden_size is 1000000000"),
    ({"vocab_size": 10**12}, "vocab_size is 1000000000000"),
    ({"vocab_size": 259}, "expected ids below vocab_size"),
    ({"max_position_embeddings": 10**15}, "max_position_embeddings is"),
    ({"merge_factor": 0}, "merge_factor is 0, expected 1 to 64"),
    ({"merge_factor": [4]}, r"merge_factor is \[4\], expected int"),
    ({"rms_norm_eps": float("nan")}, "rms_norm_eps is nan, expected a number above 0"),
    ({"rope_theta": -1}, "rope_theta is -1"),
    ({"rope_theta": None, "rope_parameters": [1]}, r"rope_parameters is \[1\]"),
    ({"eos_token_id": "x"}, "eos_token_id is 'x', expected ids"),
    ({"pad_token_id": -5}, "pad_token_id is -5"),
    ({"audio_token_id": 10**9}, "audio_token_id is 1000000000"),
    ({"audio_token_id": None}, "audio_token_id is missing"),
    ({"asr_block_token_id_from": "x"}, "asr_block_token_id_from is 'x'"),
    ({"asr_block_token_id_from": True}, "asr_block_token_id_from is True"),
    ({"tie_word_embeddings": "no"}, "tie_word_embeddings is 'no', expected true or false"),
    ({"whisper_config": []}, "whisper_config is missing"),
    ({"model_type": "a\x1b[2J\n" * 1000}, "model_type is 'a"),
]


@pytest.mark.parametrize(("change", "message"), CONFIGS)
def test_numbers_that_make_no_sense(folder, change, message):
    edit(folder / "config.json", lambda data: data.update(change))
    refused_everywhere(folder, message)


ENCODERS = [
    ({"encoder_layers": -1}, "whisper_config: encoder_layers is -1"),
    ({"encoder_layers": 10**9}, "encoder_layers is 1000000000"),
    ({"encoder_attention_heads": 0}, "encoder_attention_heads is 0"),
    ({"d_model": 6}, "d_model is not a multiple"),
    ({"max_source_positions": 10**12}, "max_source_positions is"),
]


@pytest.mark.parametrize(("change", "message"), ENCODERS)
def test_numbers_of_the_encoder_that_make_no_sense(folder, change, message):
    edit(folder / "config.json", lambda data: data["whisper_config"].update(change))
    refused_everywhere(folder, message)


FRONTS = [
    ({"n_fft": 10**9}, "n_fft is 1000000000"),
    ({"hop_length": 0}, "hop_length is 0"),
    ({"n_samples": 10**15}, "n_samples is"),
    ({"n_samples": 10}, "n_samples is 10, not a second"),
    ({"n_samples": None, "chunk_length": "x"}, "n_samples is missing"),
]


@pytest.mark.parametrize(("change", "message"), FRONTS)
def test_a_front_end_that_makes_no_sense(folder, change, message):
    front = {"sampling_rate": 16_000, "feature_size": 128, "n_fft": 400, "hop_length": 160,
             "n_samples": 480_000}  # fmt: skip
    (folder / "preprocessor_config.json").write_text(json.dumps(front | change))
    refused_everywhere(folder, message)


TEXTS = {
    "nested deeply": (DEEP, r"not valid JSON \(nested too deeply\)"),
    "a number of 10,000 digits": (LONG, "not valid JSON"),
    "not UTF-8": (b"\xff\xfe", "not valid JSON"),
    "a list": (b"[]", "expected a JSON object, found list"),
    "nothing": (b"", "not valid JSON"),
}


@pytest.mark.parametrize(("text", "message"), TEXTS.values(), ids=TEXTS)
@pytest.mark.parametrize("file", ["config.json", "generation_config.json", "tokenizer_config.json"])
def test_json_that_is_none(folder, file, text, message):
    (folder / file).write_bytes(text)
    refused_everywhere(folder, rf"{file}: {message}")


def test_json_of_any_size(folder):
    with (folder / "config.json").open("r+b") as file:
        file.truncate(10**10)  # sparse: it takes no room on the disk
    refused_everywhere(folder, "10,000,000,000 bytes are too many")


def rename(token):
    def change(data):
        for one in data["added_tokens"]:
            if one["content"] == token:
                one["content"] = "<|other|>"
        data["model"]["vocab"].pop(token, None)

    return change


TOKENIZERS = {
    "no user marker": (rename("<|user|>"), r"no token '<\|user\|>'"),
    "no vocabulary": (lambda data: data["model"].update(vocab={}), "tokenizer.json"),
    "merges of nothing": (
        lambda data: data["model"].update(merges=[["zz", "qq"]]), "not a tokenizer",
    ),
    "a pattern that is none": (
        lambda data: data.update(pre_tokenizer={
            "type": "Split", "pattern": {"Regex": "("}, "behavior": "Isolated", "invert": False,
        }),
        "not a tokenizer",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("change", "message"), TOKENIZERS.values(), ids=TOKENIZERS)
def test_a_damaged_tokenizer(folder, change, message):
    edit(folder / "tokenizer.json", change)
    refused_everywhere(folder, message)


@pytest.mark.parametrize("text", [b"", b"{}", b"[" * 100_000, b'{"version": "1.0"'])
def test_a_tokenizer_that_is_none(folder, text):
    (folder / "tokenizer.json").write_bytes(text)
    refused_everywhere(folder, r"tokenizer\.json: not a tokenizer")


def test_a_tokenizer_of_any_size(folder):
    os.truncate(folder / "tokenizer.json", 100 << 30)  # takes no room on the disk
    refused_everywhere(folder, r"tokenizer\.json: 107,374,182,400 bytes are too many")


@pytest.mark.parametrize(
    "change",
    [
        {"truncation": {"max_length": 1, "strategy": "LongestFirst", "stride": 0,
                        "direction": "Right"}},
        {"padding": {"strategy": {"Fixed": 1000}, "direction": "Right", "pad_to_multiple_of": None,
                     "pad_id": 0, "pad_type_id": 0, "pad_token": "x"}},
        {"padding": {"strategy": {"Fixed": 1 << 60}, "direction": "Right",
                     "pad_to_multiple_of": None, "pad_id": 0, "pad_type_id": 0, "pad_token": "x"}},
    ],
)  # fmt: skip
def test_a_tokenizer_that_would_cut_or_fill_up_the_instruction(folder, change):
    """Whoever saved it had set that for work of their own."""
    prompt = Tokenizer.load(folder).prompt(3)
    edit(folder / "tokenizer.json", lambda data: data.update(change))
    assert Tokenizer.load(folder).prompt(3) == prompt


def test_an_end_token_that_is_none(folder):
    (folder / "tokenizer_config.json").write_text(json.dumps({"eos_token": {"x": "\x1b"}}))
    refused_everywhere(folder, "no token 'None'")


HEADERS = {
    "dtype": (lambda h: h[NORM].update(dtype="F64"), "is 'F64'; BF16, F16 and F32 are known"),
    "dtype, a list": (lambda h: h[NORM].update(dtype=["F32"]), "BF16, F16 and F32 are known"),
    "shape": (lambda h: h[NORM].update(shape=[8, 8]), r"is \[8, 8\], expected \[64\]"),
    "shape beyond all memory": (lambda h: h[NORM].update(shape=[2**62] * 8), "do not fit"),
    "offsets beyond the file": (
        lambda h: h[NORM].update(data_offsets=[10**18, 10**18 + 256]), "overlaps or|gap|bytes of",
    ),
    "name missing": (lambda h: h.update(other=h.pop(NORM)), "missing model.norm.weight"),
    "name twice": (
        lambda h: (json.dumps(h)[:-1] + ", " + json.dumps({NORM: h[NORM]})[1:]).encode(),
        "'model.norm.weight' is in it twice",
    ),
    "name that paints the screen": (
        lambda h: h.update({"a\x1b[2J\nb": h.pop(NORM)}), "is not the name of a tensor",
    ),
    "nested deeply": (lambda _: DEEP, "nested too deeply"),
    "a number of 10,000 digits": (lambda _: LONG, "not valid JSON"),
}  # fmt: skip


@pytest.mark.parametrize(("change", "message"), HEADERS.values(), ids=HEADERS)
def test_a_hostile_header(folder, change, message):
    edit_header(folder / "model.safetensors", change)
    refused_everywhere(folder, message)


@pytest.mark.parametrize("length", [10**11, 2**64 - 1])
def test_a_header_of_100_gb(folder, length):
    (folder / "model.safetensors").write_bytes(struct.pack("<Q", length) + b"{}")
    refused_everywhere(folder, "not a safetensors file, or only its beginning")


@pytest.mark.parametrize("part", [0.0, 0.01, 0.5, 0.999])
def test_half_a_download(folder, part):
    path = folder / "model.safetensors"
    raw = path.read_bytes()
    path.write_bytes(raw[: int(part * len(raw))])
    refused_everywhere(folder, r"model\.safetensors: ")


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_weights_that_are_not_finite(folder, value):
    tensors = random_weights(ModelConfig.load(folder))
    tensors["model.layers.0.mlp.up_proj.weight"][0, 0] = value
    write_safetensors(folder / "model.safetensors", tensors)
    refused_everywhere(folder, r"up_proj\.weight holds values that are not finite")


INDEXES = {
    "a path upwards": ('{"t": "../../secret"}', "'../../secret' is not the name of a file beside"),
    "a path from the root": ('{"t": "/etc/passwd"}', "not the name of a file beside it"),
    "a folder": ('{"t": ".."}', "not the name of a file beside it"),
    "a list": ('{"t": ["a"]}', "not the name of a file beside it"),
    "a zero byte": ('{"t": "a\\u0000b"}', "not the name of a file beside it"),
    "a file that is missing": ('{"t": "no.safetensors"}', "no.safetensors: no such file"),
    "no weights": ('{"t": "config.json"}', "config.json: not a safetensors file"),
    "a tensor in two files": ('{"t": "a", "t": "b"}', "'t' is in it twice"),
    "less than the model": (f'{{"{NORM}": "model.safetensors"}}', "missing audio_encoder"),
}


@pytest.mark.parametrize(("places", "message"), INDEXES.values(), ids=INDEXES)
def test_a_hostile_index(folder, places, message):
    (folder / "model.safetensors.index.json").write_text(f'{{"weight_map": {places}}}')
    refused_everywhere(folder, message)


@pytest.mark.parametrize("file", ["config.json", "tokenizer.json", "model.safetensors"])
def test_a_renamed_file(folder, file):
    (folder / file).rename(folder / f"{file}.txt")
    refused_everywhere(folder, rf"{file}|not a model folder")


@pytest.mark.parametrize("file", ["config.json", "model.safetensors", "generation_config.json"])
def test_a_link_out_of_the_folder(folder, good, file):
    (folder / file).unlink(missing_ok=True)
    (folder / file).symlink_to(good / "checkpoint" / "tokenizer_config.json")
    refused_everywhere(folder, rf"{file}: is a link out of its folder")


def test_links_of_the_hubs_own_cache_are_followed(good, tmp_path):
    snapshot, blobs = tmp_path / "snapshots" / "0123", tmp_path / "blobs"
    shutil.copytree(good / "checkpoint", blobs)
    snapshot.mkdir(parents=True)
    for blob in blobs.iterdir():
        (snapshot / blob.name).symlink_to(f"../../blobs/{blob.name}")
    assert hear(snapshot).duration == 1.0


# Packages. Their manifest holds sizes and hashes, but a hostile one has been written to fit.


def fit(folder):
    """Write the sizes and hashes of the files as they are now."""

    def change(data):
        for name in data["files"]:
            found = hash_file(folder / name)
            data["files"][name] = {"size": found.size, "sha256": found.sha256}

    edit(folder / "ark_asr.json", change)


MANIFESTS = [
    (lambda m: m["files"]["weights.bin"].update(size="x"), "weights.bin is 'x', expected int"),
    (lambda m: m["files"]["weights.bin"].update(sha256=5), "SHA-256 of weights.bin is 5"),
    (lambda m: m["files"].update({"a\x1b": m["files"]["weights.bin"]}), "not the name of a file"),
    (lambda m: m["embedding"].update(offset="x"), "offset is 'x'"),
    (lambda m: m["embedding"].update(rows=-290, columns=-64), "rows is -290"),
    (lambda m: m["embedding"].update(columns=0), "columns is 0"),
    (lambda m: m["embedding"].update(dtype=[]), r"dtype is \[\]"),
    (lambda m: m.update(output_ranges=[["0", "5"]]), "not ascending ids"),
    (lambda m: m.update(output_ranges=[[0, float("inf")]]), "not ascending ids"),
    (lambda m: m.update(output_ranges=[[0, 5]]), r"logits is .*, expected .* 6\]"),
    (lambda m: m.update(max_positions=0), "max_positions is 0"),
    (lambda m: m.update(max_positions=10**12), "max_positions is"),
    (lambda m: m.update(name="a\x1b[2J"), "is not a name"),
]


@pytest.mark.parametrize(("change", "message"), MANIFESTS)
def test_a_hostile_manifest_of_a_package(folder, change, message):
    edit(folder / "ark_asr.json", change)
    refused(lambda: hear(folder), message)


def test_graphs_of_a_package_that_changed_places(folder):
    names = ("encoder.onnx", "decoder.onnx")
    first, second = ((folder / name).read_bytes() for name in names)
    (folder / names[0]).write_bytes(second)
    (folder / names[1]).write_bytes(first)
    fit(folder)
    refused(lambda: hear(folder), r"encoder\.onnx: its inputs are")


@pytest.mark.parametrize("file", ["encoder.onnx", "decoder.onnx", "weights.bin"])
def test_half_a_file_of_a_package(folder, file):
    raw = (folder / file).read_bytes()
    (folder / file).write_bytes(raw[: len(raw) // 2])
    refused(lambda: hear(folder), rf"{file}: .* expected")
    fit(folder)
    refused(lambda: hear(folder), r"\.onnx: ONNX Runtime cannot load it|lies outside")


@pytest.mark.parametrize("place", ["../checkpoint/model.safetensors", "/etc/passwd", "none.bin"])
def test_weights_of_a_package_that_lie_elsewhere(folder, place):
    import onnx

    model = onnx.load(folder / "encoder.onnx", load_external_data=False)
    for tensor in model.graph.initializer:
        for entry in tensor.external_data:
            if entry.key == "location":
                entry.value = place
    onnx.save(model, folder / "encoder.onnx")
    fit(folder)
    refused(lambda: hear(folder), r"encoder\.onnx: ONNX Runtime cannot load it")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"num_attention_heads": 2, "num_key_value_heads": 1}, "past_key_0 is"),
        ({"num_hidden_layers": 2}, "its inputs are .* missing|has no input|its inputs are"),
        ({"hidden_size": 32}, "embedding table does not fit"),
    ],
)
def test_a_config_of_another_package(folder, change, message):
    edit(folder / "config.json", lambda data: data.update(change))
    fit(folder)
    refused(lambda: hear(folder), message)


def test_embeddings_of_a_package_that_are_not_finite(folder):
    table = json.loads((folder / "ark_asr.json").read_text())["embedding"]
    with (folder / "weights.bin").open("r+b") as file:
        file.seek(table["offset"])
        file.write(b"\xff" * (2 * table["rows"] * table["columns"]))
    fit(folder)
    refused(lambda: hear(folder), "logits are not finite")


@given(st.data())
def test_any_flipped_byte_of_a_header_is_refused_or_harmless(good, tmp_path_factory, data):
    """Never a crash: what is not refused can be read."""
    folder = tmp_path_factory.mktemp("flipped")
    raw = bytearray((good / "checkpoint" / "model.safetensors").read_bytes())
    end = 8 + struct.unpack("<Q", raw[:8])[0]
    raw[data.draw(st.integers(0, end - 1))] = data.draw(st.integers(0, 255))
    (folder / "model.safetensors").write_bytes(raw)
    with suppress(ModelError):
        weights = Weights.open(folder)
        assert all(weights[name].shape == shape for name, shape in weights.shapes.items())
