"""Word error rate with other instructions than the one the model was trained with.

python benchmarks/instruction.py MODEL MANIFEST... [--limit N] [--instructions TEXT...]
"""

from __future__ import annotations

from ark_asr.decoding.search import greedy
from ark_asr.models.tokenizer import INSTRUCTION
from transcribed import Bench, parser, wer

OTHERS = (
    "Transcribe the audio.",
    "Please transcribe this audio into text, with punctuation.",
    "Write down what is said.",
    "",
)


def main() -> None:
    arguments = parser(__doc__.splitlines()[0])
    arguments.add_argument("--instructions", nargs="+", default=OTHERS, metavar="TEXT")
    options = arguments.parse_args()
    bench = Bench(options)
    print(f"\n{'WER %':>8}{'words':>8}  instruction")
    for instruction in (INSTRUCTION, *options.instructions):
        found = bench.find(greedy, instruction=instruction)
        print(f"{100 * wer(bench.clips, found.words):>8.2f}{sum(map(len, found.words)):>8}"
              f"  {instruction!r}")  # fmt: skip
    print(f"\n{sum(len(clip.words) for clip in bench.clips)} words were said")


if __name__ == "__main__":
    main()
