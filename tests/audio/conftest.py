"""Sound made for the tests, encoded with PyAV: no other program is needed."""

from __future__ import annotations

import io
import struct
from collections.abc import Callable
from fractions import Fraction

import av
import numpy as np
import pytest

Encode = Callable[..., bytes]


def tone(rate: int, seconds: float, burst: float | None = None) -> np.ndarray:
    """Float32 sound; with ``burst`` it is silent but for 0.1 s of tone at that second."""
    t = np.arange(round(rate * seconds)) / rate
    if burst is not None:
        loud = (t >= burst) & (t < burst + 0.1)
        return np.where(loud, 0.5 * np.sin(2 * np.pi * 1000 * t), 0).astype(np.float32)
    sweep = np.sin(2 * np.pi * (300 * t + 20 * t**2))
    return (0.3 * sweep * (1 + np.sin(2 * np.pi * 3 * t)) / 2).astype(np.float32)


def frames_of(samples: np.ndarray, stream: av.AudioStream) -> list[av.AudioFrame]:
    """``[n]`` or ``[channels, n]`` in the encoder's own format and frame size."""
    channels = np.atleast_2d(samples)
    layout = {1: "mono", 2: "stereo", 6: "5.1"}[len(channels)]
    whole = av.AudioFrame.from_ndarray(np.ascontiguousarray(channels), format="fltp", layout=layout)
    whole.sample_rate, whole.pts = stream.rate, 0
    fifo = av.AudioFifo()
    resampler = av.AudioResampler(stream.codec_context.format, layout, stream.rate)
    for frame in [*resampler.resample(whole), *resampler.resample(None)]:
        fifo.write(frame)
    size, frames, at = stream.codec_context.frame_size or 1024, [], 0
    while (frame := fifo.read(size) or fifo.read(size, partial=True)) is not None:
        frame.pts, frame.time_base = at, Fraction(1, stream.rate)
        at += frame.samples
        frames.append(frame)
    return frames


def encode(
    samples: np.ndarray,
    rate: int,
    container: str,
    codec: str,
    *,
    late: float = 0.0,
    lose: tuple[float, float] = (0.0, 0.0),
    picture: bool = False,
    stretch: float = 1.0,
) -> bytes:
    """A file in memory.

    Args:
        samples: ``[n]`` or ``[channels, n]``.
        rate: Hz.
        container: FFmpeg's name of the format.
        codec: FFmpeg's name of the encoder.
        late: Seconds by which the sound starts after the pictures.
        lose: From and to second: packets that are left out.
        picture: With a video stream of one picture a second.
        stretch: Factor of the timestamps: sound of a clock that did not run at its rate.
    """
    file = io.BytesIO()
    with av.open(file, "w", format=container) as output:
        video = output.add_stream("mpeg4", rate=1) if picture else None
        if video is not None:
            video.width = video.height = 16
            video.pix_fmt = "yuv420p"
        stream = output.add_stream(codec, rate=rate)
        stream.layout = {1: "mono", 2: "stereo", 6: "5.1"}[len(np.atleast_2d(samples))]
        packets = []
        for frame in [*frames_of(samples, stream), None]:
            packets += stream.encode(frame)
        for packet in packets:
            second = float(packet.pts * packet.time_base)
            if lose[0] <= second < lose[1]:
                continue
            packet.pts = round(packet.pts * stretch + late / packet.time_base)
            packet.dts = packet.pts
            output.mux(packet)
        if video is not None:
            image = np.zeros((16, 16, 3), np.uint8)
            for second in range(round(np.shape(samples)[-1] / rate + late)):
                picture_frame = av.VideoFrame.from_ndarray(image, format="rgb24")
                picture_frame.pts = second
                output.mux(video.encode(picture_frame))
            output.mux(video.encode(None))
    return file.getvalue()


def wav(samples: np.ndarray, rate: int = 16_000) -> bytes:
    """16-bit mono, written by hand: the reference that needs no encoder."""
    data = np.round(np.clip(samples, -1, 1) * 32767).astype("<i2").tobytes()
    head = struct.pack("<4sI8sIHHIIHH", b"RIFF", 36 + len(data), b"WAVEfmt ", 16, 1, 1, rate,
                       2 * rate, 2, 16)  # fmt: skip
    return head + struct.pack("<4sI", b"data", len(data)) + data


@pytest.fixture(scope="session", name="tone")
def _tone() -> Callable[..., np.ndarray]:
    return tone


@pytest.fixture(scope="session", name="encode")
def _encode() -> Encode:
    return encode


@pytest.fixture(scope="session", name="wav")
def _wav() -> Callable[..., bytes]:
    return wav
