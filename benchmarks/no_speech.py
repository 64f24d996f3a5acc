"""Words that a model makes up where nobody speaks, with speech detection and without.

    python benchmarks/no_speech.py [--model NAME|PATH] [--minutes N] [--noise FILE...]

Every sound is made by numpy from a fixed seed; ``--noise`` adds recordings of noise. Shown are
words per minute of sound:

- detected: as `ark-asr transcribe` does it, speech is looked for first
- all: with ``--no-vad``
- believed: the same without segments that have a flag or a confidence below one half
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from ark_asr import Recognizer, Segment, TranscribeOptions, __version__
from ark_asr.audio import SAMPLE_RATE, load_audio
from ark_asr.types import Audio, FloatArray


def sounds(seconds: float) -> Iterator[tuple[str, FloatArray]]:
    """Names and samples, float32 ``[n]``."""
    rng = np.random.default_rng(7)
    count = round(seconds * SAMPLE_RATE)
    t = np.arange(count) / SAMPLE_RATE
    white = rng.normal(0, 1, count)
    yield "silence (zeros)", np.zeros(count, np.float32)
    yield "silence (-80 dB)", scaled(white, -80)
    yield "white noise -50 dB", scaled(white, -50)
    yield "white noise -20 dB", scaled(white, -20)
    yield "pink noise -20 dB", scaled(shaped(white, -0.5), -20)
    yield "brown noise -20 dB", scaled(shaped(white, -1.0), -20)
    yield "mains hum 50 Hz", scaled(sum(np.sin(2 * np.pi * 50 * n * t) / n for n in (1, 3, 5)), -25)
    yield "tone 440 Hz", scaled(np.sin(2 * np.pi * 440 * t), -20)
    yield "sweep 100-4000 Hz", scaled(np.sin(2 * np.pi * (100 * t + 32.5 * (t % 60) ** 2)), -20)
    two_tones = np.sin(2 * np.pi * 440 * t) + np.sin(2 * np.pi * 480 * t)
    yield "telephone ringing", scaled(gate(t, 1, 3) * two_tones, -20)
    yield "keyboard clicks", scaled(bursts(rng, count, rate=5, decay=0.005), -25)
    yield "applause", scaled(bursts(rng, count, rate=400, decay=0.01), -20)
    yield "door knocks", scaled(bursts(rng, count, rate=1, decay=0.05, low=True), -20)
    yield "music: chords", scaled(chords(rng, t), -20)
    yield "music: melody and drums", scaled(melody(rng, t) + drums(rng, count), -20)


def scaled(samples: np.ndarray, level: float) -> FloatArray:
    """At that root mean square, in dB of full scale, clipped."""
    rms = np.sqrt(np.mean(np.square(samples)))
    return np.clip(samples / rms * 10 ** (level / 20), -1, 1).astype(np.float32)


def shaped(white: np.ndarray, exponent: float) -> np.ndarray:
    """Noise whose amplitude falls with that power of the frequency."""
    spectrum = np.fft.rfft(white)
    spectrum[1:] *= np.arange(1, len(spectrum)) ** exponent
    spectrum[0] = 0
    return np.fft.irfft(spectrum, len(white))


def gate(t: np.ndarray, on: float, period: float) -> np.ndarray:
    """One for ``on`` seconds of each period."""
    return (t % period < on).astype(float)


def bursts(rng: np.random.Generator, count: int, *, rate: float, decay: float, low: bool = False):
    """Short noises at random times, ``rate`` a second."""
    at = rng.integers(0, count, round(rate * count / SAMPLE_RATE))
    hits = np.zeros(count)
    np.add.at(hits, at, rng.uniform(0.2, 1, len(at)))
    length = round(6 * decay * SAMPLE_RATE)
    kernel = np.exp(-np.arange(length) / (decay * SAMPLE_RATE)) * rng.normal(0, 1, length)
    if low:
        kernel = np.convolve(kernel, np.ones(40) / 40, "same")
    size = count + length
    return np.fft.irfft(np.fft.rfft(hits, size) * np.fft.rfft(kernel, size), size)[:count]


def voice(frequency: np.ndarray | float, t: np.ndarray) -> np.ndarray:
    """A tone with harmonics, like an organ pipe."""
    phase = (
        2
        * np.pi
        * (frequency * t if np.isscalar(frequency) else np.cumsum(frequency) / SAMPLE_RATE)
    )
    return sum(np.sin(n * phase) / n for n in range(1, 7))


def chords(rng: np.random.Generator, t: np.ndarray) -> np.ndarray:
    """A triad every two seconds."""
    roots = 110 * 2 ** (rng.integers(0, 12, int(t[-1] // 2) + 1) / 12)
    held = roots[(t // 2).astype(int)]
    fade = np.minimum(1, (t % 2) * 20) * np.exp(-(t % 2))
    return fade * sum(voice(held * ratio, t) for ratio in (1, 5 / 4, 3 / 2))


def melody(rng: np.random.Generator, t: np.ndarray) -> np.ndarray:
    """Three notes a second, with vibrato, in the range of a voice."""
    notes = 220 * 2 ** (rng.choice([0, 2, 4, 5, 7, 9, 11, 12], int(t[-1] * 3) + 1) / 12)
    pitch = notes[(t * 3).astype(int)] * (1 + 0.01 * np.sin(2 * np.pi * 5.5 * t))
    return voice(pitch, t) * np.minimum(1, (t % (1 / 3)) * 40)


def drums(rng: np.random.Generator, count: int) -> np.ndarray:
    """Two beats a second."""
    t = np.arange(count) / SAMPLE_RATE
    return 3 * rng.normal(0, 1, count) * np.exp(-(t % 0.5) * 30)


def believed(segment: Segment) -> bool:
    return not segment.flags and (segment.confidence or 0) >= 0.5


def words(segments: tuple[Segment, ...] | list[Segment]) -> int:
    return sum(len(segment.text.split()) for segment in segments)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model")
    parser.add_argument("--minutes", type=float, default=1.0, help="of each sound")
    parser.add_argument("--noise", type=Path, nargs="*", default=[], metavar="FILE")
    parser.add_argument("--threads", type=int)
    options = parser.parse_args()
    found = list(sounds(60 * options.minutes))
    found += [(path.name, load_audio(path).samples) for path in options.noise]
    with Recognizer.load(options.model, threads=options.threads) as recognizer:
        print(f"ark-asr {__version__}, {recognizer.name}: words per minute where nobody speaks\n")
        print(f"{'sound':<26}{'seconds':>8}{'detected':>10}{'all':>8}{'believed':>10}")
        for name, samples in found:
            audio = Audio(samples, SAMPLE_RATE)
            default = TranscribeOptions()
            heard = recognizer.transcribe(audio, default).segments
            every = recognizer.transcribe(audio, replace(default, vad=False)).segments
            minutes = audio.duration / 60
            rates = (words(heard), words(every), words([s for s in every if believed(s)]))
            cells = "".join(
                f"{count / minutes:>{width}.1f}"
                for count, width in zip(rates, (10, 8, 10), strict=True)
            )
            print(f"{name:<26}{audio.duration:>8.0f}{cells}", flush=True)


if __name__ == "__main__":
    main()
