"""How well a model writes down all English test sets of the speech data, clean and noisy.

    python benchmarks/english_sets.py DATA [--model NAME|PATH] [--threads N] [--sets NAME...]

DATA is the folder with ``digits/``, ``commands_and_sentences/`` and ``eval/``. Everything is heard
in one run of ``ark-asr evaluate`` and scored under two schemes; written are
``benchmarks/results/NAME.json`` and ``docs/results.md``. With ``--sets`` only those sets are heard,
and the page is printed instead.

Sets marked "in babble" are ours: each recording with six Flemish speakers at once, 10 dB softer.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import wave
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ark_asr.audio import load_audio
from ark_asr.writers import write_atomic

ROOT = Path(__file__).resolve().parent.parent
SNR = 10.0  # dB
VOICES = 6
RATE = 16_000


@dataclass(frozen=True)
class TestSet:
    """Recordings of one source.

    Attributes:
        source: What the manifest's ``source`` begins with.
        babble: Hear it once more with babble.
    """

    name: str
    folder: str
    split: str
    source: str
    babble: bool = False


SETS = (
    TestSet("FSDD, single digits", "digits", "test", "FSDD", babble=True),
    TestSet("speechocean762, digit strings", "digits", "test", "speechocean762"),
    TestSet("speechocean762, sentences", "commands_and_sentences", "test", "speechocean762",
            babble=True),
    TestSet("LibriSpeech, one reader", "commands_and_sentences", "test", "LibriSpeech",
            babble=True),
    TestSet("Common Voice, mini_cv", "commands_and_sentences", "test", "Common Voice",
            babble=True),
    TestSet("Common Voice, others", "eval", "eval", "Common Voice EN"),
    TestSet("Common Voice in kitchen noise", "eval", "eval", "Common Voice EN + Picovoice"),
    TestSet("FLEURS", "eval", "eval", "FLEURS"),
    TestSet("LibriVox", "eval", "eval", "LibriVox"),
    TestSet("LJ Speech", "eval", "eval", "LJ Speech"),
    TestSet("Earnings-22, telephone", "eval", "eval", "Earnings-22"),
    TestSet("home commands", "eval", "eval", "speech-to-phrase"),
)  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--model", default="ark-mini")
    parser.add_argument("--threads", type=int)
    parser.add_argument("--sets", nargs="+", metavar="NAME", help="only these")
    options = parser.parse_args()
    chosen = [one for one in SETS if options.sets is None or one.name in options.sets]
    if len(chosen) != len(options.sets or SETS):
        raise SystemExit(f"sets are: {'; '.join(one.name for one in SETS)}")
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as scratch:
        manifest = write_manifest(options.data, chosen, Path(scratch))
        found = {"load": load, **evaluate(manifest, options.model, options.threads)}
    text = page(found)
    if options.sets:
        print(text)
        return
    name = found["leaderboard"]["model"]["name"]
    target = ROOT / "benchmarks" / "results" / f"{name}.json"
    write_atomic(target, json.dumps(found, ensure_ascii=False, indent=1) + "\n")
    write_atomic(ROOT / "docs" / "results.md", text)


def write_manifest(data: Path, sets: list[TestSet], scratch: Path) -> Path:
    """One manifest of all sets; noisy recordings are made beside it."""
    lines = []
    babble = None
    for one in sets:
        for number, row in enumerate(rows_of(data, one)):
            base = {key: row[key] for key in ("speaker", "duration")}
            text = row.get("text_norm") or row["text"]
            line = {"audio": str(data / one.folder / row["audio"]), "text": text, **base}
            lines.append({**line, "set": one.name})
            if one.babble:
                babble = make_babble(data) if babble is None else babble
                noisy = scratch / f"{len(lines)}.wav"
                mix(Path(line["audio"]), babble, number, noisy)
                lines.append({**line, "audio": str(noisy), "set": f"{one.name}, in babble"})
    manifest = scratch / "test.jsonl"
    manifest.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    return manifest


def rows_of(data: Path, one: TestSet) -> Iterator[dict]:
    """Its English rows, each text by each speaker once; copies in other formats are left out."""
    seen = set()
    lines = (data / one.folder / "manifest.jsonl").read_text(encoding="utf-8").splitlines()
    for row in map(json.loads, lines):
        key = (row["text"], row["speaker"], row["audio"] if one.folder == "digits" else "")
        plain = one.source.endswith("Picovoice") or not row.get("derived")
        if (row["language"], row["split"]) != ("en", one.split) or not plain or key in seen:
            continue
        if row["source"].startswith(one.source) and row.get("reference_quality", "")[:2] != "un":
            seen.add(key)
            yield row


def make_babble(data: Path) -> np.ndarray:
    """Half a minute of six Flemish recordings at once, of equal loudness."""
    folder = data / "commands_and_sentences"
    rows = map(json.loads, (folder / "manifest.jsonl").read_text(encoding="utf-8").splitlines())
    files = [folder / row["audio"] for row in rows if row["language"] == "nl-BE"]
    length = 30 * RATE
    voices = []
    for voice in range(VOICES):
        parts, have = [], 0
        for file in files[voice::VOICES]:
            parts.append(load_audio(file).samples)
            have += len(parts[-1])
            if have >= length:
                break
        sound = np.concatenate(parts)[:length]
        voices.append(sound / np.sqrt(np.mean(sound**2)))
    return np.sum(voices, axis=0)


def mix(source: Path, babble: np.ndarray, number: int, target: Path) -> None:
    clean = load_audio(source).samples
    noise = np.resize(np.roll(babble, -number * RATE), len(clean))
    factor = np.sqrt(np.mean(clean**2) / np.mean(noise**2)) * 10 ** (-SNR / 20)
    sound = clean + factor * noise
    sound *= min(1.0, 0.99 / np.abs(sound).max())
    with wave.open(str(target), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE)
        file.writeframes((sound * 32767).astype("<i2").tobytes())


def evaluate(manifest: Path, model: str, threads: int | None) -> dict:
    """Summaries under both schemes, of one run."""
    found = {}
    for scheme in ("leaderboard", "basic"):
        output = manifest.with_name(f"{scheme}.jsonl")
        command = [sys.executable, "-m", "ark_asr", "evaluate", "--input", str(manifest),
                   "--output", str(output), "--scheme", scheme, "--language", "en",
                   "--by", "set"]  # fmt: skip
        if found:
            command += [
                "--predictions",
                str(manifest.with_name("leaderboard.jsonl.predictions.jsonl")),
            ]
        else:
            command += ["--model", model, *(["--threads", str(threads)] if threads else [])]
        if subprocess.run(command, check=False, stdout=subprocess.DEVNULL).returncode:
            raise SystemExit(f"could not be scored: {' '.join(command)}")
        summary = json.loads(output.with_name(f"{output.name}.summary.json").read_text())
        found[scheme] = {key: summary[key] for key in (
            "scheme", "scheme_version", "rates", "by", "speed", "model", "machine"
        )}  # fmt: skip
    return found


PAGE = """# Results of {model[name]}

