"""The page in Firefox and in WebKit: what they do otherwise than Chromium."""

from __future__ import annotations

import pytest

from ark_asr.writers import get_writer, parse_transcripts
from lectures import lecture, record
from serving import eventually
from webdriver import ENTER, Firefox, WebKit

TROUBLES = """
  window.troubles = [];
  addEventListener("error", ({message}) => troubles.push(message));
  addEventListener("unhandledrejection", ({reason}) => troubles.push(String(reason)));
  document.addEventListener("securitypolicyviolation", (it) => troubles.push(it.violatedDirective));
"""
TEXT = "document.querySelector('#segments .words')?.textContent"
SHOWN = "!document.querySelector('#transcript').hidden"
LENGTH = "Math.round(document.querySelector('audio').duration)"


@pytest.fixture(scope="module", params=[Firefox, WebKit], ids=["firefox", "webkit"])
def other(request, tmp_path_factory):
    browser = request.param(tmp_path_factory.mktemp("browser"))
    yield browser
    browser.close()


@pytest.fixture
def page(other, served):
    start(other, served)
    yield other
    assert other.js("return window.troubles ?? []") == []
    other.do("await (await import('/page/js/store.js')).clear()")


def start(browser, served):
    browser.go("about:blank")
    browser.go(f"{served.url}/")
    browser.js(TROUBLES)
    browser.becomes("document.documentElement.dataset.loaded", "")


def opened(page, document):
    """Open a transcript that was put into the browser's store."""
    page.do(
        """const {put} = await import("/page/js/store.js");
        const about = {id: "one", title: "Lecture 3", created: Date.now(), job: null, audio: null};
        await put({...about, source: "lecture.wav", document: given[0]}, true);
        location.hash = "#result=one";""",
        document,
    )
    page.becomes(SHOWN)


def send(page, path):
    page.choose("#file", path)
    page.becomes(SHOWN)


def test_the_start_can_be_returned_to(page, hello):
    send(page, hello)
    said = page.js(f"return {TEXT}")
    assert "window" in said
    # WebKit 2.50 hung here, as long as the menu of formats was placed by CSS.
    page.click("#transcript .head a")
    page.becomes("document.querySelector('#recent .glimpse')?.textContent", said)


def test_a_recording_outlives_the_page_in_a_private_window(page, served, hello):
    send(page, hello)
    if not page.reload():
        start(page, served)
        send(page, hello)
        assert page.reload()
    page.becomes(f"document.documentElement.dataset.loaded === '' && {SHOWN}")
    page.becomes(LENGTH, 3)
    kept = page.do(
        """const {audio} = await (await import("/page/js/store.js")).kept(location.hash.slice(8));
        return [...new Uint8Array(await audio.slice(0, 4).arrayBuffer())];"""
    )
    assert bytes(kept) == b"fLaC"


def test_a_word_is_played_from(page, hello):
    send(page, hello)
    page.becomes(LENGTH, 3)
    page.js("document.querySelector('#segments [tabindex=\"0\"]').focus()")
    start = page.js("return Number(document.querySelectorAll('.word')[4].dataset.start)")
    page.press(*4 * ["\ue014"], ENTER)
    page.becomes(f"document.querySelector('audio').currentTime > {start}")


def test_doubtful_words_are_underlined_with_a_wave(page):
    opened(page, record(lecture()))
    style = "getComputedStyle(document.querySelector('.doubtful'))"
    page.becomes(f"{style}.textDecorationLine", "underline")
    page.becomes(f"{style}.textDecorationStyle", "wavy")
    page.click("#doubts")
    page.becomes(f"{style}.textDecorationLine", "none")


def test_the_text_is_copied(page):
    opened(page, record(lecture()))
    page.click("#copy")
    page.becomes("document.querySelector('.toast p')?.textContent", "Copied")


@pytest.mark.parametrize("name", ["txt", "srt", "json"])
def test_a_format_is_saved(page, name):
    opened(page, record(lecture()))
    page.click("#download")
    page.click(f"[data-format={name}]")
    path = page.home / f"Lecture 3.{name}"
    assert eventually(lambda: path.is_file() and path.read_bytes().endswith(b"\n"))
    if name == "json":
        (read,) = parse_transcripts(path.read_bytes(), "page")
        assert record(read) == record(lecture())
    else:
        wanted = get_writer(name).render(lecture())
        eventually(lambda: path.read_text() == wanted)  # it may be written piece by piece
        assert path.read_text() == wanted


def test_the_microphone_is_recorded(page):
    page.click("#record")
    toast = "document.querySelector('.toast p')?.textContent"
    page.becomes(f"document.activeElement.id === 'stop' || Boolean({toast})")
    if page.js(f"return {toast}") == "No microphone can be used.":
        pytest.skip("the browser starts its audio thread only where sound can be played")
    page.becomes("Number(document.querySelector('#clock').textContent.at(-1)) > 1")
    page.click("#stop")
    page.becomes(SHOWN)
    page.becomes("document.querySelector('audio').duration > 1.5")
