"""Write ``docs/cli.md`` from the program's own help; with ``--check`` only compare.

Run by ``make docs`` and ``make lint``.
"""

import sys
from collections.abc import Iterator
from pathlib import Path

import typer
from typer.testing import CliRunner

from ark_asr.cli import app

PAGE = Path(__file__).with_name("cli.md")
HEAD = """# The command line

Written by `make docs` from the program's own help; do not edit.
"""


def verbs(command: object, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """The program, its verbs, and theirs."""
    yield path
    for name, child in getattr(command, "commands", {}).items():
        yield from verbs(child, (*path, name))


def page() -> str:
    """All help texts, one block each."""
    runner = CliRunner()
    parts = [HEAD]
    for verb in verbs(typer.main.get_command(app)):
        arguments = [*verb, "--help"]
        result = runner.invoke(app, arguments, prog_name="ark-asr", terminal_width=88)
        name = " ".join(("ark-asr", *verb))
        parts.append(f"## {name}\n\n```\n{result.stdout.strip()}\n```\n")
    return "\n".join(parts)


def main() -> int:
    """1 if ``--check`` finds a difference."""
    if "--check" not in sys.argv[1:]:
        PAGE.write_text(page(), encoding="utf-8")
        return 0
    if PAGE.is_file() and PAGE.read_text(encoding="utf-8") == page():
        return 0
    print(f"{PAGE.name} is not what the program's help says; run: make docs", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
