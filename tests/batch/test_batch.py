"""`ark-asr batch` as a user of the published script meets it."""

from __future__ import annotations

import csv
import json
import math
import subprocess
import sys

import pytest
from typer.testing import CliRunner

import checkpoints
from ark_asr.batch.manifests import _lines
from ark_asr.cli import app
from listener import STEP, read_jsonl, wav, words, write_jsonl


def test_rows_have_the_keys_of_the_published_script_in_its_order(program, manifest, tmp_path):
    out = tmp_path / "new" / "out.jsonl"
    result = program("--input", manifest, "--output", out)
    assert (result.exit_code, result.stdout) == (0, "")
    rows = read_jsonl(out)
    assert [row["pred_text"] for row in rows] == [row["text"] for row in rows]
    assert [row["audio"] for row in rows] == [row["audio"] for row in read_jsonl(manifest)]
    assert list(rows[0]) == [
        "audio", "text", "pred_text", "pred_text_raw", "begin_time", "end_time", "task"
    ]  # fmt: skip
    assert (rows[0]["begin_time"], rows[0]["end_time"]) == (-1.0, -1.0)
    assert "8 of 8 rows; 3.9 s of audio in" in result.stderr


def test_batches_are_of_similar_length_and_bounded(program, engine, manifest, tmp_path):
    program("-i", manifest, "-o", tmp_path / "o", "--batch-size", 3)
    assert engine.batches == [[20, 15, 12], [9, 7, 6], [5, 4]]
    engine.batches.clear()
    program("-i", manifest, "-o", tmp_path / "p", "--batch-seconds", 20 * STEP)
    assert all(len(batch) * max(batch) <= 20 for batch in engine.batches)
    assert max(map(len, engine.batches)) > 1
    assert (tmp_path / "o").read_bytes() == (tmp_path / "p").read_bytes()


def test_the_flags_of_the_script_with_underscores(program, manifest, tmp_path, root):
    renamed = [
        {"file": row["audio"], "ref": row["text"], "from": 0.1, "to": 0.2}
        for row in read_jsonl(manifest)
    ]
    source = write_jsonl(tmp_path / "renamed.jsonl", renamed)
    model = root / "checkpoints" / "ark-mini"
    result = program(
        "--input", source, "--output", tmp_path / "o", "--model_path", model,
        "--batch_size", "2", "--max_new_tokens=4", "--dtype", "auto", "--attn_impl", "auto",
        "--audio_field", "file", "--text_field", "ref", "--begin_field", "from", "--end_field",
        "to", "--audio_gain", "0.5", "--max_audio_seconds", "40", "--temperature", "0",
        "--repetition_penalty", "1.0",
    )  # fmt: skip
    assert (result.exit_code, result.loaded) == (0, [(str(model), None, None)])
    rows = read_jsonl(tmp_path / "o")
    # A tenth of a second is two steps; four tokens of a byte-level model are four letters.
    assert {row["pred_text"] for row in rows} == {words(2)[:4]}
    assert rows[0]["text"] == words(9)
    assert (rows[0]["begin_time"], rows[0]["end_time"]) == (0.1, 0.2)
    assert "from" not in rows[0]


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--do_sample"], "--do-sample: decoding is greedy"),
        (["--temperature", "0.5"], "--temperature 0.5: decoding is greedy"),
        (["--repetition-penalty", "1.1"], "--repetition-penalty 1.1: there is none"),
        (["--padding_side", "left"], "--padding-side: a recording's text does not depend"),
        (["--attn_impl", "sdpa"], "--attn-impl sdpa: the engine has one attention"),
        (["--dtype", "float16"], "--dtype float16: tiny runs in float32"),
        (["--target_sr", "8000"], "--target-sr 8000: the model hears 16000 Hz"),
        (["--processor_path", "elsewhere"], "--processor-path: tokenizer and features"),
        (["--asr_block_token_id_from", "200"], "--asr-block-token-id-from 200: the model's"),
        (["--batch_size", "0"], "batch_size is 0"),
        (["--workers", "0"], "workers is 0"),
        (["--max-audio-seconds", "0"], "max_audio_seconds is 0"),
        (["--audio-gain", "0"], "gain is 0"),
        (["--resume", "--overwrite"], "exclude each other"),
    ],
)
def test_what_cannot_be_honoured_is_refused_in_one_line(
    program, manifest, tmp_path, flags, message
):
    checkpoints.write_checkpoint(tmp_path / "tiny")
    out = tmp_path / "out.jsonl"
    result = program("-i", manifest, "-o", out, "--model", tmp_path / "tiny", *flags)
    assert (result.exit_code, result.loaded, out.exists()) == (2, [], False)
    assert message in result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_flags_that_ask_for_what_the_model_does_are_taken(program, manifest, tmp_path):
    checkpoints.write_checkpoint(tmp_path / "tiny")
    result = program(
        "-i", manifest, "-o", tmp_path / "o", "--model", tmp_path / "tiny", "--dtype", "float32",
        "--target_sr", "16000", "--processor_path", tmp_path / "tiny",
        "--asr_block_token_id_from", "265",
    )  # fmt: skip
    assert result.exit_code == 0, result.stderr


