"""Speed and memory at the size of ARK-ASR-0.6B: every way to run it on a CPU, side by side.

    python benchmarks/real_size.py prepare FOLDER
    python benchmarks/real_size.py run FOLDER [--threads N] [--ways WAY ...]

``prepare`` writes a checkpoint of random weights in the published geometry, our packages of it, and
the publisher's own ONNX layout (exported and quantised with PyTorch and ONNX Runtime's tools). What
random weights say is noise, so every way writes the same number of tokens: as many as speech of
that length needs. ``run`` measures each way in a process of its own:

- int8, int4: our packages, through our engine
- official: the publisher's graphs, driven as the publisher's script drives them: fixed caches that
  the host hands over whole with every token and writes what is new into
- fp32, bf16: the checkpoint in transformers (``generate``), the model card's way on a CPU

Tasks: a clip of 10 s (33 tokens), one of 30 s (100 tokens), and a recording of ten minutes as 60
clips of 10 s. Our packages decode the clips of the recording together; ways that cannot are given
fewer clips (``--few``). Times are scaled to 60 clips: said below the table.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

sys.path += [str(Path(__file__).parent), str(Path(__file__).parent.parent / "tests")]
from mini import peak_bytes, processor

ROOT = Path(__file__).parent.parent
WAYS = ("int8", "int4", "official", "fp32", "bf16")
OURS = ("int8", "int4")
RATE = 16_000
CLIPS = 60
BATCH = 10
SHORT = (10.0, 33)
LONG = (30.0, 100)


class Ours:
    """One of our packages."""

    def __init__(self, folder: Path, threads: int) -> None:
        from ark_asr.audio import LogMel
        from ark_asr.engines import load_model

        self.engine, self.tokenizer = load_model(folder, threads=threads)
        self.log_mel = LogMel(self.tokenizer.features)

    def __call__(self, clips: list[np.ndarray], tokens: int, first: Callable[[], None]) -> None:
        from ark_asr.types import Prompt

        audio = self.engine.embed_audio([self.log_mel(clip) for clip in clips])
        prompts = [Prompt(self.tokenizer.prompt(len(a)), a) for a in audio]
        state = self.engine.start(prompts, tokens)
        first()
        for _ in range(tokens - 1):
            state = self.engine.step(state, self.engine.output_ids[state.logits.argmax(axis=1)])


class Official:
    """The publisher's graphs in the publisher's way."""

    def __init__(self, folder: Path, threads: int) -> None:
        import onnxruntime

        from ark_asr.audio import LogMel
        from ark_asr.models.config import ModelConfig
        from ark_asr.models.tokenizer import Tokenizer

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        self.sessions = {
            part: onnxruntime.InferenceSession(str(next(folder.glob(f"{part}*.onnx"))), options)
            for part in ("audio_encoder_whisper", "audio_encoder_adapter", "llm_kv", "embedding")
        }
        self.config = ModelConfig.load(folder)
        self.tokenizer = Tokenizer.load(folder, self.config)
        self.log_mel = LogMel(self.config.features)

    def __call__(self, clips: list[np.ndarray], tokens: int, first: Callable[[], None]) -> None:
        encoder, adapter, decoder, table = self.sessions.values()
        shape = next(i.shape for i in decoder.get_inputs() if i.name == "cache_key_0")
        names = [f"cache_{kind}_{i}" for i in range(self.config.decoder.layers)
                 for kind in ("key", "value")]  # fmt: skip
        for clip in clips:
            (states,) = encoder.run(None, {"audios": self.log_mel(clip)[None]})
            count = states.shape[1] // self.config.merge_factor
            merged = states[:, : count * self.config.merge_factor].reshape(1, count, -1)
            (audio,) = adapter.run(None, {"merged_audio_features": merged})
            ids = np.array(self.tokenizer.prompt(count))
            slots = ids == self.config.audio_token_id
            (embeds,) = table.run(None, {"input_ids": np.where(slots, 0, ids)[None]})
            embeds[0, slots] = audio[0]
            caches = {name: np.zeros(shape, np.float32) for name in names}
            filled = 0
            for written in range(tokens):
                new = embeds.shape[1]
                mask = np.zeros((1, shape[1]), np.int64)
                mask[:, : filled + new] = 1
                place = np.arange(filled, filled + new)
                logits, *deltas = decoder.run(
                    None, {"inputs_embeds": embeds, "attention_mask": mask,
                           "cache_position": place, **caches},
                )  # fmt: skip
                for name, delta in zip(names, deltas, strict=True):
                    caches[name][:, place] = delta
                filled += new
                if not written:
                    first()
                best = logits[0, -1].argmax()
                (embeds,) = table.run(None, {"input_ids": np.array([[best]])})


class Transformers:
    """The checkpoint with `generate`, in one precision."""

    def __init__(self, folder: Path, threads: int, precision: str) -> None:
        import torch
        from transformers import AutoModelForCausalLM, AutoProcessor

        import ark_asr.modeling.transformers  # noqa: F401 - registers the model

        torch.set_num_threads(threads)
        self.dtype = {"fp32": torch.float32, "bf16": torch.bfloat16}[precision]
        self.model = AutoModelForCausalLM.from_pretrained(folder, dtype=self.dtype).eval()
        self.processor = AutoProcessor.from_pretrained(folder)

    def __call__(self, clips: list[np.ndarray], tokens: int, first: Callable[[], None]) -> None:
        import torch

        for clip in clips:
            turn = [{"role": "user", "content": [{"type": "audio", "audio": clip},
                     {"type": "text", "text": "Please transcribe this audio."}]}]  # fmt: skip
            inputs = self.processor.apply_chat_template(
                turn, tokenize=True, add_generation_prompt=True, return_dict=True,
                return_tensors="pt", sampling_rate=RATE, audio_padding="longest",
                audio_max_length=30 * RATE,
            )  # fmt: skip
            with torch.inference_mode():
                self.model.generate(
                    **inputs, min_new_tokens=tokens, max_new_tokens=tokens, do_sample=False,
                    streamer=_First(first),
                )  # fmt: skip


class _First:
    """Told of the prompt, then of each token."""

    def __init__(self, first: Callable[[], None]) -> None:
        self._first, self._told = first, 0

    def put(self, _: object) -> None:
        self._told += 1
        if self._told == 2:
            self._first()

    def end(self) -> None:
        pass


def prepare(folder: Path) -> None:
    from ark_asr.graphs.convert import build_package

    folder.mkdir(parents=True, exist_ok=True)
    checkpoint = folder / "checkpoint"
    if not checkpoint.exists():
        script = Path(__file__).parent / "make_random_checkpoint.py"
        subprocess.run([sys.executable, script, checkpoint], check=True)
    for precision in OURS:
        if not (folder / precision).exists():
            began = time.perf_counter()
            build_package(checkpoint, folder / precision, precision=precision)
            print(f"{precision}: {time.perf_counter() - began:.0f} s")
    if not (folder / "official").exists():
        from torch_export import export_package, quantize_package

        export_package(checkpoint, folder / "plain", positions=2048)
        quantize_package(folder / "plain", folder / "official")
        shutil.rmtree(folder / "plain")


def open_way(way: str, folder: Path, threads: int) -> Ours | Official | Transformers:
    if way in OURS:
        return Ours(folder / way, threads)
    if way == "official":
        return Official(folder / way, threads)
    return Transformers(folder / "checkpoint", threads, way)


def measure(way: str, folder: Path, threads: int, many: int, few: int) -> dict[str, float]:
    sound = speech(max(SHORT[0], LONG[0]))
    began = time.perf_counter()
    ask = open_way(way, folder, threads)
    found = {"load": time.perf_counter() - began}
    short, long = (sound[: round(seconds * RATE)] for seconds, _ in (SHORT, LONG))
    ask([short[: 3 * RATE]], 3, lambda: None)  # warms up
    for name, clip, tokens in (("10", short, SHORT[1]), ("30", long, LONG[1])):
        began, firsts = time.perf_counter(), []
        ask([clip], tokens, lambda: firsts.append(time.perf_counter()))  # noqa: B023 - called now
        found |= {f"first {name}": firsts[0] - began, f"total {name}": time.perf_counter() - began}
    clips, size = (many, BATCH) if way in OURS else (few, 1)
    began = time.perf_counter()
    for _ in range(0, clips, size):
        ask([short] * size, SHORT[1], lambda: None)
    found["ten minutes"] = (time.perf_counter() - began) * CLIPS / clips
    return found | {"peak": peak_bytes(), "clips": clips}


def memory_rate(threads: int) -> float:
    """Bytes per second that so many threads read together: what a decoder's step lives from."""
    block = np.ones(2**26)  # 512 MiB, more than any cache here
    parts = np.array_split(block, threads)
    with ThreadPoolExecutor(threads) as pool:
        return block.nbytes / best_of(5, lambda: list(pool.map(np.sum, parts)))


