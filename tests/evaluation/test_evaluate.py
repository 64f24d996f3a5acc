"""`ark-asr evaluate` from a test set to its numbers."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import replace

import pytest
from typer.testing import CliRunner

import checkpoints
from ark_asr import Recognizer
from ark_asr.cli import app
from ark_asr.models.tokenizer import Tokenizer
from listener import Listener, read_jsonl, wav, write_jsonl


def evaluate(*arguments):
    result = CliRunner().invoke(app, ["evaluate", *map(str, arguments)])
    assert result.exception is None or isinstance(result.exception, SystemExit)
    return result


def summary_of(path):
    return json.loads(path.with_name(f"{path.name}.summary.json").read_text())


@pytest.fixture
def test_set(tmp_path):
    """Two speakers; "words of 5" is said for 5 steps of 50 ms, and so on."""
    for number in (4, 5, 6, 7):
        wav(tmp_path / f"{number}.wav", number)
    rows = [
        {"audio": "4.wav", "text": "Words of 4!", "speaker": "a"},
        {"audio": "5.wav", "text": "words by 5 please", "speaker": "a"},
        {"audio": "6.wav", "text": "of 6", "speaker": "b"},
        {"audio": "7.wav", "text": "", "speaker": "b"},
        {"audio": "gone.wav", "text": "lost", "speaker": "b"},
    ]
    return write_jsonl(tmp_path / "test.jsonl", rows)


@pytest.fixture
def model(tmp_path, monkeypatch):
    folder = tmp_path / "tiny"
    checkpoints.write_checkpoint(folder)
    tokenizer = Tokenizer.load(folder)

    def load(cls, model=None, *, engine=None, threads=None):
        return Recognizer(Listener(tokenizer, clips=20), tokenizer, "listener")

    monkeypatch.setattr(Recognizer, "load", classmethod(load))
    return folder


def test_from_recordings_to_numbers(test_set, model, tmp_path):
    out = tmp_path / "scored.jsonl"
    result = evaluate("-i", test_set, "-o", out, "--model_path", model, "--by", "speaker")
    assert result.exit_code == 0, result.stderr
    rows = read_jsonl(out)
    assert [row["cer_errors"] for row in rows] == sorted(
        (row["cer_errors"] for row in rows), reverse=True
    )
    by_name = {row["audio"]: row for row in rows}
    assert list(by_name["5.wav"]) == [
        "audio", "text", "pred_text", "pred_text_raw", "begin_time", "end_time", "speaker",
        "segments", "ref_text", "ref_text_clean", "pred_text_clean", "cer_errors", "wer_errors",
        "ref_words", "ref_chars",
    ]  # fmt: skip
    assert by_name["4.wav"]["wer_errors"] == 0
    assert by_name["4.wav"]["ref_text_clean"] == "words of 4"
    assert "no such file" in by_name["gone.wav"]["error"]

    found = summary_of(out)
    rates = found["rates"]
    # "by" for "of" and no "please"; "words" too many; three words where none were; "lost" is lost.
    assert rates["word_edits"] == {"substitutions": 1, "deletions": 2, "insertions": 4}
    assert (rates["ref_words"], rates["rows"], rates["scored"]) == (3 + 4 + 2 + 1, 5, 4)
    assert rates["wer"] == pytest.approx(7 / 10)
    assert (rates["empty_predictions"], rates["errors"]) == (1, 1)
    assert rates["wer_interval"]["low"] <= 0.7 <= rates["wer_interval"]["high"]
    assert found["by"]["speaker"]["a"]["wer"] == pytest.approx(2 / 7)
    assert (found["scheme"], found["scheme_version"]) == ("basic", 4)
    assert found["model"]["name"] == "tiny"
    assert found["speed"]["audio_seconds"] == pytest.approx(22 * 0.05)
    assert found["speed"]["rtfx"] > 0
    assert {"ark-asr", "python", "jiwer", "kaldialign"} <= set(found["machine"]["versions"])
    table = result.stdout.splitlines()
    assert table[1].split()[:2] == ["all", "70.00"]
    assert table[2].split()[:2] == ["speaker=a", "28.57"]
    assert "scheme basic 4" in result.stdout


def test_the_hash_is_of_the_content(tmp_path):
    from ark_asr.evaluation.machine import describe_model
    from ark_asr.models.store import resolve

    hashes = set()
    for seed, name in ((0, "a"), (0, "b"), (1, "c")):
        checkpoints.write_checkpoint(tmp_path / name, seed=seed)
        hashes.add(describe_model(resolve(tmp_path / name)).sha256)
    assert len(hashes) == 2
    assert {len(one) for one in hashes} == {hashlib.sha256().digest_size * 2}


def predictions(path, texts):
    return write_jsonl(path, [{"audio": audio, "pred_text": text} for audio, text in texts.items()])


def test_predictions_of_any_order_and_a_comparison(test_set, tmp_path):
    right = {"4.wav": "words of 4", "5.wav": "words by 5 please", "6.wav": "of 6", "7.wav": "",
             "gone.wav": "lost", "other.wav": "not asked"}  # fmt: skip
    wrong = {audio: "no " * len(text.split()) for audio, text in reversed(right.items())}
    one = predictions(tmp_path / "one.jsonl", wrong)
    two = predictions(tmp_path / "two.jsonl", right)
    out = tmp_path / "scored.jsonl"
    result = evaluate("-i", test_set, "-o", out, "--predictions", one, "--compare", two)
    assert result.exit_code == 0, result.stderr
    found = summary_of(out)
    assert (found["rates"]["wer"], found["comparison"]["rates"]["wer"]) == (1, 0)
    assert found["comparison"]["wer"]["difference"] == -1
    assert (found["speed"], found["model"]) == (None, None)
    assert f"{two} is better by 100.00 points of WER (95 % 100.00 to 100.00)" in result.stdout
    result = evaluate("-i", test_set, "-o", out, "--predictions", one, "--compare", one)
    assert "no difference that these data can show" in result.stdout


def test_too_few_to_compare_says_so(tmp_path):
    rows = [{"audio": f"{n}.wav", "text": "one two", "speaker": "a"} for n in range(3)]
    manifest, out = write_jsonl(tmp_path / "test.jsonl", rows), tmp_path / "o"
    known = predictions(tmp_path / "p", {row["audio"]: "one" for row in rows})
    flags = ("-i", manifest, "-o", out, "--predictions", known, "--compare", known)
    page = tmp_path / "page.html"
    result = evaluate(*flags, "--resample-by", "speaker", "--report", page, "--no-audio")
    assert f"{known}: cannot be compared; that takes two values of speaker" in result.stdout
    assert "that takes two values of speaker" in page.read_text()
    assert "cannot be compared" not in evaluate(*flags).stdout
    write_jsonl(manifest, rows[:1])
    assert "that takes two utterances with words at least" in evaluate(*flags).stdout


def test_what_is_compared_is_not_made_anew(test_set, model, tmp_path):
    """The predictions of the first run have the name that those of the second would get."""
    flags = ("-i", test_set, "-o", tmp_path / "o", "--model", model, "--quiet")
    assert evaluate(*flags).exit_code == 0
    first = tmp_path / "o.predictions.jsonl"
    before = first.read_bytes()
    for flag in ("--overwrite", "--resume"):
        result = evaluate(*flags, "--compare", first, flag)
        assert (result.exit_code, result.stdout) == (2, "")
        assert result.stderr == f"ark-asr: {first} is an input; choose another name\n"
        assert first.read_bytes() == before


@pytest.mark.parametrize(
    ("output", "report", "message"),
    [
        (".", "page.html", ".: is a folder; name a file"),
        ("folder", "page.html", "folder: is a folder"),
        ("o", "folder", "folder: is a folder"),
        ("o", "o.summary.json", "o.summary.json cannot be both"),
        ("test", "page.html", "test.summary.json is an input"),
        ("o", "test.summary.json/page.html", "test.summary.json/page.html: cannot be written"),
    ],
)
def test_where_nothing_can_be_written_nothing_is_heard(
    test_set, model, tmp_path, monkeypatch, output, report, message
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder").mkdir()
    source = test_set.rename(tmp_path / "test.summary.json")
    before = sorted(tmp_path.rglob("*")), source.read_bytes()
    result = evaluate("-i", source, "-o", output, "--report", report, "--model", model)
    assert (result.exit_code, result.stdout, len(result.stderr.splitlines())) == (2, "", 1)
    assert message in result.stderr
    assert (sorted(tmp_path.rglob("*")), source.read_bytes()) == before


def test_folders_of_what_is_written_are_made(test_set, tmp_path):
    texts = dict.fromkeys(("4.wav", "5.wav", "6.wav", "7.wav", "gone.wav"), "x")
    known = predictions(tmp_path / "p", texts)
    out, page = tmp_path / "new" / "o", tmp_path / "newer" / "deep" / "page.html"
    result = evaluate("-i", test_set, "-o", out, "--predictions", known, "--report", page,
                      "--no-audio")  # fmt: skip
    assert result.exit_code == 0, result.stderr
    assert out.is_file()
    assert page.is_file()


@pytest.mark.skipif(os.name == "nt", reason="names of files are text there")
def test_names_that_are_no_text(test_set, tmp_path):
    folder = tmp_path / os.fsdecode(b"\xff")
    try:
        folder.mkdir()
    except OSError:
        pytest.skip("names of files are text on this system")
    texts = dict.fromkeys(("4.wav", "5.wav", "6.wav", "7.wav", "gone.wav"), "x")
    known = predictions(folder / "p", texts)
    source = test_set.rename(folder / "test.jsonl")
    out, page = tmp_path / "o", tmp_path / "page.html"
    result = evaluate("-i", source, "-o", out, "--predictions", known, "--compare", known,
                      "--report", page, "--no-audio")  # fmt: skip
    assert result.exit_code == 0, result.stderr
    assert summary_of(out)["input"] == f"{tmp_path}/\\udcff/test.jsonl"
    assert "\\udcff/p: no difference" in page.read_text()


def test_the_published_totals(test_set, tmp_path):
    texts = {"4.wav": "words of", "5.wav": "x", "6.wav": "of 6", "7.wav": "much", "gone.wav": ""}
    out = tmp_path / "scored.jsonl"
    evaluate("-i", test_set, "-o", out, "--predictions", predictions(tmp_path / "p", texts),
             "--scheme", "ark")  # fmt: skip
    rates = summary_of(out)["rates"]
    # The empty reference counts for nothing here: one, four, none and one word wrong.
    assert rates["wer"] == pytest.approx((1 + 4 + 0 + 1) / 10)
    assert rates["word_edits"]["insertions"] == 0


def test_a_page_is_written_with_or_without_voices(test_set, tmp_path):
    texts = dict.fromkeys(("4.wav", "5.wav", "6.wav", "7.wav", "gone.wav"), "Words of")
    known = predictions(tmp_path / "p", texts)
    pages = []
    for flag in ("--audio", "--no-audio"):
        target = tmp_path / f"{flag}.html"
        result = evaluate("-i", test_set, "-o", tmp_path / "o", "--predictions", known,
                          "--report", target, "--by", "speaker", flag)  # fmt: skip
        assert result.exit_code == 0, result.stderr
        pages.append(target.read_text())
    assert [page.count("<audio") for page in pages] == [4, 0]
    assert all("By speaker" in page for page in pages)


def test_words_of_a_run_are_compared(test_set, model, tmp_path, monkeypatch):
    asked = []
    real = Recognizer.transcribe_many

    def spy(self, tasks, options, **more):
        asked.append(options)
        return real(self, tasks, replace(options, word_times="estimate"), **more)

    monkeypatch.setattr(Recognizer, "transcribe_many", spy)
    rows = [{**row, "words": [{"text": "words", "start": 0, "end": 0.1}]}
            for row in read_jsonl(test_set)]  # fmt: skip
    out = tmp_path / "scored.jsonl"
    result = evaluate("-i", write_jsonl(test_set, rows), "-o", out, "--model", model, "--words")
    assert result.exit_code == 0, result.stderr
    assert asked[0].words
    found = summary_of(out)
    # Four recordings were heard, each says "words"; three of them have a reference.
    assert found["word_times"]["words"] == 4
    assert found["calibration"]["words"] == 9
    assert 0 <= found["calibration"]["error"] <= 1
    assert "word starts" in result.stdout
    (first,) = read_jsonl(tmp_path / "scored.jsonl.predictions.jsonl")[0]["segments"]
    assert [word["text"] for word in first["words"]] == ["words", "of", "4"]


def test_a_language_that_is_given_is_used(tmp_path):
    wav(tmp_path / "a.wav", 4)
    manifest = write_jsonl(tmp_path / "m", [{"audio": "a.wav", "text": "1.000 Straßen"}])
    known = predictions(tmp_path / "p", {"a.wav": "1000 strassen"})
    out = tmp_path / "o"
    for flags, wer in ((["--language", "de"], 0), ([], 1)):
        assert evaluate("-i", manifest, "-o", out, "--predictions", known, *flags).exit_code == 0
        assert summary_of(out)["rates"]["wer"] == wer
    result = evaluate("-i", manifest, "-o", out, "--predictions", known, "--language", "de",
                      "--scheme", "english")  # fmt: skip
    assert (result.exit_code, len(result.stderr.splitlines())) == (2, 1)
    assert "the scheme 'english' is for 'en' only" in result.stderr


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--scheme", "best"], "scheme 'best' is not known"),
        (["--by", "colour"], "no record of the input has a field 'colour'"),
        (["--resample-by", "colour"], "no record of the input has a field 'colour'"),
        (["--model", "m"], "leave out how to make them"),
        (["--batch-size", "4"], "leave out how to make them"),
        (["--overwrite"], "leave out how to make them"),
        (["--no-audio"], "are for the page of --report"),
        (["--text_field", "words"], "no record has a reference ('words')"),
        (["--compare", "nothing.jsonl"], "nothing.jsonl: cannot be read"),
    ],
)
def test_bad_options_are_one_line(test_set, tmp_path, flags, message):
    texts = dict.fromkeys(("4.wav", "5.wav", "6.wav", "7.wav", "gone.wav"), "x")
    known = predictions(tmp_path / "p", texts)
    out = tmp_path / "scored.jsonl"
    result = evaluate("-i", test_set, "-o", out, "--predictions", known, *flags)
    assert (result.exit_code, result.stdout, out.exists()) == (2, "", False)
    assert message in result.stderr
    assert len(result.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--scheme", "best"], "scheme 'best' is not known"),
        (["--by", "colour"], "no record of the input has a field 'colour'"),
        (["--resample-by", "colour"], "no record of the input has a field 'colour'"),
        (["--scheme", "english", "--language", "de"], "the scheme 'english' is for 'en' only"),
        (["--compare", "nothing.jsonl"], "nothing.jsonl: cannot be read"),
        (["--resume", "--overwrite"], "exclude each other"),
    ],
)
def test_what_cannot_be_scored_is_said_before_anything_is_heard(
    test_set, model, tmp_path, flags, message
):
    before = set(tmp_path.iterdir())
    result = evaluate("-i", test_set, "-o", tmp_path / "o", "--model", model, *flags)
    assert (result.exit_code, len(result.stderr.splitlines())) == (2, 1)
    assert message in result.stderr
    assert set(tmp_path.iterdir()) == before


def test_a_run_is_named_for_its_input_and_made_again_only_if_asked(
    test_set, model, tmp_path, monkeypatch
):
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    first = evaluate("-i", test_set, "--model", model)
    names = [f"test.scored.jsonl{end}" for end in ("", ".predictions.jsonl", ".summary.json")]
    assert sorted(file.name for file in here.iterdir()) == names
    assert f"written: {names[0]}, {names[2]}" in first.stderr
    heard = (here / names[1]).read_bytes()
    (here / names[1]).write_bytes(heard.replace(b"words of 4", b"no"))
    again = evaluate("-i", test_set, "--model", model)
    assert (again.exit_code, again.stdout) == (2, "")
    assert "has rows already; --resume goes on after them, --overwrite begins" in again.stderr
    for flag, same in (("--resume", False), ("--overwrite", True)):
        result = evaluate("-i", test_set, "--model", model, flag, "--quiet")
        assert result.exit_code == 0, result.stderr
        assert ((here / names[1]).read_bytes() == heard) == same
    for nameless in ("-", "test-*.jsonl"):
        assert "say --output FILE" in evaluate("-i", nameless).stderr


def test_intervals_over_recordings(test_set, tmp_path):
    """Two parts of each of two recordings: one has all errors, so either may be drawn twice."""
    rows = [
        {"audio": audio, "begin_time": begin, "end_time": begin + 1, "text": "a"}
        for audio in ("4.wav", "5.wav")
        for begin in (0, 1)
    ]
    manifest = write_jsonl(test_set, rows)
    said = [{**row, "pred_text": "a" if row["audio"] == "4.wav" else "x"} for row in rows]
    known, out = write_jsonl(tmp_path / "p", said), tmp_path / "o"
    flags = ("--resample-by", "audio", "--by", "audio")
    result = evaluate("-i", manifest, "-o", out, "--predictions", known, *flags)
    assert result.exit_code == 0, result.stderr
    found = summary_of(out)
    assert found["rates"]["wer_interval"] == {"low": 0, "high": 1}
    assert {name: part["wer"] for name, part in found["by"]["audio"].items()} == {
        "4.wav": 0, "5.wav": 1
    }  # fmt: skip


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"audio": "4.wav", "pred_text": "x"}\n', "no prediction for 4 of 5 records, such as 5"),
        ("{\n", "line 1 is not JSON"),
        ('{"audio": "4.wav"}\n', "line 1 is no row of a batch output"),
        ("[]\n", "line 1 is no row of a batch output"),
        ('{"audio": "4.wav", "pred_text": "x", "end_time": "x"}\n', "must be a number of seconds"),
        ('{"audio": "4.wav", "pred_text": "\\ud83d"}\n', "line 1: holds a value that JSON cannot"),
        ('{"audio": "4.wav", "pred_text": "x", "a": 1e999}\n', "line 1: holds a value that JSON"),
    ],
)
def test_bad_predictions_are_one_line(test_set, tmp_path, content, message):
    (tmp_path / "p").write_text(content)
    result = evaluate("-i", test_set, "-o", tmp_path / "o", "--predictions", tmp_path / "p")
    assert (result.exit_code, len(result.stderr.splitlines())) == (2, 1)
    assert message in result.stderr


def test_a_recording_that_is_there_twice_takes_two_predictions(tmp_path):
    row = {"audio": "4.wav", "text": "x"}
    manifest = write_jsonl(tmp_path / "test.jsonl", [row, row])
    known = predictions(tmp_path / "p", {"4.wav": "x"})
    flags = ("-i", manifest, "-o", tmp_path / "o", "--predictions", known)
    assert "4.wav (line 2 of the input, where it stands again: each line" in evaluate(*flags).stderr
    write_jsonl(known, [{"audio": "4.wav", "pred_text": text} for text in ("x", "y")])
    assert evaluate(*flags).exit_code == 0
    assert summary_of(tmp_path / "o")["rates"]["wer"] == 0.5


def test_inputs_are_not_overwritten(test_set, tmp_path):
    before = test_set.read_bytes()
    known = predictions(tmp_path / "p", {"4.wav": "x"})
    for out in (test_set, known):
        result = evaluate("-i", test_set, "-o", out, "--predictions", known)
        assert "is an input; choose another name" in result.stderr
    assert test_set.read_bytes() == before
    one = tmp_path / "both"
    result = evaluate("-i", test_set, "-o", one, "--report", one, "--predictions", known)
    assert result.stderr == (
        f"ark-asr: {one} cannot be both the rows and the page; choose another name\n"
    )
    assert not one.exists()
