"""Transcribe the samples with the embedded model and say whether the words are right.

``make demo`` runs this. Each recording has its words beside it in a text file of the same name.
"""

import re
import sys
from difflib import SequenceMatcher
from pathlib import Path

import ark_asr

HERE = Path(__file__).parent
_ALLOWED = 0.05


def words(text: str) -> list[str]:
    """Lower case, without punctuation."""
    return re.findall(r"[^\W_]+(?:'[^\W_]+)*", text.lower())


def main() -> int:
    """0 if at most one word in twenty is wrong."""
    recordings = sorted(HERE.glob("*.flac"))
    if not recordings:
        sys.exit(f"there are no recordings in {HERE}")
    wrong = said = 0
    with ark_asr.load() as model:
        for recording in recordings:
            expected = recording.with_suffix(".txt").read_text(encoding="utf-8")
            transcript = model.transcribe(recording)
            blocks = SequenceMatcher(a=words(expected), b=words(transcript.text), autojunk=False)
            same = sum(block.size for block in blocks.get_matching_blocks())
            missed = max(len(words(expected)), len(words(transcript.text))) - same
            wrong, said = wrong + missed, said + len(words(expected))
            print(f"\n{recording.name} ({transcript.duration:.1f} s)")
            print(f"  is said   {' '.join(expected.split())}")
            print(f"  is heard  {transcript.text}")
            took = transcript.timings.total if transcript.timings else 0.0
            verdict = (
                "all words right"
                if not missed
                else f"{missed} of {len(words(expected))} words differ"
            )
            print(f"  {verdict}, in {took:.2f} s with {transcript.model}")
    return 1 if wrong > _ALLOWED * said else 0


if __name__ == "__main__":
    sys.exit(main())
