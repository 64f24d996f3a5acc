"""A written transcript becomes what writing directly would have given."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from dataclasses import replace

import pytest
from typer.testing import CliRunner

from ark_asr.cli import app
from ark_asr.writers import FORMATS, SubtitleOptions, get_writer
from transcripts import EMPTY, TALK, spoken


@pytest.fixture
def convert():
    def convert(*arguments, **options):
        result = CliRunner().invoke(app, ["convert-format", *map(str, arguments)], **options)
        assert result.exception is None or isinstance(result.exception, SystemExit)
        return result

    return convert


@pytest.fixture
def talk(tmp_path):
    return write(tmp_path / "in" / "lecture.json", TALK)


def write(path, *transcripts):
    path.parent.mkdir(parents=True, exist_ok=True)
    writer = get_writer(path.suffix[1:])
    path.write_text("".join(map(writer.render, transcripts)), encoding="utf-8")
    return path


def written(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def as_bytes(content):
    return content if isinstance(content, bytes) else content.encode()


def test_every_format_is_what_writing_directly_gives(convert, talk, tmp_path):
    pytest.importorskip("docx", reason="python-docx (extra 'docx') is not installed")
    result = convert(talk, "-f", ",".join(FORMATS), "-o", tmp_path / "out")
    assert (result.exit_code, result.stdout) == (0, "")
    assert written(tmp_path / "out") == {
        f"lecture.{name}": as_bytes(get_writer(name).render(TALK)) for name in FORMATS
    }
    assert len(result.stderr.splitlines()) == len(FORMATS)


@pytest.mark.parametrize(
    ("name", "flags", "options"),
    [
        ("srt", ["--highlight-words"], SubtitleOptions(highlight_words=True)),
        ("vtt", ["--karaoke"], SubtitleOptions(karaoke=True)),
        ("lrc", ["--max-line-width", "12"], SubtitleOptions(max_line_width=12)),
        (
            "srt",
            ["--max-line-count", "1", "--max-cue-duration", "2.5", "--min-cue-duration", "0"],
            SubtitleOptions(max_line_count=1, max_cue_duration=2.5, min_cue_duration=0),
        ),
        ("vtt", ["--max-chars-per-second", "9"], SubtitleOptions(max_chars_per_second=9)),
    ],
)
def test_flags_reach_the_writer(convert, tmp_path, name, flags, options):
    talk = replace(TALK, segments=(spoken("Some words that are long enough for two cues. " * 3),))
    result = convert(write(tmp_path / "a.json", talk), "-f", name, *flags)
    assert result.stdout == get_writer(name, options).render(talk)
    assert result.stdout != get_writer(name).render(talk)


def test_jsonl_of_several_recordings(convert, tmp_path):
    path = write(tmp_path / "all.jsonl", *(replace(TALK, source=f"x/{it}.wav") for it in "ab"))
    convert(path, "-f", "srt", "-o", tmp_path / "out")
    srt = as_bytes(get_writer("srt").render(TALK))
    assert written(tmp_path / "out") == {"a.srt": srt, "b.srt": srt}
    text = get_writer("txt").render(TALK)
    assert convert(path).stdout == f"==> x/a.wav <==\n{text}==> x/b.wav <==\n{text}"


def test_a_name_that_no_file_can_have_is_one_line(convert, tmp_path):
    """It is whatever stands in a transcript of somebody else's."""
    path = write(tmp_path / "all.jsonl", *(replace(TALK, source=it) for it in ("a\0b", "c")))
    result = convert(path, "-f", "srt", "-o", tmp_path / "out")
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr == ("ark-asr: a\\x00b: no file can be named so; leave --output-dir out\n")
    assert not (tmp_path / "out").exists()


