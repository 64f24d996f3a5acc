"""Each layout becomes the same kind of manifest, and what is wrong in it is named."""

from __future__ import annotations

import io
import json
import os
import wave

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ark_asr.batch.manifests import read_manifest
from ark_asr.corpora.kaldi import read_kaldi
from ark_asr.corpora.wishes import Wishes
from ark_asr.errors import OptionError
from listener import STEP, read_jsonl, wav

SCHEMA = "ark-asr/record/1"


def write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def made(data, folder, *flags, code=0):
    """The rows of a manifest beside the folder, and what was said."""
    output = folder.parent / "made.jsonl"
    result = data("manifest", folder, "-o", output, "--overwrite", *flags)
    assert result.exit_code == code, result.stderr
    return read_jsonl(output), result.stderr


def test_a_folder_with_transcripts_beside(data, tmp_path):
    corpus = tmp_path / "set"
    wav(corpus / "ann" / "b.wav", 20)
    wav(corpus / "ann" / "a.WAV", 10)
    wav(corpus / "c.wav", 5)
    write(corpus / "ann" / "b.txt", "\ufeffgood  morning\r\nto you\n")
    rows, said = made(data, corpus, "--speaker-folders", "--language", "en")
    assert rows == [
        {"audio": "set/ann/a.WAV", "text": "", "speaker": "ann", "duration": 0.5,
         "language": "en", "schema": SCHEMA},
        {"audio": "set/ann/b.wav", "text": "good morning to you", "speaker": "ann",
         "duration": 1.0, "language": "en", "schema": SCHEMA},
        {"audio": "set/c.wav", "text": "", "duration": 0.25, "language": "en", "schema": SCHEMA},
    ]  # fmt: skip
    assert "a.WAV: has no transcript (a.txt)" in said
    assert "3 rows of folder" in said


def test_what_cannot_be_read_is_left_out_and_said(data, tmp_path):
    corpus = tmp_path / "set"
    wav(corpus / "a.wav", 10)
    write(corpus / "b.wav", "no sound")
    rows, said = made(data, corpus, code=1)
    assert [row["audio"] for row in rows] == ["set/a.wav"]
    assert "left out: " in said
    assert "1 row of folder, 1 left out" in said
    (corpus / "a.wav").unlink()
    result = data("manifest", corpus, "-o", tmp_path / "none.jsonl")
    assert (result.exit_code, (tmp_path / "none.jsonl").exists()) == (2, False)


@pytest.fixture
def kaldi(tmp_path):
    corpus = tmp_path / "kaldi"
    wav(corpus / "sound" / "r1.wav", 40)
    wav(corpus / "sound" / "r2.wav", 20)
    write(corpus / "wav.scp", "r1 sound/r1.wav\nr2 flac -c -d -s sound/r2.wav |\n")
    write(corpus / "text", "u1 hello there\nu2\tgood bye\n")
    write(corpus / "utt2spk", "u1 ann\nu2 bob\n")
    write(corpus / "spk2gender", "ann f\n")
    write(corpus / "segments", "u1 r1 0.5 1.25\nu2 r2 0 -1\n")
    return corpus


def test_kaldi(data, kaldi):
    rows, said = made(data, kaldi)
    assert rows == [
        {"audio": "kaldi/sound/r1.wav", "text": "hello there", "begin_time": 0.5, "end_time": 1.25,
         "id": "u1", "speaker": "ann", "gender": "f", "duration": 0.75, "schema": SCHEMA},
        {"audio": "kaldi/sound/r2.wav", "text": "good bye", "begin_time": 0.0, "id": "u2",
         "speaker": "bob", "duration": 1.0, "schema": SCHEMA},
    ]  # fmt: skip
    assert "2 rows of kaldi" in said
    (kaldi / "segments").unlink()
    rows, said = made(data, kaldi)
    assert [row["id"] for row in rows] == ["r1", "r2"]
    assert "2 utterances have no text, such as r1" in said


def test_no_command_of_a_collection_is_run(data, kaldi):
    write(kaldi / "wav.scp", f"r1 touch {kaldi}/ran |\nr2 flac -d x.flac; touch {kaldi}/ran |\n"
          "r3 sound.ark:12\nr4 flac -d -o out in.flac |\n")  # fmt: skip
    result = data("manifest", kaldi, "-o", kaldi / "m.jsonl")
    assert result.exit_code == 2
    assert "6 lines are wrong" in result.stderr  # the two segments have no recording either
    assert result.stderr.count("no command of a collection is run") == 3
    assert "a place in an archive" in result.stderr
    assert not (kaldi / "ran").exists()


@pytest.mark.parametrize("table", ["wav.scp", "segments", "text", "utt2spk", "spk2gender"])
def test_a_name_that_stands_twice_in_a_table_is_wrong(data, kaldi, table):
    """The later line would take the place of the earlier one, and what it said be lost."""
    lines = (kaldi / table).read_text().splitlines()
    first, number = lines[0], len(lines) + 1
    with (kaldi / table).open("a") as file:
        file.write(f"{first}\n")
    result = data("manifest", kaldi, "-o", kaldi / "m.jsonl")
    assert result.exit_code == 2
    assert f"  {table}: line {number}: {first.split()[0]!r} is there already" in result.stderr
    assert not (kaldi / "m.jsonl").exists()