Written by `benchmarks/english_sets.py`; do not edit. The sets are the test and evaluation parts of
the speech data, and those in babble the same with six other voices at once, 10 dB softer. WER under
the schemes `leaderboard` {main[scheme_version]} and `basic` {basic[scheme_version]} of
[`ark-asr evaluate`](evaluation.md); intervals by bootstrap over recordings.

| set | recordings | words | WER % | 95 % | WER % (basic) | CER % (basic) |
| --- | ---: | ---: | ---: | ---: | ---: | ---: |
{rows}

- Model: {model[name]} {model[precision]}, sha256 `{model[sha256]}`
- Speed: {minutes:.1f} min of sound in {spent:.1f} min, RTFx {speed[rtfx]:.1f}; load of the machine
  before: {load:.1f}
- Machine: {machine[cpu]}, {machine[cores]} cores, {machine[system]}
- Versions: {versions}
"""


def page(found: dict) -> str:
    """The results as a page of the documentation."""
    main, basic = found["leaderboard"], found["basic"]
    parts = {**main["by"]["set"], "all": main["rates"]}
    others = {**basic["by"]["set"], "all": basic["rates"]}
    speed, machine = main["speed"], main["machine"]
    return PAGE.format(
        main=main,
        basic=basic,
        model=main["model"],
        machine=machine,
        speed=speed,
        load=found["load"],
        minutes=speed["audio_seconds"] / 60,
        spent=speed["seconds"] / 60,
        versions=", ".join(f"{name} {version}" for name, version in machine["versions"].items()),
        rows="\n".join(row(name, rates, others[name]) for name, rates in parts.items()),
    )


def row(name: str, rates: dict, basic: dict) -> str:
    span = rates["wer_interval"]
    between = f"{100 * span['low']:.1f} to {100 * span['high']:.1f}" if span else ""
    cells = (name, f"{rates['rows']:,}", f"{rates['ref_words']:,}", f"{100 * rates['wer']:.1f}",
             between, f"{100 * basic['wer']:.1f}", f"{100 * basic['cer']:.1f}")  # fmt: skip
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    main()
