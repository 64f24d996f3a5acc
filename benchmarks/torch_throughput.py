"""How much faster than real time PyTorch writes: batches of clips of ten seconds, on any device.

    python benchmarks/make_random_checkpoint.py random-0.6b
    python benchmarks/torch_throughput.py random-0.6b [--devices cpu cuda ...] [--batches 1 16 64]

Random weights of the 0.6B's geometry do: what they say is noise, so every clip writes exactly as
many tokens as speech of its length needs. Compared side by side: ``torch`` (on a CPU only) hands
the logits of every step to the host's search; ``torch:DEVICE`` searches where the model is;
``torch-compile:DEVICE`` does so with a compiled step, on CUDA as one graph. The best of
``--repeats`` runs counts. A first one does not; it is told by itself, for in it kernels are made.
Log-mels are made on the host in any case: the last line says how fast.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import torch

from ark_asr.audio import LogMel
from ark_asr.engines.base import Ask
from ark_asr.engines.torch import TorchEngine
from ark_asr.engines.torch_writer import TorchWriter
from ark_asr.errors import ArkError
from ark_asr.models.tokenizer import Tokenizer
from ark_asr.types import Audio, Prompt
from mini import processor

RATE, SECONDS, TOKENS = 16_000, 10.0, 33
WAYS = ("torch:DEVICE", "torch-compile:DEVICE", "torch")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument(
        "--devices", nargs="+", default=["cuda" if torch.cuda.is_available() else "cpu"]
    )
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 16, 64])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int)
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=WAYS)
    options = parser.parse_args()
    print(f"{options.checkpoint.name}, torch {torch.__version__}, {processor()}")
    print(f"clips of {SECONDS:g} s, {TOKENS} tokens each\n")
    print(f"{'':24}" + "".join(f"{f'batch {n}':>12}" for n in options.batches) + "    (RTFx)")
    for device in options.devices:
        for way in options.ways:
            if way == "torch" and device != "cpu":
                continue
            compiled = way.startswith("torch-compile")
            make = on_host if way == "torch" else partial(on_device, compiled=compiled)
            write = make(options.checkpoint, device, options.threads)
            found = [rtfx(write, batch, options.repeats) for batch in options.batches]
            speeds, firsts = zip(*found, strict=True)
            for title, values in ((way.replace("DEVICE", device), speeds), ("  first, s", firsts)):
                print(f"{title:24}" + "".join(f"{value:12.1f}" for value in values), flush=True)
        if device.startswith("cuda"):
            print(f"{'':24}{torch.cuda.get_device_name(device)}")
    log_mel, clips = LogMel(Tokenizer.load(options.checkpoint).features), sounds(8)
    took = timed(lambda: [log_mel(clip.samples) for clip in clips])
    print(f"log-mel on the host, in one thread: {8 * SECONDS / took:.0f} times real time")


class Endless(Tokenizer):
    """Knows no end: as many tokens come as are asked for."""

    @property
    def stop_ids(self) -> frozenset[int]:
        return frozenset()


def on_device(
    checkpoint: Path, device: str, threads: int | None, *, compiled: bool
) -> Callable[[list[Audio]], None]:
    loaded = TorchWriter.load(checkpoint, device, threads=threads)
    writer = TorchWriter(loaded.model, Endless.load(checkpoint), compiled=compiled)

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


def sounds(count: int) -> list[Audio]:
    rng = np.random.default_rng(0)
    shape = (count, round(SECONDS * RATE))
    return [Audio(one, RATE) for one in rng.normal(0, 0.05, shape).astype(np.float32)]


def timed(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def rtfx(write: Callable[[list[Audio]], None], batch: int, repeats: int) -> tuple[float, float]:
    """Seconds of sound per second, the best of several runs; and seconds of the first run."""
    clips = sounds(batch)
    first = timed(lambda: write(clips))
    return batch * SECONDS / min(timed(lambda: write(clips)) for _ in range(repeats)), first


if __name__ == "__main__":
    try:
        main()
    except ArkError as error:  # no such device, no compiler
        sys.exit(f"torch_throughput.py: {error}")
