"""What context, and trying again, do to long recordings: errors, trouble and cost, in one run.

    python benchmarks/lectures.py MANIFEST [--tag TAG] [--language CODE] [--model NAME|PATH]

``MANIFEST`` has JSON lines with ``audio``, ``text``, ``language`` and ``tags``; recordings with the
tag are taken. Word error rates are those of the scheme ``basic`` over all words together. Repeated
words are three or more in a row that follow the same words.
"""

from __future__ import annotations

import argparse
import json
import time
from collections import Counter
from pathlib import Path

from ark_asr import Recognizer, TranscribeOptions, __version__
from ark_asr.evaluation.schemes import get_scheme

SETTINGS = {
    "tried once": TranscribeOptions(mend=False),
    "tried again": TranscribeOptions(),
    "context 8": TranscribeOptions(context=8),
    "context 32": TranscribeOptions(context=32),
}


def repeated(text: str, least: int = 3) -> int:
    """Words that follow a copy of themselves, ``least`` or more in a row."""
    words, count = text.split(), 0
    for cycle in range(1, 9):
        run = 0
        for before, word in zip(words, words[cycle:], strict=False):
            run = run + 1 if before == word else 0
            count += (run >= least) + (least - 1) * (run == least)
    return count


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("manifest", type=Path)
    parser.add_argument("--tag", default="long")
    parser.add_argument("--language", default="en")
    parser.add_argument("--model")
    parser.add_argument("--threads", type=int)
    options = parser.parse_args()
    rows = [json.loads(line) for line in options.manifest.read_text("utf-8").splitlines()]
    rows = [
        row for row in rows if options.tag in row["tags"] and row["language"] == options.language
    ]
    scheme = get_scheme("basic")
    with Recognizer.load(options.model, threads=options.threads) as recognizer:
        seconds = sum(row["duration"] for row in rows)
        print(
            f"ark-asr {__version__}, {recognizer.name}: {len(rows)} recordings, {seconds:.0f} s\n"
        )
        print(f"{'setting':<14}{'WER %':>7}{'words':>7}{'repeated':>10}{'seconds':>9}  flags")
        for name, setting in SETTINGS.items():
            began, flags = time.perf_counter(), Counter()
            errors = spoken = written = again = 0
            for row in rows:
                found = recognizer.transcribe(options.manifest.parent / row["audio"], setting)
                flags.update(flag for segment in found.segments for flag in segment.flags)
                score = scheme.score(row["text"], found.text)
                errors += score.wer_errors
                spoken += score.ref_words
                written += len(found.text.split())
                again += repeated(found.text)
            took = time.perf_counter() - began
            told = ", ".join(f"{flag} {count}" for flag, count in flags.most_common())
            rate = 100 * errors / spoken
            print(f"{name:<14}{rate:>7.1f}{written:>7}{again:>10}{took:>9.0f}  {told}", flush=True)


if __name__ == "__main__":
    main()
