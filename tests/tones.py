"""A language of four tones: something that a tiny model can learn to hear in a minute."""

from __future__ import annotations

import json
import wave

import numpy as np

import checkpoints
from ark_asr.training.journal import read_log

RATE = 16_000
TONES = {"a": 300.0, "b": 900.0, "c": 2_000.0, "d": 4_000.0}
_SECTIONS = {
    "data": ("workers", "dev", "dev_limit"),
    "optim": ("accumulate", "method", "ema", "explode", "give_up", "ctc_weight", "ctc_final"),
    "adapt": ("rank", "freeze"),
    "scale": ("shard", "recompute"),
}


def tones(text):
    """The sound of a text."""
    time = np.arange(RATE // 5) / RATE
    gap = np.zeros(RATE // 20)
    pieces = [np.concatenate([0.3 * np.sin(2 * np.pi * TONES[c] * time), gap]) for c in text]
    return np.concatenate([gap, *pieces])


def write_wav(path, samples):
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE)
        file.writeframes((samples * 32767).astype("<i2").tobytes())


def write_material(folder):
    """A start folder without weights, and a manifest of tones in one long file."""
    start = folder / "start"
    start.mkdir()
    config = checkpoints.config_dict(encoder_layers=1, layers=1, max_positions=256)
    (start / "config.json").write_text(json.dumps(config))
    checkpoints.write_tokenizer(start)
    rng = np.random.default_rng(0)
    rows, sound, begin = [], [], 0.0
    for _ in range(48):
        text = "".join(rng.choice(list(TONES), rng.integers(1, 4)))
        sound.append(tones(text))
        end = begin + len(sound[-1]) / RATE
        rows.append({"audio": "tones.wav", "text": text, "begin_time": begin, "end_time": end})
        begin = end
    write_wav(folder / "tones.wav", np.concatenate(sound))
    (folder / "train.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return folder


def recipe(material, output, *, steps, dev=False, rate=None, **values):
    """Write a recipe; values are TOML, each in the table where its key belongs."""
    path = output.parent / f"{output.name}.toml"
    tables = {name: [] for name in ("", *_SECTIONS)}
    for name, value in values.items():
        table = next((t for t, names in _SECTIONS.items() if name in names), "")
        tables[table].append(f"{name} = {value}")
    manifest = material / "train.jsonl"
    if dev:
        tables["data"] += [f"dev = ['{manifest}']", "dev_limit = 24"]
    if rate:
        tables["optim"] += [f"matrix_rate = {rate}", f"other_rate = {rate}"]
    start = values.get("start", f"'{material / 'start'}'")
    lines = [] if "start" in values else [f"start = {start}"]
    lines += [f"output = '{output}'", "precision = 'fp32'", "threads = 1", "log_every = 2"]
    lines += tables[""]
    lines += ["[data]", "batch_seconds = 4.0", "ramp_steps = 6", *tables["data"]]
    lines += ["workers = 0"] if "workers" not in values else []
    lines += ["[[data.train]]", f"manifest = '{manifest}'"]
    lines += ["[optim]", f"steps = {steps}", "warmup = 4", *tables["optim"]]
    lines += ["[adapt]", *tables["adapt"], "[scale]", *tables["scale"]]
    path.write_text("\n".join(lines))
    return path


def logged(output):
    """The lines of a log without what depends on the clock."""
    timed = {"rtfx", "waiting"}
    return [
        {name: value for name, value in row.items() if name not in timed}
        for row in read_log(output / "log.jsonl")
    ]