@pytest.mark.skipif(sys.platform == "win32", reason="names of Windows are Unicode")
def test_a_name_that_is_beyond_the_encoding_of_names_is_one_line(tmp_path):
    path = write(tmp_path / "all.jsonl", *(replace(TALK, source=it) for it in ("Č.wav", "c")))
    out = tmp_path / "out"
    done = subprocess.run(
        [sys.executable, "-m", "ark_asr", "convert-format", path, "-f", "srt", "-o", out],
        env=os.environ | {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        "ark-asr: \\u010c.wav: no file can be named so where names are ascii; "
        "set PYTHONUTF8=1, or leave --output-dir out\n"
    )
    assert not out.exists()


def test_standard_input_and_output(convert):
    data = as_bytes(get_writer("json").render(TALK))
    assert convert("-", "-f", "tsv", input=data).stdout == get_writer("tsv").render(TALK)
    result = convert("-", "-f", "docx", input=as_bytes(get_writer("json").render(EMPTY)))
    assert result.stdout_bytes == get_writer("docx").render(EMPTY)


def test_a_bad_file_does_not_stop_the_others(convert, talk, tmp_path):
    bad = tmp_path / "bad.json"
    bad.write_text('{"schema": "ark-asr/transcript"')
    result = convert(bad, tmp_path / "none.json", talk)
    assert result.exit_code == 2
    assert result.stdout == get_writer("txt").render(TALK)
    assert [line.split(" ")[1] for line in result.stderr.splitlines()] == [
        str(bad), str(tmp_path / "none.json")
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["-f", "doc"], "format 'doc' is not known"),
        (["-f", "srt,vtt"], "2 formats need --output-dir"),
        (["--highlight-words"], "--highlight-words is for srt and vtt; add one of them with"),
        (["-f", "srt", "--karaoke"], "--karaoke is for vtt and lrc; add one of them"),
        (["-f", "md", "--max-line-width", "30"], "--max-line-width is for srt and vtt and lrc"),
        (["-f", "md", "--min-cue-duration", "0"], "--min-cue-duration is for"),
        (["-f", "lrc", "--max-line-count", "2"], "--max-line-count is for srt and vtt; add"),
        (["-f", "srt", "--max-line-width", "3"], "max_line_width is 3; it must be 10 or more"),
        (["-f", "vtt", "--karaoke", "--highlight-words"], "choose one"),
        (["-f", "json", "-o", "IN"], "lecture.json is an input and would be replaced"),
    ],
)
def test_bad_options_are_one_line(convert, talk, arguments, message):
    arguments = [str(talk.parent) if it == "IN" else it for it in arguments]
    before = talk.read_bytes()
    result = convert(talk, *arguments)
    assert (result.exit_code, result.stdout) == (2, "")
    assert message in result.stderr
    assert len(result.stderr.splitlines()) == 1
    assert talk.read_bytes() == before


def test_words_cannot_be_marked_where_there_are_none(convert, tmp_path):
    path = write(tmp_path / "a.json", replace(TALK, segments=TALK.segments[2:]))
    result = convert(path, "-f", "srt", "--highlight-words")
    assert result.exit_code == 2
    assert "need word times, and talk.mp3 was transcribed without" in result.stderr


def test_a_terminal_gets_no_docx(convert, talk, monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    from ark_asr.cli.outputs import plan_outputs
    from ark_asr.errors import OptionError

    monkeypatch.setattr(sys, "stdout", Terminal())
    with pytest.raises(OptionError, match="a terminal cannot show docx; use --output-dir, or > FI"):
        plan_outputs(["a.json"], ["docx"], None)


def test_the_help_names_the_defaults():
    text = " ".join(CliRunner().invoke(app, ["convert-format", "--help"]).stdout.split())
    defaults = SubtitleOptions()
    for name, flag in {
        "max_line_width": "--max-line-width N",
        "max_line_count": "--max-line-count N",
        "min_cue_duration": "--min-cue-duration SECONDS",
        "max_cue_duration": "--max-cue-duration SECONDS",
        "max_chars_per_second": "--max-chars-per-second N",
    }.items():
        help_text = text.split(flag)[1].split("]")[0]
        assert help_text.endswith(f"[default: {getattr(defaults, name):g}")


def test_json_of_json_is_the_same_file(convert, talk):
    result = convert(talk, "-f", "json")
    assert result.stdout == talk.read_text(encoding="utf-8")
    assert json.loads(result.stdout)["version"] == 1
