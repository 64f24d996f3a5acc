"""``python -m ark_asr.training RECIPE [...]``: `ark-asr train supervised`, for ``torchrun``."""

import argparse
import sys
from pathlib import Path

from ark_asr.errors import ArkError
from ark_asr.training.overrides import Overrides
from ark_asr.training.supervised import main

if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="ark_asr.training", description="Supervised training.")
    parser.add_argument("recipe")
    parser.add_argument("--resume", action="store_true", help="go on from the latest checkpoint")
    parser.add_argument("--skip-bad", action="store_true", help="leave out unreadable recordings")
    parser.add_argument("--start", type=Path, help="checkpoint to start from")
    parser.add_argument("--output", type=Path, help="folder for what comes out")
    parser.add_argument("--train", action="append", default=[], help="manifest to learn from")
    parser.add_argument("--dev", action="append", default=[], help="manifest to score")
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="such as optim.steps=500"
    )
    args = parser.parse_args()
    overrides = Overrides(
        args.start, args.output, tuple(args.train), tuple(args.dev), tuple(args.set)
    )
    try:
        main(args.recipe, resume=args.resume, skip_bad=args.skip_bad, overrides=overrides)
    except (ArkError, OSError) as error:
        print(f"ark_asr.training: {error}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print("ark_asr.training: interrupted", file=sys.stderr)
        sys.exit(130)
