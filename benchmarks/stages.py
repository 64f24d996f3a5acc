"""Where a package's time and memory go: each stage, then the operators of each graph.

    python benchmarks/stages.py PACKAGE [--threads N] [--seconds S] [--batch N] [--operators]

Stages run in the order in which a program would meet them, so the memory of each is what was ever
resident up to its end. ``--operators`` profiles (which costs time of its own) and shows the shares
of the operators in the encoder, the prompt and one step.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections import Counter
from pathlib import Path

import numpy as np
import onnxruntime as ort

from ark_asr.audio import LogMel, load_audio
from ark_asr.engines import graph, load_model
from ark_asr.types import Prompt
from mini import peak_bytes, processor

SOUND = Path(__file__).parent.parent / "samples" / "minute.flac"
STEPS = 16


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("package", type=Path)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seconds", type=float, nargs="+", default=[10.0, 30.0])
    parser.add_argument("--batch", type=int, default=10)
    parser.add_argument("--operators", action="store_true")
    options = parser.parse_args()
    folder = tempfile.TemporaryDirectory()
    if options.operators:
        profile_into(folder.name)
    print(f"{options.package.name}, {options.threads} threads, {processor()}\n")
    clock = Clock()
    engine, tokenizer = load_model(options.package, threads=options.threads)
    clock("load")
    log_mel, sound = LogMel(tokenizer.features), load_audio(SOUND).samples
    lengths = [one for one in options.seconds if one <= tokenizer.features.clip_seconds]
    mels = [log_mel(sound[: round(seconds * 16_000)]) for seconds in lengths]
    clock("log-mel")
    for seconds, mel in zip(lengths, mels, strict=True):
        (audio,) = engine.embed_audio([mel])
        clock(f"encoder, {seconds:g} s")
        for rows in (1, options.batch):
            prompt = Prompt(tokenizer.prompt(len(audio)), audio)
            state = engine.start([prompt] * rows, STEPS)
            clock(f"{rows} prompts of {len(prompt.token_ids)}")
            for _ in range(STEPS):
                state = engine.step(state, engine.output_ids[state.logits.argmax(axis=1)])
            clock(f"a step of {rows}", STEPS)
    if options.operators:
        for name, session in (("encoder", engine._encoder), ("decoder", engine._decoder)):
            show_operators(name, session.end_profiling())
    folder.cleanup()


class Clock:
    """Prints what each stage took since the last one."""

    def __init__(self) -> None:
        print(f"{'':24}{'seconds':>10}{'peak MiB':>10}")
        self._began = time.perf_counter()

    def __call__(self, stage: str, times: int = 1) -> None:
        took = (time.perf_counter() - self._began) / times
        print(f"{stage:24}{took:10.3f}{peak_bytes() / 2**20:10.0f}", flush=True)
        self._began = time.perf_counter()


def profile_into(folder: str) -> None:
    """Let the runtime write down every node of every graph that is opened from now on."""
    usual = graph.session_options

    def profiled(threads: int) -> ort.SessionOptions:
        options = usual(threads)
        options.enable_profiling = True
        options.profile_file_prefix = f"{folder}/graph"
        return options

    graph.session_options = profiled


def show_operators(name: str, path: str) -> None:
    spent: Counter[str] = Counter()
    for event in json.loads(Path(path).read_text()):
        if event.get("cat") == "Node" and event["name"].endswith("kernel_time"):
            spent[event["args"]["op_name"]] += event["dur"]
    del spent["If"]  # what is in it is counted by itself
    total = np.sum(list(spent.values()))
    print(f"\n{name}")
    for operator, duration in spent.most_common(12):
        print(f"{operator:38}{duration / 1e6:10.3f} s{duration / total:7.1%}")


if __name__ == "__main__":
    main()
