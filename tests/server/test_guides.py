"""What README.md and docs/server.md say to type works as it stands there."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess

import av
import numpy as np
import pytest

from ark_asr.audio import load_audio
from serving import write_wav

PAGES = ("README.md", "docs/server.md")


@pytest.fixture(scope="module")
def desk(hello, tmp_path_factory):
    """A folder with the recordings that the guides speak of."""
    folder = tmp_path_factory.mktemp("desk")
    sound = load_audio(hello).samples
    write_wav(folder / "talk.wav", sound)
    with av.open(str(folder / "talk.mp3"), "w") as file:
        stream = file.add_stream("libmp3lame", rate=16_000, layout="mono", format="s16p")
        frame = av.AudioFrame.from_ndarray(
            (sound[np.newaxis] * 32767).astype(np.int16), "s16p", "mono"
        )
        frame.sample_rate = 16_000
        file.mux(stream.encode(frame))
        file.mux(stream.encode(None))
    return folder


def blocks(root, page, language, containing):
    # The fences are walked in pairs: the end of one block must not be taken for a beginning.
    found = re.findall(r"^```(\w*)\n(.*?)^```$", (root / page).read_text("utf-8"), re.M | re.S)
    wanted = [block for kind, block in found if kind == language and containing in block]
    assert wanted, page
    return wanted


@pytest.mark.parametrize(
    ("page", "containing"),
    [(PAGES[0], "openai"), (PAGES[1], "openai"), (PAGES[1], "websockets")],
)
def test_python(root, served, desk, monkeypatch, capsys, page, containing):
    monkeypatch.chdir(desk)
    for block in blocks(root, page, "python", containing):
        exec(block.replace("127.0.0.1:8000", f"127.0.0.1:{served.port}"), {})
        assert len(capsys.readouterr().out.split()) > 2


@pytest.mark.skipif(not shutil.which("curl"), reason="curl is not installed")
@pytest.mark.parametrize("page", PAGES)
def test_curl(root, served, desk, page):
    lines = [
        line.replace("127.0.0.1:8000", f"127.0.0.1:{served.port}")
        for block in blocks(root, page, "", "curl -F file=@talk.mp3 http")
        for line in block.splitlines()
        if line.startswith("curl ") and "model=" not in line
    ]
    assert lines
    for line in lines:
        command = [*shlex.split(line, comments=True), "--silent", "--fail"]
        answer = subprocess.run(command, cwd=desk, check=True, capture_output=True, text=True)
        assert answer.stdout.strip()
