"""Language tags of other programs, and what can honestly be said of a transcript's language.

ARK-ASR takes no language and names none: it writes what it hears in any of the languages that it
was trained for. A tag therefore changes no word; it only says what the caller expects.
"""

from __future__ import annotations

from collections.abc import Sequence


def primary(tag: str | None) -> str | None:
    """The language of a BCP 47 tag: ``pt`` of ``pt-BR``; ``None`` of nothing and of ``auto``."""
    first = (tag or "").strip().replace("_", "-").partition("-")[0].lower()
    return None if first in ("", "auto", "und") else first


def language_of(tag: str | None, known: Sequence[str]) -> str | None:
    """What a transcript is in, as far as that is known.

    Args:
        tag: What the caller said.
        known: ISO 639 codes that the model was trained for.

    Returns:
        The caller's language if the model was trained for it (or nothing is known of the model),
        the model's if it has only one; else ``None``.
    """
    asked = primary(tag)
    if asked is not None and (asked in known or not known):
        return asked
    return known[0] if len(known) == 1 and asked is None else None
