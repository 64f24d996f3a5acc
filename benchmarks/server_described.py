"""Whether a server does what its ``/openapi.json`` says, tried with schemathesis.

    pip install schemathesis        # may be in an environment of its own
    python benchmarks/server_described.py [--examples 40] [--seed 0] [--keys]
                                          [--schemathesis COMMAND]

A server of its own is started on the loopback address, and ended. Requests are made of the
description, right ones and wrong ones, one by one and along its links. A fault is an answer of
5xx, one whose status, type, headers or fields are not described, a wrong request that is honoured,
a wrong method that is, a deleted job that answers; with ``--keys`` also an answer without a key.
Right requests may be refused: that one field needs another, the description cannot say. The exit
code is 1 if there is a fault.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

HERE = Path(__file__).resolve().parent


def main() -> None:
    from served import conclude, introduce, serving

    parser = argparse.ArgumentParser(description="See the top of this file.")
    parser.add_argument("--examples", type=int, default=40, help="for each route")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keys", action="store_true", help="of a server that asks for keys")
    parser.add_argument("--schemathesis", default="schemathesis", metavar="COMMAND")
    given = parser.parse_args()
    introduce(" ".join(["benchmarks/server_described.py", *sys.argv[1:]]))
    options = ["--threads", 1, "--max-jobs", 100_000]
    command = [
        given.schemathesis, "--no-color", "run", "--continue-on-failure",
        "--generation-database", "none",
        "--max-examples", str(given.examples), "--seed", str(given.seed), "--request-timeout", "60",
        "--exclude-checks", "positive_data_acceptance",
    ]  # fmt: skip
    hooks = {"SCHEMATHESIS_HOOKS": "server_described", "PYTHONPATH": str(HERE)}
    with TemporaryDirectory() as folder:
        if given.keys:
            from ark_asr.server.keys import add_key

            file = Path(folder, "keys.txt")
            command += ["--header", f"Authorization: Bearer {add_key(file, 'bench')}"]
            options += ["--keys", file]
        with serving(*options) as served:
            done = subprocess.run(
                [*command, f"{served.url}/openapi.json"], cwd=folder, check=False, text=True,
                stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                env=os.environ | hooks,
            )  # fmt: skip
            ended = served.ended
    # Neither times nor the requests, which hold whole recordings.
    told = re.sub(r" \(?in [\d.]+s\)?", "", done.stdout)
    print("".join(line for line in told.splitlines(keepends=True) if len(line) < 300))
    if ended is not None:
        print(f"the server has ended with {ended}")
    conclude()
    raise SystemExit(done.returncode != 0 or ended is not None)


def hook() -> None:
    """What schemathesis does not know, when it imports this file: recordings and forms."""
    import schemathesis
    from hypothesis import strategies

    hello = (HERE.parent / "samples" / "hello.flac").read_bytes()
    files = [hello, hello, hello[: len(hello) // 2], b"", b"no recording"]
    schemathesis.openapi.format("binary", strategies.sampled_from(files))

    @schemathesis.hook
    def filter_failure(context, failure, case, response):  # noqa: ARG001
        """All values of a form are text: one of a wrong type can still spell a right one."""
        return "Incorrect type" not in failure.message


if __name__ == "__main__":
    main()
else:
    hook()
