"""Which text goes where is settled, or refused, before any work."""

from __future__ import annotations

import errno
import os
import sys
from pathlib import Path

import pytest

from ark_asr.cli.outputs import FORMATS, plan_outputs, put
from ark_asr.errors import OptionError
from ark_asr.writers import FORMATS as WRITTEN


def test_the_help_names_the_formats_that_there_are():
    assert FORMATS == WRITTEN


def test_formats_by_repeating_or_by_commas(tmp_path):
    assert plan_outputs(["a.wav"], ["srt,txt", "json", "txt"], tmp_path).formats == (
        "srt", "txt", "json"
    )  # fmt: skip


def test_names_of_files(tmp_path):
    outputs = plan_outputs(["x/talk.one.mp3", "-"], ["srt"], tmp_path)
    assert outputs.path("x/talk.one.mp3", "srt") == tmp_path / "talk.one.srt"
    assert outputs.path("-", "srt") == tmp_path / "stdin.srt"
    assert outputs.path("", "srt") == tmp_path / "transcript.srt"


@pytest.mark.parametrize(
    "sources", [["a/x.wav", "b/x.wav"], ["x.wav", "x.mp3"], ["a.wav", "a.wav"]]
)
def test_two_recordings_never_share_a_file(tmp_path, sources):
    with pytest.raises(OptionError, match=f"{sources[0]} and {sources[1]} would both be written"):
        plan_outputs(sources, ["txt"], tmp_path)


@pytest.mark.parametrize(
    ("system", "names"),
    [
        ("darwin", ("a/Talk.m4a", "b/talk.m4a")),
        ("darwin", ("a/caf\u00e9.wav", "cafe\u0301.wav")),
        ("win32", ("a/Talk.m4a", "b/talk.m4a")),
    ],
)
def test_names_that_are_one_file_where_no_case_is_told(tmp_path, monkeypatch, system, names):
    if sys.platform not in ("darwin", "win32"):
        assert plan_outputs(names, ["txt"], tmp_path)
    monkeypatch.setattr(sys, "platform", system)
    with pytest.raises(OptionError, match="would both be written"):
        plan_outputs(names, ["txt"], tmp_path)
    with pytest.raises(OptionError, match="is an input and would be replaced"):
        plan_outputs([str(tmp_path / "odd.TXT")], ["txt"], tmp_path)


def test_a_recording_is_never_replaced(tmp_path):
    recording = tmp_path / "odd.txt"
    with pytest.raises(OptionError, match="is an input and would be replaced"):
        plan_outputs([str(recording)], ["txt"], tmp_path)


def test_a_file_is_no_output_folder(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(OptionError, match="is not a folder"):
        plan_outputs(["a.wav"], ["txt"], tmp_path / "file")


def test_a_folder_that_cannot_become_one_is_found_out_before_the_work(tmp_path):
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    for place in ("file", "link"):
        with pytest.raises(OptionError, match=f"{tmp_path / place} is not a folder"):
            plan_outputs(["a.wav"], ["txt"], tmp_path / place / "new" / "one")


def test_a_drive_that_is_not_there_is_told(monkeypatch):
    looks = 100

    def exists(_):
        nonlocal looks
        looks -= 1
        assert looks, "it is looked for, for ever"
        return False

    place = Path("/new/one").absolute()
    with monkeypatch.context() as patch:
        patch.setattr(Path, "exists", exists)
        with pytest.raises(OptionError, match="is not there; choose another --output-dir"):
            plan_outputs(["a.wav"], ["txt"], place)


def test_a_folder_of_others_is_found_out_before_the_work(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "access", lambda *_: False)  # the tests may run as root
    with pytest.raises(OptionError, match=f"{tmp_path} is not yours to write into"):
        plan_outputs(["a.wav"], ["txt"], tmp_path / "new")


def test_a_folder_in_the_place_of_a_file(tmp_path):
    (tmp_path / "a.txt").mkdir()
    with pytest.raises(OptionError, match="is a folder; choose another"):
        plan_outputs(["a.wav"], ["txt"], tmp_path)


def test_long_names(tmp_path):
    outputs = plan_outputs(["é" * 125 + ".mp3"], ["json"], tmp_path)  # 255 bytes
    outputs.journal("é" * 125 + ".mp3").touch()
    with pytest.raises(OptionError, match="too long for a file"):
        plan_outputs(["é" * 126 + ".mp3"], ["json"], tmp_path)


def test_a_link_to_itself_is_not_followed(tmp_path):
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    assert plan_outputs([str(tmp_path / "loop")], ["txt"], tmp_path).formats == ("txt",)


@pytest.mark.parametrize(
    ("sources", "formats", "message"),
    [
        (["a.wav"], ["txt", "srt"], "2 formats need --output-dir"),
        (["a.wav", "b.wav"], ["json"], "several recordings as json need --output-dir"),
        (["-", "-"], ["txt"], "only once"),
        (["a.wav"], ["doc"], "'doc' is not known"),
        (["a.wav"], ["txt,"], "'' is not known"),
    ],
)
def test_what_standard_output_cannot_hold(sources, formats, message):
    with pytest.raises(OptionError, match=message):
        plan_outputs(sources, formats, None)


def test_what_it_can():
    assert plan_outputs(["a.wav", "b.wav"], ["txt"], None).folder is None
    assert plan_outputs(["a.wav", "b.wav"], ["jsonl"], None).formats == ("jsonl",)
    with pytest.raises(OptionError, match="no output folder"):
        plan_outputs(["a.wav"], ["txt"], None).path("a.wav", "txt")


def test_a_folder_that_does_not_exist_is_fine(tmp_path):
    assert plan_outputs(["a.wav"], ["txt"], tmp_path / "new").folder == Path(tmp_path / "new")


def test_a_pipe_of_windows_that_nobody_reads(monkeypatch, tmp_path):
    with (tmp_path / "out").open("w") as file:

        class Unread:
            fileno = file.fileno

            def write(self, text):
                raise OSError(errno.EINVAL, "Invalid argument")

        monkeypatch.setattr(sys, "stdout", Unread())
        if sys.platform != "win32":
            line = r"standard output cannot be written \(Invalid argument\)"
            with pytest.raises(OptionError, match=line):
                put("text")
        monkeypatch.setattr(sys, "platform", "win32")
        with pytest.raises(BrokenPipeError):
            put("text")
        file.write("what Python holds back is lost, and no second error")
    assert (tmp_path / "out").read_bytes() == b""
