"""What all pages are made of: the document with its style and policy, tables, rates as bars."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path

from ark_asr.evaluation import plots
from ark_asr.evaluation.intervals import Interval
from ark_asr.evaluation.summary import Rates

_POLICY = "default-src 'none'; style-src 'unsafe-inline'; media-src data:"
_LONGEST = 1.5  # of a bar: rates can be far above, and the others would not be seen any more


def document(title: str, sections: Iterable[str]) -> str:
    """A page of sections, each HTML already, under the reports' style and policy.

    Args:
        title: HTML already.
        sections: Empty ones are left out.
    """
    style = Path(__file__).with_name("report.css").read_text(encoding="utf-8")
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{title}</title>\n<style>\n{style}</style>\n</head>\n<body>\n"
        + "\n".join(filter(None, sections))
        + "\n</body>\n</html>\n"
    )


def grid(head: Sequence[str], rows: Iterable[Sequence[str]], kind: str = "") -> str:
    """A table of cells that are HTML already."""
    top = "".join(f"<th>{cell}</th>" for cell in head)
    body = "".join(f"<tr>{''.join(f'<td>{cell}</td>' for cell in row)}</tr>" for row in rows)
    return f'<table class="{kind}"><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table>'


def scale(parts: Iterable[Rates]) -> float:
    """The rate at the end of the bars, so that bars of several tables can be compared."""
    ends = [part.wer_interval.high if part.wer_interval else part.wer or 0.0 for part in parts]
    return min(max(ends, default=0.0), _LONGEST)


def bars(head: str, parts: Iterable[tuple[str, Rates]], most: float) -> str:
    """A table of word error rates, one line for each part that has one.

    Args:
        head: Of the names.
        parts: Names and their rates, neither of them HTML.
        most: See `scale`.
    """
    rows = [
        (f"<bdi>{escape(name)}</bdi>", plots.bar(part.wer, part.wer_interval, most),
         plots.percent(part.wer), between(part.wer_interval), f"{part.ref_words:,}",
         f"{part.rows:,}")
        for name, part in parts
        if part.wer is not None
    ]  # fmt: skip
    return grid((escape(head), "", "WER", "95 %", "words", "rows"), rows, "by")


def between(span: Interval | None) -> str:
    """Both ends in percent: "11.2 to 13.5"."""
    return "-" if span is None else f"{100 * span.low:.1f} to {100 * span.high:.1f}"
