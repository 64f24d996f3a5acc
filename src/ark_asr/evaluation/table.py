"""A summary as text for a terminal."""

from __future__ import annotations

from ark_asr.errors import printable
from ark_asr.evaluation.columns import aligned
from ark_asr.evaluation.intervals import Difference, Interval
from ark_asr.evaluation.summary import Rates, Summary

_HEAD = ("", "WER %", "95 %", "CER %", "95 %", "formatted", "S", "D", "I", "words", "chars", "rows",
         "empty", "errors")  # fmt: skip
_MOST = 5  # confusions in the table


def table(summary: Summary) -> str:
    """Lines of at most a few columns; numbers in percent with two decimals."""
    rows = [_line("all", summary.rates)]
    for key, parts in summary.by.items():
        rows += [_line(f"{key}={name}", part) for name, part in parts.items()]
    if summary.comparison is not None:
        rows.append(_line("compared", summary.comparison.rates))
    how = f"scheme {summary.scheme} {summary.scheme_version}; intervals over {summary.resampled_by}"
    lines = [how, *_words(summary)]
    if summary.speed is not None:
        speed = summary.speed
        lines.append(f"{speed.audio_seconds:.1f} s of audio in {speed.seconds:.1f} s, "
                     f"RTFx {speed.rtfx:.2f}, {summary.machine.cpu}, "
                     f"{summary.machine.cores} cores")  # fmt: skip
    if summary.comparison is not None:
        found = summary.comparison
        lines.append(sentence(found.predictions, found.wer, summary.resampled_by))
    lines = [*aligned(_HEAD, rows, numbers=True), *map(printable, lines)]
    return "\n".join(lines) + "\n"


def _line(name: str, rates: Rates) -> tuple[str, ...]:
    edits = rates.word_edits
    numbers = (edits.substitutions, edits.deletions, edits.insertions, rates.ref_words,
               rates.ref_chars, rates.rows, rates.empty_predictions, rates.errors)  # fmt: skip
    return (
        name,
        percent(rates.wer),
        span(rates.wer_interval),
        percent(rates.cer),
        span(rates.cer_interval),
        percent(rates.formatted_wer),
        *(f"{number:,}" for number in numbers),
    )


def _words(summary: Summary) -> list[str]:
    """Lines about single words, where something is known of them."""
    lines = []
    confusions = summary.mistakes.confusions[:_MOST]
    if confusions:
        pairs = (f"{one.reference} > {one.hypothesis} ({one.count})" for one in confusions)
        lines.append(f"said > written: {', '.join(pairs)}")
    if summary.word_times is not None:
        times = summary.word_times
        lines.append(
            f"word starts {1000 * times.start:.0f} ms off on average, "
            f"{100 * times.near[1]:.0f} % within 100 ms ({times.words:,} words)"
        )
    if summary.calibration is not None:
        found = summary.calibration
        lines.append(
            f"confidence {100 * found.error:.1f} points from the share of right words on average "
            f"({found.words:,} words)"
        )
    return lines


def sentence(name: str, found: Difference | None, over: str = "utterances") -> str:
    """Whether other predictions are better, and how sure that is.

    Args:
        name: Of the other predictions.
        found: ``None`` where there are too few to tell.
        over: What the interval is drawn over: utterances, or a field of the manifest.
    """
    if found is None:
        units = over if over == "utterances" else f"values of {over}"
        return f"{name}: cannot be compared; that takes two {units} with words at least"
    points, low, high = (
        100 * value for value in (found.difference, found.interval.low, found.interval.high)
    )
    if low <= 0 <= high:
        span = f"WER {points:+.2f} points, 95 % {low:+.2f} to {high:+.2f}"
        return f"{name}: no difference that these data can show ({span})"
    word = "better" if points < 0 else "worse"
    ends = sorted((abs(low), abs(high)))
    span = f"95 % {ends[0]:.2f} to {ends[1]:.2f}"
    return f"{name} is {word} by {abs(points):.2f} points of WER ({span})"


def percent(rate: float | None) -> str:
    """With two decimals, without a sign: "12.34"."""
    return "-" if rate is None else f"{100 * rate:.2f}"


def span(interval: Interval | None) -> str:
    """Both ends of an interval in percent: "11.20-13.50"."""
    return "-" if interval is None else f"{100 * interval.low:.2f}-{100 * interval.high:.2f}"
