"""Whether the int8 kernels of other processors hear what those of this one hear.

    python benchmarks/processors.py hear FILE [--package PACKAGE]   # on, or as, each processor
    python benchmarks/processors.py compare FILE FILE ...           # the first with all others

ONNX Runtime has int8 kernels of its own for each kind of processor. ``hear`` writes what a package
makes of the samples: embeddings, logits of the first token, text. QEMU runs a program as on another
processor, slowly but exactly; this is how an x86 processor without AVX-512 is tried:

    qemu-x86_64-static -cpu Haswell .venv/bin/python benchmarks/processors.py hear haswell.npz

For Arm it needs the folder of a system of that kind (``debootstrap --arch=arm64``) with an
installation in it. ``/proc/cpuinfo`` is still that of the real processor there, and the runtime
looks into it for what an Arm processor can do: lay the wanted one's over it (``mount --bind``).
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path

import numpy as np

import ark_asr
from ark_asr.audio import LogMel, load_audio
from ark_asr.engines import load_model
from ark_asr.pipeline.health import this_computer
from ark_asr.types import Prompt

SAMPLES = sorted((Path(__file__).parent.parent / "samples").glob("*.flac"))
LONGEST = 12.0  # seconds of each that embeddings and logits are taken of


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(required=True)
    hearing = commands.add_parser("hear")
    hearing.add_argument("file", type=Path)
    hearing.add_argument("--package", type=Path)
    hearing.set_defaults(run=lambda given: hear(given.file, given.package))
    comparing = commands.add_parser("compare")
    comparing.add_argument("files", type=Path, nargs="+")
    comparing.set_defaults(run=lambda given: compare(given.files))
    given = parser.parse_args()
    given.run(given)


def hear(file: Path, package: Path | None) -> None:
    """Write what this processor makes of the samples to ``file``."""
    engine, tokenizer = load_model(package)
    log_mel, found = LogMel(tokenizer.features), {}
    for path in SAMPLES:
        mel = log_mel(load_audio(path, end=LONGEST).samples)
        (audio,) = engine.embed_audio([mel])
        state = engine.start([Prompt(tokenizer.prompt(len(audio)), audio)], 1)
        found[f"{path.stem} audio"], found[f"{path.stem} logits"] = audio, state.logits[0]
    engine.close()
    with ark_asr.load(package) as model:
        for path in SAMPLES:
            found[f"{path.stem} text"] = np.array(model.transcribe(path).text)
    kernel = "fast" if this_computer().exact else "slow, exact"
    np.savez(file, kernel=np.array(kernel), **found)
    print(f"{file.stem}: kernel {kernel}")


def compare(files: list[Path]) -> None:
    """Print how far each file is from the first: the worst sample's embeddings and logits."""
    first, *others = (np.load(file) for file in files)
    print(f"{'':16} {'kernel':>12} {'embeddings':>12} {'logits':>12} {'texts equal':>12}")
    for file, other in zip(files[1:], others, strict=True):
        audio, logits = (_worst(what, other, first) for what in ("audio", "logits"))
        pairs = [(other[key], first[key]) for key in (f"{path.stem} text" for path in SAMPLES)]
        same = f"{sum(str(found) == str(expected) for found, expected in pairs)} of {len(pairs)}"
        print(f"{file.stem:16} {other['kernel']!s:>12} {audio:12.1e} {logits:12.1e} {same:>12}")


def _worst(what: str, other: Mapping[str, np.ndarray], first: Mapping[str, np.ndarray]) -> float:
    """The largest difference in proportion to what was expected, as Euclidean norms."""
    keys = [f"{path.stem} {what}" for path in SAMPLES]
    norm = np.linalg.norm
    return max(float(norm(other[key] - first[key]) / norm(first[key])) for key in keys)


if __name__ == "__main__":
    main()
