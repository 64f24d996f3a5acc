"""A comparison as text: for a terminal, as Markdown, and as a page that works offline."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from pathlib import PurePath

from ark_asr import __version__
from ark_asr.evaluation.columns import aligned
from ark_asr.evaluation.compare.contenders import Known
from ark_asr.evaluation.compare.results import Comparison, Row
from ark_asr.evaluation.markup import bars, document, grid, scale
from ark_asr.evaluation.table import percent, sentence, span

UNKNOWN = "unknown"
_NUMBERS = ("", "runs on", "precision", "WER %", "95 %", "CER %", "95 %", "RTF", "first text s",
            "load s", "peak MiB", "failed")  # fmt: skip
_FACTS = ("", "licence", "languages", "gated", "remote code", "language told", "what")
_FEW = 3  # languages that are named; of more, their number is enough


def numbers(rows: Sequence[Row]) -> list[tuple[str, ...]]:
    """What was measured, a line for each system that ran."""
    return [_numbers(row) for row in rows if row.rates is not None]


def facts(rows: Sequence[Row]) -> list[tuple[str, ...]]:
    """What is known of each system."""
    return [
        (
            row.label,
            row.facts.licence or UNKNOWN,
            _languages(row.facts.languages),
            _yes(row.facts.gated),
            _yes(row.facts.remote_code),
            {"needs": "must be", "takes": "if known", "finds": "never"}[row.told],
            row.place,
        )
        for row in rows
    ]


def verdicts(comparison: Comparison) -> list[str]:
    """Whether each system is better than the first, and how sure that is."""
    return [
        sentence(row.label, row.wer, comparison.resampled_by)
        for row in comparison.rows
        if row.rates is not None and row.label != comparison.first
    ]


def missing(rows: Sequence[Row]) -> list[str]:
    """Systems that did not run, each with the reason and what to do about it."""
    return [
        f"{row.label}: {row.status}: {row.why}" + (f"; {row.command}" if row.command else "")
        for row in rows
        if row.rates is None
    ]


def conditions(comparison: Comparison) -> list[str]:
    """Under which all of it was measured."""
    machine, how = comparison.machine, comparison.conditions
    busy = "" if comparison.busy is None else f", load {comparison.busy:.1f} before the start"
    heard = (
        f"{comparison.recordings} recordings, {comparison.seconds:.0f} s of sound; scheme "
        f"{comparison.scheme} {comparison.scheme_version}; intervals over {comparison.resampled_by}"
    )
    threads = f"{how.threads} thread{'' if how.threads == 1 else 's'}"
    measured = (
        f"{machine.cpu}, {machine.cores} cores{busy}; {threads}, one clip of at most "
        f"{how.clip_seconds:g} s at a time, greedy, {how.warm_up} heard once more to warm up"
    )
    return [heard, measured]


def catalogue(systems: Iterable[Known]) -> str:
    """Lines for a terminal about systems that can be asked for by name."""
    head = ("name", "family", "licence", "languages", "gated", "where")
    rows = [
        (one.name, one.family, one.facts.licence or UNKNOWN, _languages(one.facts.languages),
         _yes(one.facts.gated), one.place)
        for one in systems
    ]  # fmt: skip
    return "\n".join(aligned(head, rows)) + "\n"


def text(comparison: Comparison) -> str:
    """Lines for a terminal."""
    rows = comparison.rows
    lines = aligned(_NUMBERS, numbers(rows)) if numbers(rows) else []
    lines += verdicts(comparison)
    lines += ["", *aligned(_FACTS, facts(rows)), ""]
    lines += missing(rows)
    return "\n".join([*lines, *conditions(comparison)]) + "\n"


def markdown(comparison: Comparison) -> str:
    """The same for a page of documentation."""
    parts = [_markdown(_NUMBERS, numbers(comparison.rows))] if numbers(comparison.rows) else []
    parts += ["\n", *(f"- {line}\n" for line in verdicts(comparison))]
    parts += ["\n", _markdown(_FACTS, facts(comparison.rows)), "\n"]
    parts += [f"- {line}\n" for line in missing(comparison.rows)]
    parts += ["\n", *(f"{line}.\n" for line in conditions(comparison))]
    return "".join(parts)


def page(comparison: Comparison) -> str:
    """The same as one file for a browser, with the rates as bars; it fetches nothing."""
    title = escape(f"{len(comparison.rows)} systems on {PurePath(comparison.input).name}")
    lists = [_items("Against the first", verdicts(comparison)),
             _items("Did not run", missing(comparison.rows))]  # fmt: skip
    return document(title, [
        f'<header><h1>{title}</h1><p class="quiet">{escape(f"ark-asr {__version__}")}</p></header>',
        _bars(comparison.rows),
        _wide("Measured", _NUMBERS, numbers(comparison.rows), "figures"),
        *lists,
        _wide("Known", _FACTS, facts(comparison.rows)),
        _notes(comparison.rows),
        "<footer>" + "".join(f"<p class='quiet'>{escape(line)}</p>"
                             for line in conditions(comparison)) + "</footer>",
    ])  # fmt: skip


def _numbers(row: Row) -> tuple[str, ...]:
    rates = row.rates
    assert rates is not None  # noqa: S101 - of those that ran only
    return (
        row.label,
        row.runs_on,
        row.precision or UNKNOWN,
        percent(rates.wer),
        span(rates.wer_interval),
        percent(rates.cer),
        span(rates.cer_interval),
        "-" if row.rtf is None else f"{row.rtf:.3f}",
        "-" if row.first is None else f"{row.first:.2f}",
        UNKNOWN if row.load is None else f"{row.load:.1f}",
        UNKNOWN if row.memory is None else f"{row.memory / (1 << 20):.0f}",
        str(row.failed),
    )


def _languages(codes: tuple[str, ...] | None) -> str:
    if codes is None:
        return UNKNOWN
    return " ".join(codes) if len(codes) <= _FEW else str(len(codes))


def _yes(answer: bool | None) -> str:
    return UNKNOWN if answer is None else "yes" if answer else "no"


def _markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(cell.replace('|', '/') for cell in row)} |\n" for row in lines)


def _escaped(cells: Sequence[str]) -> list[str]:
    return [escape(cell) for cell in cells]


def _section(title: str, inside: str) -> str:
    return f"<section><h2>{title}</h2>{inside}</section>"


def _wide(title: str, head: Sequence[str], rows: Sequence[Sequence[str]], kind: str = "") -> str:
    table = grid(_escaped(head), map(_escaped, rows), kind)
    return _section(title, f'<div class="scroll">{table}</div>')


def _items(title: str, lines: Sequence[str]) -> str:
    items = "".join(f"<li>{escape(line)}</li>" for line in lines)
    return _section(title, f"<ul>{items}</ul>") if items else ""


def _bars(rows: Sequence[Row]) -> str:
    found = [(row.label, row.rates) for row in rows if row.rates and row.rates.wer is not None]
    if not found:
        return ""
    return _section("Word error rate", bars("", found, scale(rates for _, rates in found)))


def _notes(rows: Sequence[Row]) -> str:
    return _items("Notes", [f"{row.label}: {row.facts.note}" for row in rows if row.facts.note])
