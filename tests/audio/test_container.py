"""What the releases of PyAV do differently."""

from __future__ import annotations

import io
import struct
import wave
from pathlib import Path

import pytest

from ark_asr.audio import open_audio
from ark_asr.audio.container import open_container

TITLE = b"caf\xe9 \xff"


@pytest.fixture(params=["wav", "aiff"])
def named(request: pytest.FixtureRequest) -> bytes:
    """Half a second of silence whose title is no UTF-8."""
    if request.param == "wav":
        return _wav()
    data = _chunk(b"COMM", struct.pack(">hIh", 1, 8000, 16) + b"\x40\x0c\xfa\0\0\0\0\0\0\0")
    data += _chunk(b"NAME", TITLE) + _chunk(b"SSND", bytes(8 + 16_000))
    return _chunk(b"FORM", b"AIFF" + data)


def _wav() -> bytes:
    whole = io.BytesIO()
    with wave.open(whole, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(16_000)
        file.writeframes(bytes(16_000))
    info = b"INFOINAM" + struct.pack("<I", len(TITLE)) + TITLE
    data = whole.getvalue() + b"LIST" + struct.pack("<I", len(info)) + info
    return data[:4] + struct.pack("<I", len(data) - 8) + data[8:]


def _chunk(name: bytes, data: bytes) -> bytes:
    return name + struct.pack(">I", len(data)) + data


def test_a_title_that_is_no_text_is_no_reason_to_refuse(named: bytes, tmp_path: Path) -> None:
    with open_container(io.BytesIO(named)) as container:
        title = container.metadata["title"]
    assert title.startswith("caf")
    path = tmp_path / "named"
    path.write_bytes(named)
    with open_audio(path) as sound:
        assert sum(len(block.samples) for block in sound) == 8_000
