"""Word error rate and cost of beam search against greedy search, by width and length penalty.

    python benchmarks/beam.py MODEL MANIFEST... [--limit N] [--repeats N] [--penalties 0 0.5 1]

- WER, with the words said in too many and left out
- oracle: WER if the best of the n-best list were always known (n is the width)
- cost: seconds of prompts and search (the encoder's are the same for all), best of the repeats,
  over those of greedy search

Every way is repeated in turn, so that a load on the machine meets all of them.
"""

from __future__ import annotations

from functools import partial

from ark_asr.decoding.beam import beam
from ark_asr.decoding.search import greedy
from ark_asr.decoding.text import clean
from ark_asr.evaluation.text import words
from clips import Bench, Found, distance, parser, wer


def main() -> None:
    arguments = parser(__doc__.splitlines()[0])
    arguments.add_argument("--widths", nargs="+", type=int, default=[1, 2, 4, 8])
    arguments.add_argument("--penalties", nargs="+", type=float, default=[0.0, 0.5, 1.0])
    arguments.add_argument("--repeats", type=int, default=2)
    options = arguments.parse_args()
    bench = Bench(options)
    ways = {"greedy": greedy} | {
        f"beam {width}, penalty {penalty:g}": partial(beam, width=width, length_penalty=penalty)
        for penalty in options.penalties
        for width in options.widths
    }
    runs = [{name: bench.find(way) for name, way in ways.items()} for _ in range(options.repeats)]
    least = {name: min(run[name].seconds for run in runs) for name in ways}
    print(
        f"\n{'':<22}{'WER %':>8}{'oracle %':>10}{'words':>8}{'empty':>7}{'seconds':>9}{'cost':>7}"
    )
    for name, found in runs[0].items():
        print(f"{name:<22}{100 * wer(bench.clips, found.words):>8.2f}"
              f"{100 * oracle(bench, found):>10.2f}{sum(map(len, found.words)):>8}"
              f"{sum(not said for said in found.words):>7}{least[name]:>9.2f}"
              f"{least[name] / least['greedy']:>7.2f}")  # fmt: skip
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