def test_every_bad_line_is_named_before_the_model_is_loaded(program, tmp_path):
    lines = [
        '{"audio": "a.wav"}', "", "{", "[1]", '{"text": "x"}', '{"audio": "  "}',
        '{"audio": "a", "text": 3}', '{"audio": "a", "begin_time": "soon"}',
        '{"audio": "a", "begin_time": 2, "end_time": 1}', '{"audio": "a", "x": NaN}',
        '{"audio": "a", "x": "\\ud800"}', '{"audio": "a", "end_time": true}', "[" * 100_000,
        '{"audio": "a", "end_time": 0}',
    ]  # fmt: skip
    source = tmp_path / "in.jsonl"
    source.write_bytes("\n".join(lines).encode() + b"\n\xff{}\n")
    result = program("-i", source, "-o", tmp_path / "out.jsonl")
    assert (result.exit_code, result.loaded) == (2, [])
    first, *rest = result.stderr.splitlines()
    assert first == f"ark-asr: {source}: 13 bad lines; nothing was done"
    assert [line.split(":")[0] for line in rest] == [f"  line {n}" for n in range(3, 16)]
    assert rest[0].endswith(
        "is not JSON (column 2: Expecting property name enclosed in double quotes)"
    )
    assert rest[2].endswith("'audio' must be a path, but it is missing")
    assert not (tmp_path / "out.jsonl").exists()


def test_what_windows_powershell_writes_is_said_to_be_no_utf_8(program, tmp_path):
    source = tmp_path / "in.jsonl"
    source.write_text('{"audio": "a.wav"}\n{"audio": "b.wav"}\n', encoding="utf-16")
    result = program("-i", source, "-o", tmp_path / "o")
    assert result.exit_code == 2
    assert result.stderr.splitlines()[1] == "  line 1: is not UTF-8 (byte 1)"


@pytest.mark.parametrize("content", [None, b"", b"\n \n"])
def test_no_records_at_all(program, tmp_path, content):
    source = tmp_path / "in.jsonl"
    if content is not None:
        source.write_bytes(content)
    result = program("-i", source, "-o", tmp_path / "o")
    assert (result.exit_code, len(result.stderr.splitlines())) == (2, 1)
    assert str(source) in result.stderr


@pytest.fixture
def mixed(tmp_path):
    (tmp_path / "text.wav").write_text("dear sound")
    rows = [
        {"audio": "missing.wav", "pred_text": "old", "error": "old", "id": 1},
        {"audio": str(wav(tmp_path / "5.wav", 5)), "error": "old", "pred_text_raw": "old"},
        {"audio": "text.wav"},
        {"audio": str(wav(tmp_path / "6.wav", 6)), "begin_time": 7},
        {"audio": "8.wav"},
        {"audio": "6.wav"},
    ]
    wav(tmp_path / "8.wav", 8)
    return write_jsonl(tmp_path / "mixed.jsonl", rows)


