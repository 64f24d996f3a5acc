"""``python -m ark_asr`` is the command line."""

from ark_asr.cli import main

if __name__ == "__main__":
    main()
