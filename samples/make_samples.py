"""Make the sample recordings again. Needs flite and espeak-ng on the path.

    python samples/make_samples.py [FOLDER]

Each recording gets a text file of the same name with its words. flite gives the same samples each
time; those of espeak-ng can differ in the last bits from version to version. All are 16 kHz mono
FLAC with a little noise, so that pauses are not digital silence.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray

from ark_asr.audio import load_audio

RATE = 16_000
LEVEL = 0.07  # root mean square of each sentence
NOISE = 0.0005


@dataclass(frozen=True)
class Line:
    """A sentence, who says it, and the seconds of silence after it."""

    text: str
    voice: str
    pause: float


HELLO = (Line("There was a light in the window of the house.", "flite/slt", 0.4),)
NUMBERS = (Line("zero eight six five six nine zero seven zero two", "flite/slt", 0.4),)
MINUTE = (
    Line("The next morning they went into the wood.", "flite/slt", 1.4),
    Line("It was the horse of the king.", "espeak/en-us", 1.7),
    Line("No one was there but a little girl.", "espeak/en-us", 2.1),
    Line("He told her the story of his life.", "espeak/en-us", 2.0),
    Line("She looked at him and said nothing.", "espeak/en-us", 1.6),
    Line("My father was a great man.", "flite/slt", 3.0),
    Line("They are going to see the king.", "espeak/en-us", 4.0),
    Line("It was the first day of the year.", "espeak/en-us", 1.5),
    Line("The two men came into the room.", "flite/kal16", 2.5),
    Line("I do not know what he wants.", "flite/kal16", 1.8),
    Line("You must not tell anyone about this.", "flite/slt", 2.2),
    Line("They had been friends for many years.", "flite/slt", 1.5),
    Line("There was a small table in the room.", "espeak/en-us", 2.0),
    Line("They will come at three in the afternoon.", "flite/kal16", 3.0),
    Line("You have been very kind to me.", "espeak/en-us", 1.4),
)
SAMPLES = {"hello": HELLO, "numbers": NUMBERS, "minute": MINUTE}


def main() -> None:
    """Write all recordings and their texts."""
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent
    rng = np.random.default_rng(2026)
    for name, lines in SAMPLES.items():
        pieces = [silence(0.3)]
        for line in lines:
            pieces += [say(line.text, line.voice), silence(line.pause)]
        samples = np.concatenate(pieces)
        samples += NOISE * rng.standard_normal(len(samples)).astype(np.float32)
        write_flac(folder / f"{name}.flac", samples)
        text = "\n".join(line.text for line in lines)
        (folder / f"{name}.txt").write_text(text + "\n", encoding="utf-8")
        print(f"{name}.flac: {len(samples) / RATE:.2f} s")


def say(text: str, voice: str) -> NDArray[np.float32]:
    """A sentence at 16 kHz and at a common level, without the silence around it."""
    engine, name = voice.split("/")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "said.wav"
        command = {
            "flite": [
                "flite",
                "-voice",
                name,
                "--setf",
                "duration_stretch=1.15",
                "-t",
                text,
                "-o",
                str(path),
            ],
            "espeak": ["espeak-ng", "-v", name, "-s", "150", "-w", str(path), text],
        }[engine]
        subprocess.run(command, check=True)  # noqa: S603
        samples = load_audio(path).samples
    loud = np.flatnonzero(np.abs(samples) > 0.01 * np.abs(samples).max())
    samples = samples[loud[0] : loud[-1] + 1]
    return samples * np.float32(LEVEL / np.sqrt(np.mean(samples**2)))


def silence(seconds: float) -> NDArray[np.float32]:
    """Zeros."""
    return np.zeros(round(seconds * RATE), np.float32)


def write_flac(path: Path, samples: NDArray[np.float32]) -> None:
    """16-bit FLAC."""
    with av.open(str(path), "w") as output:
        stream = output.add_stream("flac", rate=RATE, layout="mono")
        integers = np.round(np.clip(samples, -1, 1) * 32767).astype(np.int16)[None]
        for start in range(0, integers.shape[1], 4096):
            piece = np.ascontiguousarray(integers[:, start : start + 4096])
            frame = av.AudioFrame.from_ndarray(piece, format="s16", layout="mono")
            frame.sample_rate, frame.pts = RATE, start
            output.mux(stream.encode(frame))
        output.mux(stream.encode(None))


if __name__ == "__main__":
    main()
