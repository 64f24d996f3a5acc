"""Rows of text in columns, and names that need not be text."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence


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


def printable(text: str) -> str:
    """On one line: what would end it, or tell a terminal what to do, is spelled out."""
    return "".join(mark if mark.isprintable() else ascii(mark)[1:-1] for mark in text)


def readable(name: str) -> str:
    """A file's name as text: its bytes that are no UTF-8 are spelled out, as in messages."""
    return name.encode(errors="backslashreplace").decode()


def _places(text: str) -> int:
    """On a terminal: Han, kana and hangul take two each, marks upon a letter none."""
    return sum(
        0 if unicodedata.category(mark) in {"Mn", "Me"}
        else 2 if unicodedata.east_asian_width(mark) in "WF"
        else 1
        for mark in text
    )  # fmt: skip