def product_rate(threads: int) -> float:
    """Operations per second of an int8 product as large as the encoder's: 500 rows."""
    from ark_asr.engines.sessions import open_session, session_options
    from ark_asr.graphs.builder import FLOAT, DataFile, GraphBuilder
    from ark_asr.graphs.linear import Int8Linear

    rows, inner, out = 500, 1280, 5120
    with tempfile.TemporaryDirectory() as folder:
        with DataFile(Path(folder) / "weights.bin") as data:
            graph = GraphBuilder("product", data)
            x = graph.input("x", FLOAT, ["rows", inner])
            weight = np.random.default_rng(0).standard_normal((out, inner), np.float32)
            product = Int8Linear(many_rows=True)(graph, x, "weight", weight)
            graph.output(product, FLOAT, ["rows", out])
            graph.save(Path(folder) / "product.onnx")
        session = open_session(Path(folder) / "product.onnx", session_options(threads))
        feed = {"x": np.ones((rows, inner), np.float32)}
        return 2 * rows * inner * out / best_of(20, lambda: session.run(None, feed))


def best_of(count: int, task: Callable[[], object]) -> float:
    """Seconds of the fastest of so many runs, after one to warm up."""
    task()
    took = []
    for _ in range(count):
        began = time.perf_counter()
        task()
        took.append(time.perf_counter() - began)
    return min(took)


