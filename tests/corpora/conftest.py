"""`ark-asr data` as a user runs it, on recordings of noise."""

from __future__ import annotations

import pytest
from typer.testing import CliRunner

from ark_asr.cli import app


@pytest.fixture
def data():
    """Run `ark-asr data`; a traceback fails the test."""

    def data(*arguments):
        result = CliRunner().invoke(app, ["data", *map(str, arguments)])
        assert result.exception is None or isinstance(result.exception, SystemExit)
        return result

    return data
