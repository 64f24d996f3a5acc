"""Rows of text in columns."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence

from ark_asr.errors import printable


def aligned(
    head: Sequence[str], rows: Sequence[Sequence[str]], *, numbers: bool = False
) -> list[str]:
    """Lines for a terminal, the columns as wide as they must be.

    Args:
        head: Of each column.
        rows: Cells, which may hold whatever a manifest holds.
        numbers: All columns but the first stand at their right edge.
    """
    table = [[printable(cell) for cell in row] for row in (head, *rows)]
    widths = [max(map(_places, column)) for column in zip(*table, strict=True)]
    lines = []
    for row in table:
        gaps = [" " * (width - _places(cell)) for cell, width in zip(row, widths, strict=True)]
        cells = [
            gap + cell if numbers and place else cell + gap
            for place, (cell, gap) in enumerate(zip(row, gaps, strict=True))
        ]
        lines.append("  ".join(cells).rstrip())
    return lines


def _places(text: str) -> int:
    """On a terminal: Han, kana and hangul take two each, marks upon a letter none."""
    return sum(
        0 if unicodedata.category(mark) in {"Mn", "Me"}
        else 2 if unicodedata.east_asian_width(mark) in "WF"
        else 1
        for mark in text
    )  # fmt: skip
