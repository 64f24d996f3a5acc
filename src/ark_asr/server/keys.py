"""Keys of clients: shown once, kept only as hashes.

A file holds one ``name:sha256`` on each line. Keys are made here, of 256 random bits, so a plain
hash of one cannot be searched for.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import re
import secrets
from dataclasses import dataclass
from pathlib import Path

from ark_asr.errors import OptionError

_LINE = re.compile(r"([\w.@-]+):([0-9a-f]{64})")
_PREFIX = "ark-"


@dataclass(frozen=True, slots=True)
class Keys:
    """The keys that are accepted: ``(name, hash)`` of each."""

    entries: tuple[tuple[str, str], ...]

    @classmethod
    def load(cls, path: Path) -> Keys:
        """Read a file of keys.

        Raises:
            OptionError: It cannot be read, holds no key, or a line that is none.
        """
        if entries := _entries(_text(path), path):
            return cls(entries)
        raise OptionError(f"{path}: holds no key; make one: ark-asr serve key NAME --keys FILE")

    def name_of(self, key: str) -> str | None:
        """Whose key it is; takes the same time whether it is right or wrong."""
        digest = _digest(key)
        found = None
        for name, known in self.entries:
            if hmac.compare_digest(digest, known):
                found = name
        return found


def add_key(path: Path, name: str) -> str:
    """Make a key and add its hash to the file, which nobody else may read.

    Returns:
        The key; it is not kept.

    Raises:
        OptionError: The name is no word or taken, or the file cannot be written.
    """
    if not re.fullmatch(r"[\w.@-]+", name):
        raise OptionError(f"name {name!r}: only letters, digits and . _ @ -")
    text = _text(path) if path.exists() else ""
    if name in dict(_entries(text, path)):
        raise OptionError(f"{path}: has a key of {name} already; remove its line first")
    # An editor may have left the last line without its end.
    begin = "" if text.endswith("\n") or not text else "\n"
    key = _PREFIX + secrets.token_urlsafe(32)
    try:
        file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        with os.fdopen(file, "a", encoding="utf-8") as lines:
            lines.write(f"{begin}{name}:{_digest(key)}\n")
    except OSError as error:
        raise OptionError(f"{path}: cannot be written ({error.strerror})") from None
    return key


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise OptionError(f"{path}: cannot be read as a file of keys ({error})") from None


def _entries(text: str, path: Path) -> tuple[tuple[str, str], ...]:
    """Those of all lines but empty ones and comments."""
    entries = []
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        match = _LINE.fullmatch(line.strip())
        if match is None:
            raise OptionError(f"{path}, line {number}: must be name:sha256; see `serve key`")
        entries.append((match[1], match[2]))
    return tuple(entries)


def _digest(key: str) -> str:
    return hashlib.sha256(key.encode(errors="surrogatepass")).hexdigest()
