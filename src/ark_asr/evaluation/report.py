"""A scored set as one HTML page that works offline: no scripts, nothing fetched."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from pathlib import Path

from ark_asr import __version__
from ark_asr.batch.records import as_number
from ark_asr.errors import AudioError
from ark_asr.evaluation import plots
from ark_asr.evaluation.alignment import Pair, align
from ark_asr.evaluation.clips import MOST_SECONDS, data_uri
from ark_asr.evaluation.intervals import Interval
from ark_asr.evaluation.markup import bars, between, document, grid, scale
from ark_asr.evaluation.rows import Scored, worst_first
from ark_asr.evaluation.summary import Rates, Summary
from ark_asr.evaluation.table import sentence
from ark_asr.evaluation.wordtimes import confidence_of

_WORST = 50
_MOST_VALUES = 40  # of a field
_MOST_WORDS = 20


def page(scored: Sequence[Scored], summary: Summary, *, audio: bool = True) -> str:
    """The whole page.

    Args:
        scored: All rows.
        summary: Of the same rows.
        audio: Put the sound of the worst rows into the page, so that they can be heard.
    """
    name = summary.model.name if summary.model else Path(summary.predictions).name
    title = escape(f"{name} on {Path(summary.input).name}")
    sections = [
        _head(title, summary, audio=audio),
        _numbers(summary),
        _compared(summary),
        *_breakdowns(summary),
        _distribution(scored),
        _words(summary),
        _mistakes(summary),
        _worst(scored, audio=audio),
        _how(summary),
    ]
    return document(title, sections)


def _head(title: str, summary: Summary, *, audio: bool) -> str:
    model = summary.model
    parts = [f"scheme {summary.scheme} {summary.scheme_version}"]
    if model is not None:
        parts.append(f"{model.name} {model.precision} ({model.sha256[:12]})")
    parts.append(f"ark-asr {__version__}")
    note = (
        "This file holds what was said, and the voices of the worst clips. Give it only to people "
        "who may hear them; <code>--no-audio</code> leaves the voices out."
        if audio
        else "This file holds what was said; the voices were left out."
    )
    return (
        f'<header><h1>{title}</h1><p class="quiet">{escape(" · ".join(parts))}</p>'
        f'<p class="note">{note}</p></header>'
    )


def _numbers(summary: Summary) -> str:
    rates, edits = summary.rates, summary.rates.word_edits
    cards = [
        _card("Word error rate", rates.wer, rates.wer_interval),
        _card("Character error rate", rates.cer, rates.cer_interval),
    ]
    if rates.formatted_wer is not None:
        label = "With case and punctuation"
        cards.append(_card(label, rates.formatted_wer, rates.formatted_interval))
    if summary.speed is not None:
        cards.append(
            f'<div class="card"><h2>Speed</h2><b>{summary.speed.rtfx:.1f} x</b>'
            f"<span>{summary.speed.audio_seconds / 60:.1f} min of sound in "
            f"{summary.speed.seconds:.0f} s (RTFx)</span></div>"
        )
    counts = [
        ("recordings", rates.rows), ("words", rates.ref_words),
        ("substituted", edits.substitutions), ("left out", edits.deletions),
        ("made up", edits.insertions), ("without any text", rates.empty_predictions),
        ("not readable", rates.errors),
    ]  # fmt: skip
    line = " · ".join(f"{count:,} {name}" for name, count in counts)
    return f'<section><div class="cards">{"".join(cards)}</div><p>{line}</p></section>'


def _card(label: str, rate: float | None, span: Interval | None) -> str:
    value = "-" if rate is None else plots.percent(rate)
    sure = f"95 %: {between(span)}" if span else "no interval"
    return f'<div class="card"><h2>{label}</h2><b>{value}</b><span>{sure}</span></div>'


def _compared(summary: Summary) -> str:
    found = summary.comparison
    if found is None:
        return ""
    parts = [(summary.predictions, summary.rates), (found.predictions, found.rates)]
    verdict = sentence(found.predictions, found.wer, summary.resampled_by)
    return (
        f"<section><h2>Compared</h2><p><b>{escape(verdict)}</b></p>"
        f"{bars('', parts, scale(rates for _, rates in parts))}</section>"
    )


def _breakdowns(summary: Summary) -> list[str]:
    """All on one scale, so that bars of different fields can be compared."""
    most = scale(part for values in summary.by.values() for part in values.values())
    return [_breakdown(key, values, most) for key, values in summary.by.items()]


def _breakdown(key: str, parts: dict[str, Rates], most: float) -> str:
    shown = [(name, part) for name, part in parts.items() if part.wer is not None][:_MOST_VALUES]
    left = len(parts) - len(shown)
    rest = f'<p class="quiet">{left} more are in the summary.</p>' if left else ""
    return f"<section><h2>By {escape(key)}</h2>{bars(key, shown, most)}{rest}</section>"


def _distribution(scored: Sequence[Scored]) -> str:
    """Errors over duration and over confidence, as far as they are known."""
    heard = [one for one in scored if one.score.ref_words and one.predicted.error is None]
    text = ""
    for value, label, unit in (
        (_duration, "duration of the recording", " s"),
        (confidence_of, "confidence", ""),
    ):
        points = [
            plots.Point(x, one.score.wer_errors, one.score.ref_words)
            for one in heard
            if (x := value(one)) is not None
        ]
        if len(points) > 1:
            text += plots.scatter(points, label, unit)
    if not text:
        return ""
    return (
        f'<section><h2>Where errors are</h2><div class="plots">{text}</div>'
        '<p class="quiet">A faint dot is one recording, at the top edge if it is worse than that. '
        "A big dot is a group of neighbours together, with its 95 % interval.</p></section>"
    )


def _duration(one: Scored) -> float | None:
    record = one.record
    if record.end >= 0:
        return record.end - max(record.begin, 0.0)
    known = as_number(one.field("duration"))
    return known if known and known > 0 else None


def _words(summary: Summary) -> str:
    plot = text = ""
    if summary.calibration is not None:
        found = summary.calibration
        plot = plots.reliability_diagram(found.bins)
        text += (
            f"<p>Confidence is {100 * found.error:.1f} points from the share of right words on "
            f"average ({found.words:,} words, {plots.percent(found.right)} right). A dot below the "
            "line promises too much.</p>"
        )
    if summary.word_times is not None:
        times = summary.word_times
        near = ", ".join(
            f"{plots.percent(share)} within {limit} ms"
            for share, limit in zip(times.near, (50, 100, 200), strict=True)
        )
        text += (
            f"<p>Words start {1000 * times.start:.0f} ms and end {1000 * times.end:.0f} ms from "
            f"where they should on average; {near} ({times.words:,} words).</p>"
        )
    if not text:
        return ""
    both = f'<div class="plots">{plot}<div>{text}</div></div>'
    return f"<section><h2>Single words</h2>{both}</section>"


def _mistakes(summary: Summary) -> str:
    found = summary.mistakes
    tables: list[tuple[str, Sequence[str], Sequence[Sequence[str]]]] = [
        ("Taken for another", ("said", "written", "times"),
         [(escape(one.reference), escape(one.hypothesis), f"{one.count:,}")
          for one in found.confusions]),
        ("Words that fail most", ("word", "said", "replaced", "left out"),
         [(escape(one.word), f"{one.count:,}", f"{one.substituted:,}", f"{one.deleted:,}")
          for one in found.words]),
        ("Made up", ("word", "times"),
         [(escape(one.word), f"{one.count:,}") for one in found.insertions]),
    ]  # fmt: skip
    parts = [
        f"<div><h3>{title}</h3>{grid(head, rows[:_MOST_WORDS])}</div>"
        for title, head, rows in tables
        if rows
    ]
    if not parts:
        return ""
    columns = f'<div class="columns">{"".join(parts)}</div>'
    return f"<section><h2>Words that go wrong</h2>{columns}</section>"


def _worst(scored: Sequence[Scored], *, audio: bool) -> str:
    wrong = [one for one in worst_first(scored) if one.score.cer_errors][:_WORST]
    if not wrong:
        return ""
    key = (
        "<del>left out</del> <ins>made up</ins> "
        '<span class="swap"><del>said</del><ins>written</ins></span>'
    )
    items = "\n".join(_item(number, one, audio=audio) for number, one in enumerate(wrong, 1))
    return (
        f'<section><h2>The worst {len(wrong)}</h2><p class="quiet">By wrong characters. {key}</p>'
        f"{items}</section>"
    )


def _item(number: int, one: Scored, *, audio: bool) -> str:
    record, score = one.record, one.score
    facts = [f"errors: {score.wer_errors:g}, words: {score.ref_words}"]
    if record.end >= 0 or record.begin > 0:
        end = f"{record.end:.1f} s" if record.end >= 0 else "the end"
        facts.append(f"{max(record.begin, 0.0):.1f} to {end}")
    confidence = confidence_of(one)
    if confidence is not None:
        facts.append(f"confidence {confidence:.2f}")
    if one.predicted.error is not None:
        facts.append(one.predicted.error)
    pairs = align(score.ref_tokens, score.hyp_tokens, merge=score.merged)
    return (
        f"<article><h3>{number}. <bdi>{escape(record.audio)}</bdi></h3>"
        f'<p class="quiet">{escape(" · ".join(facts))}</p>'
        f'<p class="aligned" dir="auto">{" ".join(map(_pair, pairs))}</p>'
        f"{_player(one) if audio else ''}"
        f"<details><summary>as written</summary>{_written(record.text)}"
        f"{_written(one.predicted.text)}</details></article>"
    )


def _written(text: str) -> str:
    return f'<p dir="auto">{escape(text) or "(nothing)"}</p>'


def _pair(pair: Pair) -> str:
    if pair.right:
        return escape(pair.hypothesis)
    deleted = f"<del>{escape(pair.reference)}</del>" if pair.reference else ""
    inserted = f"<ins>{escape(pair.hypothesis)}</ins>" if pair.hypothesis else ""
    both = deleted + inserted
    return f'<span class="swap">{both}</span>' if deleted and inserted else both


def _player(one: Scored) -> str:
    try:
        address = data_uri(one.record)
    except AudioError as error:
        return f'<p class="quiet">No sound: {escape(str(error))}</p>'
    length = _duration(one)
    cut = length is not None and length > MOST_SECONDS
    note = f'<span class="quiet">first {MOST_SECONDS:.0f} s</span>' if cut else ""
    return f'<audio controls preload="metadata" src="{address}"></audio>{note}'


def _how(summary: Summary) -> str:
    machine = summary.machine
    versions = ", ".join(f"{name} {version}" for name, version in machine.versions.items())
    return (
        "<footer><h2>How to read this</h2><p>The word error rate is the number of words that would "
        "have to be changed, added or taken out, over the number of words that were said. Other "
        "recordings of the same kind would give another rate; the interval is where the rate of "
        "all of them lies, as far as these few can tell: of 100 such intervals, about 95 hold it. "
        f"It comes from drawing {escape(summary.resampled_by)} again and again.</p>"
        f"<p class='quiet'>{escape(machine.cpu)}, {machine.cores} cores, "
        f"{escape(machine.system)}; {escape(versions)}</p></footer>"
    )
