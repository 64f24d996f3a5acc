"""Where a package's time and memory go: each stage, then the operators of each graph.

    python benchmarks/stages.py PACKAGE [--threads N] [--seconds S] [--batch N] [--operators]

Stages run in the order in which a program would meet them, so the memory of each is what was ever
resident up to its end. ``--operators`` profiles (which costs time of its own) and shows the shares
of the operators in the encoder, a prompt and a step (of both batch sizes, unless ``--batch 1``).
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections import Counter, defaultdict
from pathlib import Path

import onnxruntime as ort

from ark_asr.audio import LogMel, load_audio
from ark_asr.engines import graph, load_model
from ark_asr.types import Prompt
from mini import peak_bytes, processor

SOUND = Path(__file__).parent.parent / "samples" / "minute.flac"
STEPS = 16
DECODER_BEGINS = "SimplifiedLayerNormalization"  # the first node of its runs, and once in each


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
        for graph in (engine._encoder, engine._decoder):
            show_operators(graph.end_profiling())
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


def show_operators(path: str) -> None:
    """The operators of each kind of run, in the mean of its runs."""
    events = json.loads(Path(path).read_text())
    nodes = [event for event in events
             if event.get("cat") == "Node" and event["name"].endswith("kernel_time")]  # fmt: skip
    spent: defaultdict[str, Counter[str]] = defaultdict(Counter)
    kind = "encoder"
    runs = Counter({kind: sum(event["name"] == "model_run" for event in events)})
    for event in sorted(nodes, key=lambda event: event["ts"]):
        operator = event["args"]["op_name"]
        if operator == DECODER_BEGINS:
            ((_, new, _),) = event["args"]["input_type_shape"][0].values()
            kind = "step" if new == 1 else "prompt"
            runs[kind] += 1
        if operator != "If":  # what is in it is counted by itself
            spent[kind][operator] += event["dur"]
    for kind, operators in spent.items():
        total = operators.total()
        print(f"\n{kind}, mean of {runs[kind]}: {total / runs[kind] / 1e3:.1f} ms in its nodes")
        for operator, duration in operators.most_common(12):
            print(f"{operator:38}{duration / runs[kind] / 1e3:10.2f} ms{duration / total:7.1%}")


if __name__ == "__main__":
    main()
