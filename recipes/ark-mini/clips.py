"""Rows of the shared recordings of real English speech."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from texts import normalise

SHARE_ALIKE = ("FSDD", "Asterisk", "art4apps", "audio-cmn", "WaniKani", "Tofugu")
NORMAL_FORM = re.compile(r"[a-z']+(?: [a-z']+)*")


@dataclass(frozen=True, slots=True)
class Clip:
    """A recording, or the part of one, with its reference in the normal form."""

    audio: Path
    text: str
    duration: float
    speaker: str
    source: str
    split: str
    quality: str = ""
    begin: float | None = None
    end: float | None = None

    def row(self) -> str:
        """One manifest line."""
        times = {} if self.begin is None else {"begin_time": self.begin, "end_time": self.end}
        return json.dumps(
            {
                "audio": str(self.audio),
                "text": self.text,
                **times,
                "duration": round(self.duration, 4),
                "speaker": self.speaker,
                "source": self.source,
                "language": "en",
                "split": self.split,
            }
        )

    @property
    def share_alike(self) -> bool:
        """Whether weights trained on it would have to carry its licence."""
        return self.source.startswith(SHARE_ALIKE)


def read_clips(manifest: Path) -> Iterator[Clip]:
    """English rows of one manifest of the shared data."""
    for row in map(json.loads, manifest.read_text("utf-8").splitlines()):
        if row["language"] != "en":
            continue
        written = row.get("text_norm") or row["text"]
        text = written if NORMAL_FORM.fullmatch(written) else normalise(written)
        if text is None:
            print(f"left out, no normal form: {row['audio']}: {row['text']!r}", file=sys.stderr)
            continue
        yield Clip(
            audio=(manifest.parent / row["audio"]).resolve(),
            text=text,
            duration=row["duration"],
            speaker=row["speaker"],
            source=row["source"],
            split=row["split"],
            quality=row.get("reference_quality", ""),
        )
