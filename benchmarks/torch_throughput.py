"""How much faster than real time PyTorch writes: batches of clips of ten seconds, on any device.

    python benchmarks/torch_throughput.py CHECKPOINT [--devices cpu cuda ...] [--batches 1 16 64]

``CHECKPOINT`` may be of random weights (`benchmarks/make_random_checkpoint.py`): what those say is
noise, so every clip writes exactly as many tokens as speech of its length needs. Compared side by
side: ``torch`` (on a CPU only) hands the logits of every step to the host's search;
``torch:DEVICE`` searches where the model is. The best of ``--repeats`` runs counts; a first one, in
which kernels are made, does not.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from ark_asr.audio import LogMel
from ark_asr.engines.base import Ask
from ark_asr.engines.torch import TorchEngine
from ark_asr.engines.torch_writer import TorchWriter
from ark_asr.models.tokenizer import Tokenizer
from ark_asr.types import Audio, Prompt
from mini import processor

RATE, SECONDS, TOKENS = 16_000, 10.0, 33


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument(
        "--devices", nargs="+", default=["cuda" if torch.cuda.is_available() else "cpu"]
    )
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 16, 64])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int)
    options = parser.parse_args()
    print(f"{options.checkpoint.name}, torch {torch.__version__}, {processor()}")
    print(f"clips of {SECONDS:g} s, {TOKENS} tokens each\n")
    print(f"{'':24}" + "".join(f"{f'batch {n}':>12}" for n in options.batches) + "    (RTFx)")
    for device in options.devices:
        kinds = {f"torch:{device}": on_device, "torch": on_host}
        for name, kind in kinds.items() if device == "cpu" else [(f"torch:{device}", on_device)]:
            write = kind(options.checkpoint, device, options.threads)
            speeds = [rtfx(write, batch, options.repeats) for batch in options.batches]
            print(f"{name:24}" + "".join(f"{speed:12.1f}" for speed in speeds), flush=True)
        if device.startswith("cuda"):
            print(f"{'':24}{torch.cuda.get_device_name(device)}")


class Endless(Tokenizer):
    """Knows no end: as many tokens come as are asked for."""

    @property
    def stop_ids(self) -> frozenset[int]:
        return frozenset()


def on_device(checkpoint: Path, device: str, threads: int | None) -> Callable[[list[Audio]], None]:
    loaded = TorchWriter.load(checkpoint, device, threads=threads)
    writer = TorchWriter(loaded.model, Endless.load(checkpoint))

    def write(clips: list[Audio]) -> None:
        found = writer.write([Ask(clip, TOKENS) for clip in clips], [lambda: False] * len(clips))
        assert {len(one.token_ids) for one in found} == {TOKENS}

    return write


def on_host(checkpoint: Path, device: str, threads: int | None) -> Callable[[list[Audio]], None]:
    engine = TorchEngine.load(checkpoint, threads=threads, device=device)
    tokenizer = Tokenizer.load(checkpoint)
    log_mel = LogMel(tokenizer.features)

    def write(clips: list[Audio]) -> None:
        audio = engine.embed_audio([log_mel(clip.samples) for clip in clips])
        prompts = [Prompt(tokenizer.prompt(len(one)), one) for one in audio]
        state = engine.start(prompts, TOKENS)
        for _ in range(TOKENS - 1):
            state = engine.step(state, engine.output_ids[state.logits.argmax(axis=1)])

    return write


def rtfx(write: Callable[[list[Audio]], None], batch: int, repeats: int) -> float:
    """Seconds of sound per second, the best of several runs."""
    rng = np.random.default_rng(0)
    shape = (batch, round(SECONDS * RATE))
    clips = [Audio(one, RATE) for one in rng.normal(0, 0.05, shape).astype(np.float32)]
    write(clips)
    times = []
    for _ in range(repeats):
        began = time.perf_counter()
        write(clips)
        times.append(time.perf_counter() - began)
    return batch * SECONDS / min(times)


if __name__ == "__main__":
    main()