@given(st.text(alphabet="u1 r\t0.5-eE+naif\n", max_size=60))
def test_any_segments_are_records_or_one_error(tmp_path_factory, text):
    folder = tmp_path_factory.mktemp("k")
    write(folder / "wav.scp", "r1 a.wav\nr b.wav\n")
    write(folder / "segments", text)
    try:
        records = list(read_kaldi(folder, Wishes()))
    except OptionError:
        return
    for record in records:
        assert record.begin >= 0
        assert record.end == -1 or record.end > record.begin


def test_librispeech(data, tmp_path):
    corpus = tmp_path / "LibriSpeech"
    for part, speaker in (("dev-clean", 84), ("train-clean-100", 19)):
        folder = corpus / part / str(speaker) / "7"
        wav(folder / f"{speaker}-7-0000.wav", 10)
        write(folder / f"{speaker}-7.trans.txt", f"{speaker}-7-0000 HE SAID\n{speaker}-7-0001 NO\n")
    write(corpus / "SPEAKERS.TXT", "; ID |SEX| SUBSET\n84   | F | dev-clean | 8 | Some Body\n")
    rows, said = made(data, corpus)
    assert rows[0] == {
        "audio": "LibriSpeech/dev-clean/84/7/84-7-0000.wav", "text": "HE SAID", "id": "84-7-0000",
        "speaker": "84", "split": "dev-clean", "gender": "F", "duration": 0.5, "schema": SCHEMA,
    }  # fmt: skip
    assert [row["split"] for row in rows] == ["dev-clean", "train-clean-100"]
    assert said.count("there is no recording of") == 2
    rows, _ = made(data, corpus, "--split", "train-clean-100")
    assert [row["speaker"] for row in rows] == ["19"]
    assert (
        "there is no part" in data("manifest", corpus, "-o", tmp_path / "x", "--split", "y").stderr
    )


def test_common_voice(data, tmp_path):
    corpus = tmp_path / "cv"
    for name in "abc":
        wav(corpus / "clips" / f"{name}.wav", 10)
    head = "client_id\tpath\tsentence\tage\tgender\taccents\tlocale\n"
    write(corpus / "train.tsv", f'{head}x1\ta.wav\tSo "he" said\ttwenties\t\t\ten\n')
    write(corpus / "test.tsv", f"{head}x2\tb.wav\tNo\t\tfemale_feminine\tScottish\ten\n")
    write(corpus / "validated.tsv", f"{head}x3\tc.wav\tYes\n")
    write(corpus / "clip_durations.tsv", "clip\tduration[ms]\na.wav\t612\n")
    rows, _ = made(data, corpus)
    assert rows == [
        {"audio": "cv/clips/a.wav", "text": 'So "he" said', "speaker": "x1", "split": "train",
         "language": "en", "duration": 0.612, "age": "twenties", "schema": SCHEMA},
        {"audio": "cv/clips/b.wav", "text": "No", "speaker": "x2", "split": "test",
         "language": "en", "gender": "female_feminine", "accent": "Scottish", "duration": 0.5,
         "schema": SCHEMA},
    ]  # fmt: skip
    rows, _ = made(data, corpus, "--split", "validated")
    assert [row["text"] for row in rows] == ["Yes"]


def test_fleurs(data, tmp_path):
    corpus = tmp_path / "de_de"
    line = '12\t5.wav\tEr sagte: "Nein".\ter sagte nein\te r | s\t16000\tFEMALE\n'
    write(corpus / "dev.tsv", line)
    missing = data("manifest", corpus, "-o", tmp_path / "m")
    assert (missing.exit_code, "unpack audio/dev.tar.gz" in missing.stderr) == (2, True)
    wav(corpus / "audio" / "dev" / "5.wav", 20)
    rows, _ = made(data, corpus, "--language", "de")
    assert rows == [
        {"audio": "de_de/audio/dev/5.wav", "text": 'Er sagte: "Nein".', "id": "12", "split": "dev",
         "duration": 1.0, "gender": "female", "text_norm": "er sagte nein", "language": "de",
         "schema": SCHEMA}
    ]  # fmt: skip
    write(corpus / "dev.tsv", line + "13\tx\n")
    assert "line 2 has 2 cells" in data("manifest", corpus, "-o", tmp_path / "m").stderr


def sound_bytes(steps):
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(16_000)
        file.writeframes(b"\1\0" * round(steps * STEP * 16_000))
    return buffer.getvalue()


ROWS = [
    {"audio": {"bytes": sound_bytes(10), "path": "x.wav"}, "sentence": "eins", "speaker_id": 7,
     "score": float("nan"), "ok": True, "list": [1]},
    {"audio": {"bytes": sound_bytes(20), "path": None}, "sentence": None, "speaker_id": None,
     "score": 0.5, "ok": False, "list": []},
]  # fmt: skip


