"""``python -m ark_asr.integrations.circuitforge``, with the options of circuitforge-core's own."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from ark_asr.integrations import service

if TYPE_CHECKING:
    from fastapi import FastAPI

    from ark_asr.server.settings import Settings

PORT = 8004


def main(arguments: list[str] | None = None) -> int:
    """The command."""
    parser = service.parser(
        "ark_asr.integrations.circuitforge",
        "Speech-to-text service with the endpoints of circuitforge-core's (cf-stt).",
        PORT,
    )
    parser.add_argument("--confidence-threshold", type=float, default=0.75, metavar="P")
    # What cf-orch passes on to every such service.
    parser.add_argument("--device", default="cpu", help="cpu; others are warned of (%(default)s)")
    parser.add_argument("--compute-type", default="default", help="likewise (%(default)s)")
    parser.add_argument("--gpu-id", type=int, metavar="N", help="taken, but no GPU is used")
    options = parser.parse_args(arguments)

    def make(settings: Settings) -> FastAPI:
        from ark_asr.integrations.circuitforge.app import create_app
        from ark_asr.integrations.circuitforge.backend import ArkSTTBackend, check_threshold

        check_threshold(options.confidence_threshold)  # before the model is loaded
        backend = ArkSTTBackend(
            options.model, options.device, options.compute_type, threads=options.threads
        )
        return create_app(backend, settings, options.confidence_threshold)

    return service.serve(options, make)


if __name__ == "__main__":
    sys.exit(main())