def test_bad_records_become_rows(program, engine, mixed, tmp_path):
    engine.fails_on = {8}
    result = program("-i", mixed, "-o", tmp_path / "o")
    assert result.exit_code == 1
    rows = read_jsonl(tmp_path / "o")
    assert [row["pred_text"] for row in rows] == ["", words(5), "", "", "", words(6)]
    errors = [row.get("error") for row in rows]
    assert "no such file" in errors[0]
    assert errors[1] is None  # the old one is gone
    assert "beyond the end" in errors[3]
    assert errors[4] == "RuntimeError: bad_alloc"
    assert list(rows[0]) == ["audio", "text", "pred_text", "pred_text_raw", "begin_time",
                             "end_time", "id", "error"]  # fmt: skip
    assert result.stderr.splitlines()[0].startswith("ark-asr: line 1: ")
    assert "6 of 6 rows, 4 of them errors" in result.stderr.splitlines()[-1]


def test_fail_fast(program, engine, manifest, mixed, tmp_path):
    result = program("-i", mixed, "-o", tmp_path / "o", "--fail-fast")
    assert (result.exit_code, result.loaded) == (1, [])
    engine.fails_on = {12}
    result = program("-i", manifest, "-o", tmp_path / "p", "--fail-fast")
    assert result.exit_code == 1
    assert [row["text"] for row in read_jsonl(tmp_path / "p")] == [words(9), words(4)]
    engine.fails_on = set()
    assert program("-i", manifest, "-o", tmp_path / "p", "--resume").exit_code == 0
    assert [r["pred_text"] for r in read_jsonl(tmp_path / "p")] == [
        row["text"] for row in read_jsonl(manifest)
    ]


def test_long_recordings_are_segmented_unless_cut_off(program, tmp_path):
    steps = round(65 / STEP)
    source = write_jsonl(tmp_path / "in.jsonl", [{"audio": str(wav(tmp_path / "long.wav", steps))}])
    # Noise is no speech; without looking for speech, it is cut at quiet points.
    flags = ("--no-vad", "--segments", "--batch-size", "2")
    result = program("-i", source, "-o", tmp_path / "o", *flags, "--max-audio-seconds", "10.5")
    assert result.exit_code == 0
    (row,) = read_jsonl(tmp_path / "o")
    assert row["pred_text"] == words(210)
    assert [(s["start"], s["end"], s["text"]) for s in row["segments"]] == [(0, 10.5, words(210))]
    result = program("-i", source, "-o", tmp_path / "p", *flags)
    (row,) = read_jsonl(tmp_path / "p")
    times = [(segment["start"], segment["end"]) for segment in row["segments"]]
    assert len(times) >= math.ceil(65 / 30)
    assert (times[0][0], times[-1][1]) == (0, 65)
    assert [end for _, end in times[:-1]] == [start for start, _ in times[1:]]
    assert row["pred_text"].count("words of") == len(times)


def test_words_with_the_model_that_comes_along(root, tmp_path):
    source = write_jsonl(tmp_path / "in.jsonl", [{"audio": str(root / "samples" / "hello.flac")}])
    result = CliRunner().invoke(app, ["batch", "-i", str(source), "-o", f"{tmp_path}/o", "--words"])
    assert result.exit_code == 0, result.stderr
    (row,) = read_jsonl(tmp_path / "o")
    (segment,) = row["segments"]
    spoken = [word["text"] for word in segment["words"]]
    assert " ".join(spoken) == segment["text"] == row["pred_text"]
    times = [time for word in segment["words"] for time in (word["start"], word["end"])]
    assert spoken
    assert times == sorted(times)
    assert all(0 <= word["confidence"] <= 1 for word in segment["words"])


