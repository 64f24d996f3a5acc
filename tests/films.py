"""Recordings of several audio tracks, as films have them, made with PyAV."""

from __future__ import annotations

import io

import av
import numpy as np

RATE = 16_000
TWO = ({"language": "eng", "title": "Film"}, {"language": "deu", "title": "Kommentar"})


def tone(track, seconds=2.0):
    """``[n]``, float32: the sound of a track, counted from 1, which no other has."""
    t = np.arange(round(RATE * seconds)) / RATE
    return (0.4 * np.sin(2 * np.pi * 300 * track * t)).astype(np.float32)


def film(tags=TWO, container="matroska", codec="flac", *, sounds=None, first_picture=False):
    """A file in memory, each track a `tone` of its own.

    Args:
        tags: Of each track: language, title.
        container: FFmpeg's name of the format.
        codec: FFmpeg's name of the encoder.
        sounds: ``[n]``, or ``[2, n]`` of two channels, of each track, instead of tones.
        first_picture: With a stream of pictures before the tracks.
    """
    file = io.BytesIO()
    with av.open(file, "w", format=container) as output:
        packets = []
        if first_picture:
            video = output.add_stream("mpeg4", rate=1)
            video.width = video.height = 16
            video.pix_fmt = "yuv420p"
            image = av.VideoFrame.from_ndarray(np.zeros((16, 16, 3), np.uint8), format="rgb24")
            image.pts = 0
        sounds = [tone(number) for number, _ in enumerate(tags, 1)] if sounds is None else sounds
        layouts = ["mono" if sound.ndim == 1 else "stereo" for sound in sounds]
        streams = [output.add_stream(codec, rate=RATE, layout=layout) for layout in layouts]
        for stream, tag in zip(streams, tags, strict=True):
            stream.metadata.update(tag)
        if first_picture:
            packets += [*video.encode(image), *video.encode(None)]
        for stream, layout, sound in zip(streams, layouts, sounds, strict=True):
            samples = np.ascontiguousarray(np.atleast_2d(sound))
            whole = av.AudioFrame.from_ndarray(samples, format="fltp", layout=layout)
            whole.sample_rate, whole.pts = RATE, 0
            form = stream.codec_context.format
            cut = av.AudioResampler(form, layout, RATE, stream.codec_context.frame_size or 1024)
            for frame in [*cut.resample(whole), *cut.resample(None), None]:
                packets += stream.encode(frame)
        for packet in sorted(packets, key=lambda one: float(one.dts * one.time_base)):
            output.mux(packet)
    return file.getvalue()
