"""What drivers write by themselves does not get between the captions."""

from __future__ import annotations

import os
import subprocess
import sys

SCRIPT = """
import os, sys
from ark_asr.cli.outcome import say
from ark_asr.cli.quiet import drivers_quiet

with drivers_quiet():
    os.write(2, b"ALSA lib pcm.c:8545 underrun\\n")
    say("stopped")
os.write(2, b"after\\n")
say("end")
"""


def test_lines_of_drivers_are_dropped_and_ours_are_not():
    done = subprocess.run([sys.executable, "-c", SCRIPT], check=True, capture_output=True)
    assert done.stderr.splitlines() == [b"ark-asr: stopped", b"after", b"ark-asr: end"]
    assert done.stdout == b""


def test_a_standard_error_of_another_kind_is_left_alone(capsys):
    from ark_asr.cli.quiet import drivers_quiet

    before = sys.stderr
    with drivers_quiet():
        assert sys.stderr is before
        print("said", file=sys.stderr)
    assert capsys.readouterr().err == "said\n"
    assert os.fstat(2)
