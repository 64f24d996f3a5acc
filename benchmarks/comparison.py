"""`ark-asr compare` with what is here: ark-mini, two engines, two precisions, and stand-ins.

    python benchmarks/comparison.py MANIFEST [--limit N] [--split NAME] [--threads N]

The stand-ins are tiny models with random weights, each of the real class of its family. Their error
rates mean nothing; that they have any shows that the family runs. Systems whose weights are not on
this computer are listed with the command that gets them. The table is written to
``benchmarks/results/comparison.md``.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
RESULT = ROOT / "benchmarks" / "results" / "comparison.md"
WANTED = ("ark-asr-0.6b", "qwen3-asr-0.6b", "whisper-large-v3", "cohere-transcribe")
sys.path.insert(0, str(ROOT / "tests"))


def sample(manifest: Path, split: str, limit: int, target: Path) -> Path:
    """Every so manieth record of a split, with absolute paths."""
    rows = [json.loads(line) for line in manifest.read_text(encoding="utf-8").splitlines()]
    rows = [row for row in rows if not split or row.get("split") == split]
    chosen = rows[:: max(len(rows) // limit, 1)][:limit]
    for row in chosen:
        row["audio"] = str((manifest.parent / row["audio"]).resolve())
    target.write_text("".join(json.dumps(row) + "\n" for row in chosen), encoding="utf-8")
    return target


def stand_ins(folder: Path) -> list[str]:
    """One of each family that is installed."""
    import stand_ins as make

    whisper = make.whisper(folder / "whisper")
    made = [
        ("Whisper", "whisper", whisper),
        ("Qwen3-ASR", "qwen3-asr", make.qwen3_asr(folder / "qwen3")),
        ("Cohere ASR", "cohere-asr", make.cohere_asr(folder / "cohere")),
        ("GLM-ASR", "glm-asr", make.glm_asr(folder / "glm")),
        ("Moonshine", "moonshine", make.moonshine(folder / "moonshine")),
        ("Moonshine Streaming", "moonshine", make.moonshine_streaming(folder / "streaming")),
        ("Parakeet TDT", "parakeet", make.parakeet(folder / "parakeet")),
        ("onnx-asr", "onnx-asr", make.onnx_asr(folder / "onnx")),
    ]
    try:
        made.append(
            ("faster-whisper", "faster-whisper", make.faster_whisper(folder / "ct2", whisper))
        )
    except ModuleNotFoundError:
        print("faster-whisper is not installed: no stand-in of it")
    return [f"random {label}={family}:{place}" for label, family, place in made]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("manifest", type=Path)
    parser.add_argument("--limit", type=int, default=40)
    parser.add_argument("--split", default="test")
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()

    from ark_asr.graphs.convert import build_package

    checkpoint = ROOT / "checkpoints" / "ark-mini"
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        rows = sample(options.manifest, options.split, options.limit, folder / "rows.jsonl")
        build_package(checkpoint, folder / "fp32", precision="fp32")
        models = [
            "ark-mini", f"ark-mini fp32={folder / 'fp32'}", f"ark-mini PyTorch={checkpoint}",
            *stand_ins(folder), *WANTED,
        ]  # fmt: skip
        command = [
            sys.executable, "-m", "ark_asr", "compare", "--models", *models, "--input", str(rows),
            "--output", str(folder / "out"), "--threads", str(options.threads),
        ]  # fmt: skip
        subprocess.run(command, check=False)  # 1: not all ran, which the table says
        table = (folder / "out" / "comparison.md").read_text(encoding="utf-8")
        for place in (folder, ROOT):
            table = table.replace(f"{place}/", "")
        RESULT.write_text(table, encoding="utf-8")
    print(f"written: {RESULT}")


if __name__ == "__main__":
    main()
