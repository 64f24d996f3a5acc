"""A file is there whole or not at all."""

from __future__ import annotations

import os

import pytest

from ark_asr.writers import write_atomic


def test_writes_utf8_with_plain_line_ends(tmp_path):
    write_atomic(tmp_path / "a.txt", "größer\nline\n")
    assert (tmp_path / "a.txt").read_bytes() == "größer\nline\n".encode()


def test_replaces_and_leaves_nothing_else(tmp_path):
    for text in ("one", "two"):
        write_atomic(tmp_path / "a.txt", text)
    assert [path.name for path in tmp_path.iterdir()] == ["a.txt"]
    assert (tmp_path / "a.txt").read_text() == "two"


def test_a_name_of_the_longest_kind_that_there_is(tmp_path):
    name = "é" * 125 + ".json"  # 255 bytes
    write_atomic(tmp_path / name, "text")
    assert [path.name for path in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError(28, "No space left on device")])
def test_what_was_there_stays_when_writing_fails(tmp_path, monkeypatch, error):
    write_atomic(tmp_path / "a.txt", "old")

    def fail(_):
        raise error

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(type(error) if isinstance(error, OSError) else error):
        write_atomic(tmp_path / "a.txt", "new")
    assert [path.name for path in tmp_path.iterdir()] == ["a.txt"]
    assert (tmp_path / "a.txt").read_text() == "old"


def test_text_that_has_no_utf8_leaves_nothing(tmp_path):
    with pytest.raises(UnicodeEncodeError):
        write_atomic(tmp_path / "a.txt", "half \ud800")
    assert not list(tmp_path.iterdir())


def test_a_missing_folder_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError):
        write_atomic(tmp_path / "no" / "a.txt", "text")
