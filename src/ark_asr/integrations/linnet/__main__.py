"""``python -m ark_asr.integrations.linnet``; Linnet is then started with ``CF_VOICE_URL``."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from ark_asr.integrations import service

if TYPE_CHECKING:
    from fastapi import FastAPI

    from ark_asr.server.settings import Settings

PORT = 8007


def main(arguments: list[str] | None = None) -> int:
    """The command."""
    options = service.parser(
        "ark_asr.integrations.linnet",
        "Live transcripts for an unmodified Linnet: CF_VOICE_URL=http://127.0.0.1:8007",
        PORT,
    ).parse_args(arguments)

    def make(settings: Settings) -> FastAPI:
        from ark_asr.integrations.linnet.app import create_app

        return create_app(settings, options.model, options.threads)

    return service.serve(options, make)


if __name__ == "__main__":
    sys.exit(main())
