"""The progress line."""

from __future__ import annotations

import io

import pytest

from ark_asr.batch.job import Tally
from ark_asr.cli import batch_progress
from ark_asr.cli import progress as module
from ark_asr.cli.progress import ProgressLine, amount, clock, describe, rows_of
from ark_asr.types import Progress


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0:00"), (59.9, "0:59"), (61, "1:01"), (3600, "1:00:00")]
)
def test_clock(seconds, text):
    assert clock(seconds) == text


@pytest.mark.parametrize(("seconds", "text"), [(0, "0.0 s"), (14.31, "14.3 s"), (5400, "1.50 h")])
def test_amount(seconds, text):
    assert amount(seconds) == text


def test_one_row_is_no_rows():
    assert [rows_of(count) for count in (0, 1, 2, 2000)] == [
        "0 rows",
        "1 row",
        "2 rows",
        "2,000 rows",
    ]


def test_what_a_batch_has_done_in_one_line():
    tally = Tally(3, 1, 4, fresh=2, audio=7200, elapsed=90)
    assert batch_progress.describe(tally) == (
        "3 of 4 rows, 2.00 h of audio, RTFx 80.0, 1 errors, 0:45 left"
    )
    assert batch_progress.summary(tally, "o") == (
        "o: 3 of 4 rows, 1 of them errors; 2.00 h of audio in 1:30 (RTFx 80.0)"
    )
    short = Tally(1, 0, 1, fresh=1, audio=3, elapsed=0.25)
    assert batch_progress.summary(short, "-") == (
        "standard output: 1 of 1 rows; 3.0 s of audio in 0.2 s (RTFx 12.0)"
    )


def test_what_is_known_is_said():
    assert describe(Progress(35, 570, 1)) == "0:35 of 9:30, 35.0x, 0:15 left"
    assert describe(Progress(35, None, 2)) == "0:35, 17.5x"
    assert describe(Progress(0, 60, 0)) == "0:00 of 1:00"


def run(line):
    line.update(Progress(10, 20, 1))
    with line.aside():
        pass
    line.update(Progress(20, 20, 2))
    line.close()


def test_nothing_where_standard_error_is_no_terminal(monkeypatch):
    pipe = io.StringIO()
    monkeypatch.setattr(module.sys, "stderr", pipe)
    run(ProgressLine("a.wav"))
    assert pipe.getvalue() == ""


def test_nothing_when_quiet(monkeypatch):
    terminal = Terminal()
    monkeypatch.setattr(module.sys, "stderr", terminal)
    run(ProgressLine("a.wav", show=False))
    assert terminal.getvalue() == ""


def test_a_line_on_a_terminal(monkeypatch):
    terminal, out = Terminal(), Terminal()
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(module.sys, "stderr", terminal)
    monkeypatch.setattr(module.sys, "stdout", out)
    run(ProgressLine("[a].wav"))
    assert "[a].wav" in terminal.getvalue()
    assert "0:10 of 0:20, 10.0x, 0:01 left" in terminal.getvalue()
    assert out.getvalue() == ""  # data only


def test_a_name_tells_the_terminal_nothing(monkeypatch):
    terminal = Terminal()
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(module.sys, "stderr", terminal)
    run(ProgressLine("a\x1b[2Jb\nc.wav"))
    assert "\x1b[2J" not in terminal.getvalue()
    assert r"a\x1b[2Jb\nc.wav" in terminal.getvalue()
