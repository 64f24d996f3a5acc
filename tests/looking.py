"""Looking at a page that goes on working meanwhile: what is expected may come a moment later."""

from __future__ import annotations

import time

import pytest

expect = pytest.importorskip(
    "playwright.sync_api", reason="the page is tested with playwright (pip install playwright)"
).expect
PATIENCE = 60.0  # seconds
expect.set_options(timeout=1000 * PATIENCE)


def becomes(page, script, wanted):
    """Ask the page until it answers what is wanted; its policy forbids `page.wait_for_function`."""
    end = time.monotonic() + PATIENCE
    while (found := page.evaluate(script)) != wanted and time.monotonic() < end:
        page.wait_for_timeout(50)
    assert found == wanted
