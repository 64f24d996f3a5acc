"""Word error rate and cost of beam search against greedy search, by width and length penalty.

    python benchmarks/beam.py MODEL MANIFEST... [--limit N] [--penalties 0 0.5 1]

- WER, with the words said in too many and left out
- oracle: WER if the best of the n-best list were always known (n is the width)
- seconds: of processor time, for prompts and search; the encoder's are the same for all
- cost: these over those of greedy search
"""

from __future__ import annotations

from functools import partial

from ark_asr.decoding.beam import beam
from ark_asr.decoding.search import greedy
from ark_asr.decoding.text import clean
from ark_asr.evaluation.text import words
from transcribed import Bench, Found, distance, parser, wer


def main() -> None:
    arguments = parser(__doc__.splitlines()[0])
    arguments.add_argument("--widths", nargs="+", type=int, default=[1, 2, 4, 8])
    arguments.add_argument("--penalties", nargs="+", type=float, default=[0.0, 0.5, 1.0])
    options = arguments.parse_args()
    bench = Bench(options)
    ways = {"greedy": greedy} | {
        f"beam {width}, penalty {penalty:g}": partial(beam, width=width, length_penalty=penalty)
        for penalty in options.penalties
        for width in options.widths
    }
    print(
        f"\n{'':<22}{'WER %':>8}{'oracle %':>10}{'words':>8}{'empty':>7}{'seconds':>9}{'cost':>7}"
    )
    usual = None
    for name, way in ways.items():
        found = bench.find(way)
        usual = usual or found.seconds
        print(f"{name:<22}{100 * wer(bench.clips, found.words):>8.2f}"
              f"{100 * oracle(bench, found):>10.2f}{sum(map(len, found.words)):>8}"
              f"{sum(not said for said in found.words):>7}{found.seconds:>9.2f}"
              f"{found.seconds / usual:>7.2f}")  # fmt: skip
    print(f"\nwords: written; {sum(len(clip.words) for clip in bench.clips)} were said")


def oracle(bench: Bench, found: Found) -> float:
    errors = 0
    for clip, best in zip(bench.clips, found.hypotheses, strict=True):
        readings = [best, *best.alternatives]
        texts = (words(clean(bench.text.decode(one.token_ids))) for one in readings)
        errors += min(distance(clip.words, text) for text in texts)
    return errors / sum(len(clip.words) for clip in bench.clips)


if __name__ == "__main__":
    main()
