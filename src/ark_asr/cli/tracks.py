"""The option that says which audio track of a film is heard, the same for every verb."""

from __future__ import annotations

from typing import Annotated

import typer

Track = Annotated[
    int | None,
    typer.Option(
        metavar="N",
        help="Of a film with several audio tracks: the one to hear, 1 for the first of FFmpeg's "
        "audio streams. [default: the one FFmpeg thinks best]",
    ),
]
