"""A real headless Chromium before a real server."""

from __future__ import annotations

import base64
import os
import shutil

import pytest

from ark_asr.audio import load_audio
from serving import write_wav

BROWSERS = ("chromium", "chromium-browser", "google-chrome")


@pytest.fixture(scope="module")
def browser(root, tmp_path_factory):
    """Its microphone plays the beginning of a sample, again and again.

    One per module: Playwright's event loop must not be running when other tests start theirs.
    """
    playwright = pytest.importorskip(
        "playwright.sync_api", reason="the page is tested with playwright (pip install playwright)"
    )
    path = next(filter(None, map(shutil.which, BROWSERS)), None)
    if path is None:
        pytest.skip(f"the page is tested in a browser; looked for {', '.join(BROWSERS)}")
    sound = load_audio(root / "samples" / "minute.flac", end=7.0)
    heard = write_wav(tmp_path_factory.mktemp("microphone") / "heard.wav", sound.samples)
    options = ["--use-fake-device-for-media-stream", f"--use-file-for-fake-audio-capture={heard}"]
    if os.geteuid() == 0:
        options.append("--no-sandbox")  # Chromium refuses to be root in one
    with playwright.sync_playwright() as started:
        chromium = started.chromium.launch(executable_path=path, args=options)
        yield chromium
        chromium.close()


@pytest.fixture
def visit(browser):
    """Open the page as a new visitor; anything in its console is an error of the test."""
    contexts, troubles = [], []

    def open_page(served, path="", *, expected="nothing", **options):
        options = {"locale": "en-GB", "permissions": ["microphone"], **options}
        context = browser.new_context(
            viewport={"width": 1000, "height": 800} | options.pop("viewport", {}), **options
        )
        context.set_default_timeout(60_000)
        contexts.append(context)
        page = context.new_page()
        page.on("pageerror", lambda error: troubles.append(str(error)))
        page.on("console", lambda it: expected in it.text or troubles.append(it.text))
        # Blobs are the player's recording; anything else must be this server.
        own = (served.url, served.url.replace("http:", "ws:"), f"blob:{served.url}")
        page.on("request", lambda it: it.url.startswith(own) or troubles.append(it.url))
        page.goto(f"{served.url}/{path}")
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert troubles == []


@pytest.fixture
def ready():
    """Wait until the page has asked the server for all it wants to know."""
    return lambda page: page.wait_for_selector("html[data-loaded]", state="attached")


@pytest.fixture
def opened(visit, served, ready):
    """The page with a transcript open that was put into the browser's store, and its recording."""

    def open_result(document, recording=None, **options):
        page = visit(served, **options)
        ready(page)
        sound = None if recording is None else base64.b64encode(recording.read_bytes()).decode()
        page.evaluate(
            """async ([document, sound]) => {
              const {put} = await import("/page/js/store.js");
              const bytes = sound && Uint8Array.from(atob(sound), (it) => it.charCodeAt());
              const audio = sound && new Blob([bytes], {type: "audio/wav"});
              const {source} = document;
              const about = {id: "one", title: "Lecture 3", created: Date.now(), job: null};
              await put({...about, source, audio, document}, true);
              location.hash = "#result=one";
            }""",
            [document, sound],
        )
        page.wait_for_selector("#transcript", state="visible")
        return page

    return open_result