def test_csv_tsv_and_parquet_say_the_same(program, manifest, tmp_path):
    rows = [
        {"id": str(n), **row, "duration": n / 4, "age": ""}
        for n, row in enumerate(read_jsonl(manifest))
    ]
    for name, delimiter in (("in.csv", ","), ("in.tsv", "\t")):
        with (tmp_path / name).open("w", newline="", encoding="utf-8-sig") as file:
            writer = csv.DictWriter(file, rows[0], delimiter=delimiter)
            writer.writeheader()
            writer.writerows(rows)
    parquet = pytest.importorskip("pyarrow.parquet")
    table = __import__("pyarrow").Table.from_pylist(rows)
    parquet.write_table(table, tmp_path / "in.parquet")
    write_jsonl(tmp_path / "in2.jsonl", rows)
    found = set()
    for name in ("in.csv", "in.tsv", "in.parquet", "in2.jsonl"):
        assert program("-i", tmp_path / name, "-o", tmp_path / f"{name}.out").exit_code == 0
        found.add((tmp_path / f"{name}.out").read_bytes())
    assert len(found) == 1


def test_a_model_that_is_not_there_leaves_nothing_behind(program, manifest, tmp_path):
    result = program("-i", manifest, "-o", tmp_path / "o", "--model", "nothing")
    assert (result.exit_code, result.loaded) == (2, [])
    assert "no model 'nothing'" in result.stderr
    assert not (tmp_path / "o").exists()


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", "audio,text\nx.wav,hello,more\n", "more cells"),
        ("a.csv", "audio,text,text\nx.wav,hello,hi\n", "two columns are called 'text'"),
        ("a.csv", "file,text\nx.wav,hello\n", "'audio' must be a path, but it is missing"),
        ("a.parquet", "audio", "is not a Parquet file"),
    ],
)
def test_bad_tables(program, tmp_path, name, content, message):
    (tmp_path / name).write_text(content)
    result = program("-i", tmp_path / name, "-o", tmp_path / "o")
    assert (result.exit_code, result.loaded) == (2, [])
    assert message in result.stderr


def test_columns_without_a_name(program, tmp_path):
    """As spreadsheets write them, behind those with one."""
    wav(tmp_path / "5.wav", 5)
    (tmp_path / "a.csv").write_text("audio,text,,\n5.wav,hello,,\n")
    result = program("-i", tmp_path / "a.csv", "-o", tmp_path / "o")
    assert result.exit_code == 0, result.stderr
    assert [row["text"] for row in read_jsonl(tmp_path / "o")] == ["hello"]


def test_a_cell_holds_the_text_of_hours(program, tmp_path):
    text = "word " * 60_000
    wav(tmp_path / "5.wav", 5)
    (tmp_path / "a.csv").write_text(f"audio,text\n5.wav,{text}\n")
    before = csv.field_size_limit()
    result = program("-i", tmp_path / "a.csv", "-o", tmp_path / "o")
    assert result.exit_code == 0, result.stderr
    assert [row["text"] for row in read_jsonl(tmp_path / "o")] == [text]
    assert csv.field_size_limit() == before


def test_long_cells_of_two_tables_that_are_read_at_once(tmp_path):
    """What one has read first takes nothing from the other, nor from whoever called."""
    before = csv.field_size_limit()
    for name in ("first.csv", "second.csv"):
        (tmp_path / name).write_text("audio,text\n" + f"5.wav,{'word ' * 60_000}\n" * 2)
    first, second = (_lines(str(tmp_path / name)) for name in ("first.csv", "second.csv"))
    assert [next(first)[0], next(second)[0]] == [2, 2]
    assert csv.field_size_limit() == before
    assert [len(list(first)), len(list(second))] == [1, 1]
    assert csv.field_size_limit() == before