def speech(seconds: float) -> np.ndarray:
    from ark_asr.audio import load_audio

    return load_audio(ROOT / "samples" / "minute.flac").samples[: round(seconds * RATE)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=("prepare", "run", "one"))
    parser.add_argument("folder", type=Path)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=list(WAYS))
    parser.add_argument("--many", type=int, default=CLIPS, help="clips for our packages")
    parser.add_argument("--few", type=int, default=3, help="clips for the ways that take long")
    options = parser.parse_args()
    if options.what == "prepare":
        prepare(options.folder)
    elif options.what == "one":
        way = options.ways[0]
        print(json.dumps(measure(way, options.folder, options.threads, options.many, options.few)))
    else:
        table(options)


def table(options: argparse.Namespace) -> None:
    load = os.getloadavg()[0]
    machine = (f"memory is read at {memory_rate(options.threads) / 1e9:.1f} GB/s, int8 products "
               f"reach {product_rate(options.threads) / 1e12:.2f} TOP/s")  # fmt: skip
    print(machine, file=sys.stderr)
    results = {}
    for way in options.ways:
        command = [sys.executable, __file__, "one", str(options.folder), "--ways", way,
                   "--threads", str(options.threads), "--many", str(options.many),
                   "--few", str(options.few)]  # fmt: skip
        done = subprocess.run(command, check=False, capture_output=True, text=True)
        if done.returncode:
            raise SystemExit(f"{way}: {done.stderr.strip()}")
        results[way] = json.loads(done.stdout.splitlines()[-1])
        print(f"{way}: {results[way]}", file=sys.stderr)
    print(f"ARK-ASR-0.6B geometry, random weights; {processor()}, {options.threads} threads, "
          f"load before {load:.1f}, {platform.system()}, Python {platform.python_version()}\n"
          f"{machine} before the run\n"
    )  # fmt: skip
    columns = ("way", "load s", "first token s", "10 s clip s", "RTF", "30 s clip s", "RTF",
               "10 minutes s", "RTF", "peak GB")  # fmt: skip
    print("".join(f"{title:>14}" for title in columns))
    for way, found in results.items():
        cells = (way, f"{found['load']:.2f}", f"{found['first 10']:.2f}",
                 f"{found['total 10']:.2f}", f"{found['total 10'] / 10:.3f}",
                 f"{found['total 30']:.2f}", f"{found['total 30'] / 30:.3f}",
                 f"{found['ten minutes']:.1f}", f"{found['ten minutes'] / 600:.3f}",
                 f"{found['peak'] / 1e9:.2f}")  # fmt: skip
        print("".join(f"{cell:>14}" for cell in cells))
    if "int8" in results:
        best = results["int8"]
        for way in options.ways[1:]:
            ratios = [results[way][task] / best[task]
                      for task in ("total 10", "total 30", "ten minutes")]  # fmt: skip
            print(f"\n{way} takes {', '.join(f'{r:.1f}' for r in ratios)} times as long as int8 "
                  "(10 s, 30 s, ten minutes)", end="")  # fmt: skip
    print(
        f"\n\nten minutes: {CLIPS} clips; int8 and int4 measured on {options.many}, {BATCH} at a "
        f"time, the others on {options.few} one by one, and scaled"
    )


if __name__ == "__main__":
    main()
