"""The very sound of a record, small enough to lie inside a page."""

from __future__ import annotations

import base64
import io
import warnings
from typing import Any, cast

import av
import numpy as np

from ark_asr.audio import load_audio
from ark_asr.batch.places import recording
from ark_asr.batch.records import Record
from ark_asr.errors import AudioWarning
from ark_asr.types import Audio

MOST_SECONDS = 60.0
_BIT_RATE = 24_000  # of Opus: speech stays clear, a minute takes 180 kB


def data_uri(record: Record) -> str:
    """The record's sound, at most its first minute, as a ``data:`` address.

    Raises:
        AudioError: It cannot be read.
    """
    begin = max(record.begin, 0.0)
    end = begin + MOST_SECONDS if record.end < 0 else min(record.end, begin + MOST_SECONDS)
    with warnings.catch_warnings(), recording(record.path) as source:
        warnings.simplefilter("ignore", AudioWarning)  # said when it was written down
        audio = load_audio(source, begin=begin, end=end)
    return f"data:audio/ogg;base64,{base64.b64encode(ogg_opus(audio)).decode()}"


def ogg_opus(audio: Audio) -> bytes:
    """Sound as Opus in Ogg, which every current browser plays; the same bytes every time."""
    samples = np.clip(audio.samples * 32768, -32768, 32767).astype(np.int16)
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="ogg", options={"fflags": "+bitexact"}) as container:
        stream = cast("Any", container.add_stream("libopus", rate=audio.sample_rate, layout="mono"))
        stream.bit_rate = _BIT_RATE
        frame = av.AudioFrame.from_ndarray(samples[np.newaxis], format="s16", layout="mono")
        frame.sample_rate = audio.sample_rate
        for packet in (*stream.encode(frame), *stream.encode(None)):
            container.mux(packet)
    return buffer.getvalue()
