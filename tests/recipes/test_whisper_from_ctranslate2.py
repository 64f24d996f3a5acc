"""A Whisper in CTranslate2's format says in transformers what it said before."""

from __future__ import annotations

import json
import runpy
import struct
import sys

import numpy as np
import pytest
import torch

import real_whisper
import stand_ins
from ark_asr.audio import load_audio
from ark_asr.errors import ModelFormatError, ModelNotFoundError
from ark_asr.evaluation.compare.base import FAMILIES

GPT2_TOKENS = 50_256  # before the first control token
TYPES = [torch.float32, torch.int8, torch.int16, torch.int32, torch.float16, torch.bfloat16]


@pytest.fixture(scope="module")
def tool(root):
    script = root / "recipes" / "distill-mini" / "whisper_from_ctranslate2.py"
    return runpy.run_path(str(script), run_name="tool")


def write(path, variables, aliases=(), *, version=6, kind="WhisperSpec"):
    """A ``model.bin`` as CTranslate2 4 writes it."""

    def string(text):
        return struct.pack("<H", len(text) + 1) + text.encode() + b"\0"

    blob = struct.pack("<I", version) + string(kind) + struct.pack("<II", 3, len(variables))
    for name, value in variables.items():
        data = bytes(value.contiguous().flatten().view(torch.uint8).tolist())
        blob += string(name) + struct.pack(f"<B{value.ndim}I", value.ndim, *value.shape)
        blob += struct.pack("<BI", TYPES.index(value.dtype), len(data)) + data
    blob += struct.pack("<I", len(aliases)) + b"".join(string(a) + string(n) for a, n in aliases)
    path.write_bytes(blob)


def as_ctranslate2(state, heads):
    """The variables of a Whisper of transformers: projections joined."""
    found = {f"{side}/num_heads": torch.tensor(heads, dtype=torch.int16)
             for side in ("encoder", "decoder")}  # fmt: skip
    names = {"layer_norm.weight": "layer_norm/gamma", "layer_norm.bias": "layer_norm/beta",
             "embed_positions.weight": "position_encodings/encodings",
             "embed_tokens.weight": "embeddings/weight"}  # fmt: skip
    for name, value in state.items():
        if name == "proj_out.weight" or "_proj." in name:
            continue
        short = name.removeprefix("model.").replace(".layers.", ".layer_")
        for ours, theirs in (("encoder_attn_layer_norm", "attention/layer_norm"),
                             ("self_attn_layer_norm", "self_attention/layer_norm"),
                             ("final_layer_norm", "ffn/layer_norm"),
                             ("fc1", "ffn/linear_0"), ("fc2", "ffn/linear_1")):  # fmt: skip
            short = short.replace(ours, theirs)
        for ours, theirs in names.items():
            short = short.replace(ours, theirs)
        found[short.replace(".", "/")] = value
    for name in [name for name in state if name.endswith("q_proj.weight")]:
        ours = name.removesuffix("q_proj.weight")
        attention = "self_attention" if ".self_attn." in name else "attention"
        layer = ours.split(".")
        theirs = f"{layer[1]}/layer_{layer[3]}/{attention}"
        for part in ("weight", "bias"):
            query, value = state[f"{ours}q_proj.{part}"], state[f"{ours}v_proj.{part}"]
            key = state.get(f"{ours}k_proj.{part}", torch.zeros_like(query))
            out = state[f"{ours}out_proj.{part}"]
            if attention == "self_attention":
                parts = [torch.cat([query, key, value]), out]
            else:
                parts = [query, torch.cat([key, value]), out]
            found |= {f"{theirs}/linear_{n}/{part}": matrix for n, matrix in enumerate(parts)}
    return found


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    """A Whisper of random weights: the folder of transformers, and the one of CTranslate2."""
    from transformers import WhisperForConditionalGeneration

    source = stand_ins.whisper(tmp_path_factory.mktemp("tiny") / "transformers")
    folder = source.parent / "ctranslate2"
    folder.mkdir()
    model = WhisperForConditionalGeneration.from_pretrained(source)
    write(
        folder / "model.bin", as_ctranslate2(model.state_dict(), 2),
        [("decoder/projection/weight", "decoder/embeddings/weight")],
    )  # fmt: skip
    (folder / "tokenizer.json").write_bytes((source / "tokenizer.json").read_bytes())
    rules = model.generation_config
    (folder / "config.json").write_text(json.dumps({
        "suppress_ids": rules.suppress_tokens, "suppress_ids_begin": rules.begin_suppress_tokens,
        "lang_ids": sorted(rules.lang_to_id.values()), "alignment_heads": [[1, 0]],
    }))  # fmt: skip
    return source, folder