def test_parquet_without_pyarrow_names_the_extra(program, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    (tmp_path / "a.parquet").write_bytes(b"PAR1")
    result = program("-i", tmp_path / "a.parquet", "-o", tmp_path / "o")
    assert "pip install 'ark-asr[files]'" in result.stderr


def test_a_folder_of_recordings(program, manifest, tmp_path):
    wav(tmp_path / "audio" / "deeper" / "3.WAV", 3)
    (tmp_path / "audio" / "notes.txt").write_text("no sound")
    program("-i", tmp_path / "audio", "-o", tmp_path / "o")
    rows = read_jsonl(tmp_path / "o")
    assert len(rows) == 9
    assert [row["audio"] for row in rows] == sorted(row["audio"] for row in rows)
    assert words(3) in [row["pred_text"] for row in rows]
    (tmp_path / "none").mkdir()
    assert "has no recordings" in program("-i", tmp_path / "none", "-o", tmp_path / "p").stderr


def test_where_relative_paths_are(program, tmp_path, monkeypatch):
    (tmp_path / "m").mkdir()
    (tmp_path / "here").mkdir()
    source = write_jsonl(tmp_path / "m" / "in.jsonl", [{"audio": "a.wav"}])
    monkeypatch.chdir(tmp_path / "here")

    def text(*flags):
        result = program("-i", source, "-o", tmp_path / "o", "--overwrite", *flags)
        return read_jsonl(tmp_path / "o")[0]["pred_text"] if result.exit_code == 0 else result

    wav(tmp_path / "m" / "a.wav", 5)
    assert text() == words(5)
    wav(tmp_path / "here" / "a.wav", 6)
    assert "say which with --audio-root" in text().stderr
    assert text("--audio-root", tmp_path / "m") == words(5)
    assert text("--audio-root", ".") == words(6)
    (tmp_path / "m" / "a.wav").unlink()
    assert text() == words(6)


RUN = """
import sys
import ark_asr.cli
from ark_asr import Recognizer
from ark_asr.models.tokenizer import Tokenizer
from listener import Listener
tokenizer = Tokenizer.load(sys.argv.pop(1))
model = Recognizer(Listener(tokenizer), tokenizer, "listener")
Recognizer.load = classmethod(lambda *_, **__: model)
ark_asr.cli.main()
"""


def test_standard_input_and_output(root, manifest, tmp_path, byte_checkpoint):
    command = [sys.executable, "-c", RUN, byte_checkpoint, "batch", "-i", "-", "-o", "-", "-q",
               "--audio-root", tmp_path]  # fmt: skip
    done = subprocess.run(
        command, input=manifest.read_bytes(), capture_output=True, cwd=root / "tests", check=False
    )
    assert (done.returncode, done.stderr) == (0, b"")
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert [row["pred_text"] for row in rows] == [row["text"] for row in read_jsonl(manifest)]


def test_the_input_is_not_overwritten(program, manifest):
    before = manifest.read_bytes()
    result = program("-i", manifest, "-o", manifest, "--overwrite")
    assert (result.exit_code, manifest.read_bytes()) == (2, before)


def test_the_output_of_a_run_is_not_its_input_when_it_goes_on(program, manifest):
    """A pattern that fits the output too would read its rows as recordings of their own."""
    pattern = manifest.parent / "*.jsonl"
    output = manifest.parent / "out.jsonl"
    assert program("-i", pattern, "-o", output).exit_code == 0
    rows = output.read_bytes()
    for flag in ("--resume", "--overwrite"):
        result = program("-i", pattern, "-o", output, flag)
        assert (result.exit_code, output.read_bytes()) == (2, rows)
        assert result.stderr == f"ark-asr: {output} is an input; choose another name\n"


@pytest.mark.parametrize("gib", ["0", "-1", "nan", "inf"])
def test_a_memory_that_is_none_is_refused(program, manifest, tmp_path, gib):
    result = program("-i", manifest, "-o", tmp_path / "o", "--worker-memory", gib)
    assert result.exit_code == 2
    assert result.stderr.startswith(f"ark-asr: --worker-memory {gib}: it must be a positive")


def test_a_recording_is_no_list_of_recordings(program, tmp_path, root):
    sound = root / "samples" / "minute.flac"
    result = program("-i", sound, "-o", tmp_path / "o.jsonl")
    assert (result.exit_code, result.loaded) == (2, [])
    assert result.stderr == (
        f"ark-asr: {sound}: is a recording and no list of them; give its folder\n"
    )
