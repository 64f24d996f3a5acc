"""``python -m ark_asr.training RECIPE [--resume] [--skip-bad]``, for ``torchrun``."""

import argparse
import sys

from ark_asr.errors import ArkError
from ark_asr.training.supervised import main

if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="ark_asr.training", description="Supervised training.")
    parser.add_argument("recipe")
    parser.add_argument("--resume", action="store_true", help="go on from the latest checkpoint")
    parser.add_argument("--skip-bad", action="store_true", help="leave out unreadable recordings")
    args = parser.parse_args()
    try:
        main(args.recipe, resume=args.resume, skip_bad=args.skip_bad)
    except ArkError as error:
        print(f"ark_asr.training: {error}", file=sys.stderr)
        sys.exit(2)