def test_every_weight_is_in_its_place(tool, tiny, tmp_path, root):
    from transformers import WhisperForConditionalGeneration, WhisperProcessor

    source, folder = tiny
    target = tool["convert"](folder, tmp_path / "back")
    one, other = (WhisperForConditionalGeneration.from_pretrained(f) for f in (source, target))
    before, after = one.state_dict(), other.state_dict()
    assert before.keys() == after.keys()
    for name in before:
        assert torch.equal(before[name], after[name]), name
    rules = other.generation_config
    assert rules.lang_to_id == one.generation_config.lang_to_id
    assert rules.task_to_id == one.generation_config.task_to_id
    assert rules.is_multilingual
    sound = load_audio(root / "samples" / "hello.flac", end=1.0).samples
    said = []
    for place, model in ((source, one), (target, other)):
        processor = WhisperProcessor.from_pretrained(place)
        heard = processor(sound, sampling_rate=16_000, return_tensors="pt").input_features
        ids = model.generate(heard, language="de", task="transcribe", max_new_tokens=8)
        said.append(processor.batch_decode(ids))
    assert said[0] == said[1]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_variables_of_every_kind_and_their_aliases(tool, tmp_path, dtype):
    path = tmp_path / "model.bin"
    value = torch.arange(6, dtype=dtype).reshape(2, 3)
    write(path, {"a": value, "heads": torch.tensor(4, dtype=torch.int16)}, [("b", "a")])
    found = tool["read_variables"](path)
    assert torch.equal(found["a"], value)
    assert found["a"].dtype == dtype
    assert torch.equal(found["b"], value)
    assert found["heads"].shape == ()
    assert int(found["heads"]) == 4


def test_what_is_no_such_folder(tool, tiny, tmp_path, monkeypatch, capsys):
    _, folder = tiny
    path = tmp_path / "model.bin"
    read = tool["read_variables"]
    write(path, {"a": torch.zeros(9)})
    whole = path.read_bytes()
    for blob, says in ((b"", "damaged"), (whole[:-9], "damaged"), (whole[:30], "damaged")):
        path.write_bytes(blob)
        with pytest.raises(ModelFormatError, match=says):
            read(path)
    write(path, {}, kind="TransformerSpec")
    with pytest.raises(ModelFormatError, match="TransformerSpec"):
        read(path)
    write(path, {}, version=5)
    with pytest.raises(ModelFormatError, match="in 5"):
        read(path)
    with pytest.raises(ModelNotFoundError, match=r"config\.json"):
        tool["convert"](tmp_path, tmp_path / "out")
    variables = read(folder / "model.bin")
    name = "encoder/layer_0/ffn/linear_0/weight"
    with pytest.raises(ModelFormatError, match="int8"):
        tool["weights"](variables | {name: variables[name].to(torch.int8)})
    del variables[name]
    with pytest.raises(ModelFormatError, match="linear_0"):
        tool["weights"](variables)
    monkeypatch.setattr(sys, "argv", ["x", str(tmp_path), str(tmp_path / "out")])
    with pytest.raises(SystemExit, match=r"config\.json"):
        tool["main"]()
    assert not (tmp_path / "out").exists()


@pytest.fixture(scope="module")
def tiny_en(tool, tmp_path_factory):
    """Whisper tiny.en with its real weights: CTranslate2's folder, and the one made of it."""
    folder = real_whisper.ctranslate2_folder()
    target = tmp_path_factory.mktemp("real") / "tiny.en"
    return folder, tool["convert"](folder, target, float32=True)


def test_the_real_weights_say_the_same_of_the_same_mel(tiny_en, speech):
    """Id by id before and after, of ten real recordings.

    Both are given one and the same log-mel: CTranslate2 has none of its own, and faster-whisper
    fills up the 30 seconds otherwise than transformers does, which alone changes what is said.
    """
    ctranslate2 = pytest.importorskip("ctranslate2", reason="CTranslate2 is what to compare with")
    from transformers import WhisperForConditionalGeneration, WhisperProcessor

    folder, target = tiny_en
    before = ctranslate2.models.Whisper(str(folder), compute_type="float32", intra_threads=1)
    after = WhisperForConditionalGeneration.from_pretrained(target).eval()
    processor = WhisperProcessor.from_pretrained(target)
    rules = after.generation_config
    prompt = [rules.decoder_start_token_id, rules.no_timestamps_token_id]
    lines = (speech / "eval" / "manifest.jsonl").read_text("utf-8").splitlines()
    rows = [row for row in map(json.loads, lines) if row["language"] == "en"]
    clips = [row["audio"] for row in rows if row["tags"] == ["read"]][::3][:10]
    assert len(clips) == 10
    for clip in clips:
        sound = load_audio(speech / "eval" / clip, sample_rate=16_000).samples
        mel = processor(sound, sampling_rate=16_000, return_tensors="pt").input_features
        heard = ctranslate2.StorageView.from_array(mel.numpy())
        with torch.no_grad():
            encoded, ours = before.encode(heard), after.model.encoder(mel)
            theirs = torch.from_numpy(np.array(encoded))
            torch.testing.assert_close(ours.last_hidden_state, theirs, atol=0.02, rtol=0.0)
            ids = after.generate(mel, encoder_outputs=ours)[0].tolist()
        (found,) = before.generate(encoded, [prompt], beam_size=1, suppress_tokens=[-1])
        wanted = found.sequences_ids[0]
        assert len(wanted) > 3
        assert [id_ for id_ in ids if id_ < GPT2_TOKENS] == wanted, clip


def test_the_real_weights_hear_what_was_said(tiny_en, root):
    _, target = tiny_en
    real_whisper.hears_the_samples(FAMILIES["whisper"].load(str(target), 1, "fp32"), root)