def test_a_name_in_an_old_encoding_is_left_out_and_said(data, tmp_path):
    corpus = tmp_path / "set"
    wav(corpus / "a.wav", 10)
    old = os.fsencode(corpus) + b"/\xdcbung.wav"
    try:
        with open(old, "wb") as file:  # noqa: PTH123 - a path of bytes
            file.write((corpus / "a.wav").read_bytes())
    except OSError:
        pytest.skip("this file system has names of text only")
    rows, said = made(data, corpus, code=1)
    assert [row["audio"] for row in rows] == ["set/a.wav"]
    assert "bung.wav: its name or text holds a value that JSON cannot" in said
    with pytest.raises(OptionError, match=r"its name holds .*; rename it"):
        read_manifest(str(corpus))


def test_a_speaker_that_is_a_structure_is_nobodys_name(data, tmp_path):
    arrow = pytest.importorskip("pyarrow", reason="the extra 'files' is not installed")
    parquet = pytest.importorskip("pyarrow.parquet")
    row = {"audio": ROWS[0]["audio"], "text": "one", "speaker": {"id": 3}, "speaker_id": 4}
    (tmp_path / "hf").mkdir()
    parquet.write_table(arrow.Table.from_pylist([row]), tmp_path / "hf" / "train.parquet")
    (found,), _ = made(data, tmp_path / "hf")
    assert found["speaker"] == "4"


@pytest.mark.parametrize("form", ["parquet", "saved", "saved in parts"])
def test_datasets_of_hugging_face(data, tmp_path, form):
    arrow = pytest.importorskip("pyarrow", reason="the extra 'files' is not installed")
    table, corpus = arrow.Table.from_pylist(ROWS), tmp_path / "hf"
    if form == "parquet":
        import pyarrow.parquet as parquet

        (corpus / "data").mkdir(parents=True)
        parquet.write_table(table, corpus / "data" / "train-00000-of-00001.parquet")
    else:
        folder = corpus / "train" if form == "saved in parts" else corpus
        folder.mkdir(parents=True)
        name = "data-00000-of-00001.arrow"
        with (
            arrow.OSFile(str(folder / name), "wb") as file,
            arrow.ipc.new_stream(file, table.schema) as stream,
        ):
            stream.write_table(table)
        write(folder / "state.json", json.dumps({"_data_files": [{"filename": name}]}))
    rows, _ = made(data, corpus, "--audio-folder", tmp_path / "sound")
    split = {} if form == "saved" else {"split": "train"}
    place = "sound" if form == "saved" else "sound/train"
    assert rows == [
        {"audio": f"{place}/00000000.wav", "text": "eins", "speaker": "7", **split, "ok": True,
         "duration": 0.5, "schema": SCHEMA},
        {"audio": f"{place}/00000001.wav", "text": "", **split, "score": 0.5, "ok": False,
         "duration": 1.0, "schema": SCHEMA},
    ]  # fmt: skip
    assert (tmp_path / place / "00000000.wav").read_bytes() == ROWS[0]["audio"]["bytes"]
    wrong = data("manifest", corpus, "-o", tmp_path / "x.jsonl", "--text-field", "none")
    assert "say which with --text-field" in wrong.stderr


def test_a_manifest_named_from_another_folder_is_still_relative(data, tmp_path, monkeypatch):
    wav(tmp_path / "set" / "a.wav", 3)
    (tmp_path / "other").mkdir()
    monkeypatch.chdir(tmp_path / "other")
    assert data("manifest", "../set", "-o", "../set/m.jsonl").exit_code == 0
    assert [row["audio"] for row in read_jsonl(tmp_path / "set" / "m.jsonl")] == ["a.wav"]


def test_a_damaged_table_of_a_saved_dataset_is_named(data, tmp_path):
    state = write(tmp_path / "hf" / "state.json", "{")
    result = data("manifest", tmp_path / "hf", "-o", tmp_path / "m.jsonl")
    assert result.exit_code == 2
    assert result.stderr.startswith(f"ark-asr: {state}: is not JSON")


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--layout", "nonsense"], "there is no layout 'nonsense'"),
        (["--layout", "kaldi"], "does not look like kaldi"),
        (["--split", "train"], "--split is for librispeech"),
        (["--text-field", "x"], "--text-field is for huggingface; this is folder"),
    ],
)
def test_what_makes_no_sense_is_one_line(data, tmp_path, flags, message):
    wav(tmp_path / "set" / "a.wav", 3)
    result = data("manifest", tmp_path / "set", "-o", tmp_path / "m.jsonl", *flags)
    assert (result.exit_code, len(result.stderr.splitlines())) == (2, 1)
    assert message in result.stderr
    assert not (tmp_path / "m.jsonl").exists()


def test_a_manifest_that_is_there_is_not_replaced_unasked(data, tmp_path):
    wav(tmp_path / "set" / "a.wav", 3)
    write(tmp_path / "m.jsonl", "precious")
    result = data("manifest", tmp_path / "set", "-o", tmp_path / "m.jsonl")
    assert (result.exit_code, (tmp_path / "m.jsonl").read_text()) == (2, "precious")
    assert "is no folder" in data("manifest", tmp_path / "no", "-o", tmp_path / "x").stderr
