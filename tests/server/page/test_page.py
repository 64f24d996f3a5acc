"""The page before a real server: captions from a microphone, uploads, keys, troubles, access."""

from __future__ import annotations

import re

import httpx
import pytest

from ark_asr.server.keys import add_key
from ark_asr.types import TranscribeOptions
from lectures import lecture, record
from looking import becomes, expect
from serving import PATIENCE, eventually, http, serving


def words(text):
    return set(re.findall(r"\w+", text))


def send(page, path):
    page.set_input_files("#file", str(path))


def opened_text(page):
    page.wait_for_selector("#transcript", state="visible")
    return " ".join(page.locator("#segments .words").all_inner_texts())


def test_an_upload_becomes_a_transcript_and_nothing_stays(visit, served, ready, hello):
    page = visit(served)
    ready(page)
    send(page, hello)
    said = opened_text(page)
    with hello.open("rb") as file:
        answer = http.post(f"{served.url}/v1/audio/transcriptions", files={"file": file})
    assert said == answer.json()["text"]
    expect(page.locator("#name")).to_have_value("hello")
    expect(page.locator(".word")).to_have_count(len(said.split()))
    assert eventually(lambda: http.get(f"{served.url}/jobs").json()["data"] == [])


def test_an_upload_goes_on_after_the_page_was_closed(visit, served, ready, hello):
    page = visit(served)
    ready(page)
    with httpx.Client(base_url=served.url, timeout=PATIENCE) as client, hello.open("rb") as file:
        job = client.post("/jobs", files={"file": file}).json()["id"]
        page.evaluate("""async (job) => {
          const home = await import("/page/js/home.js");
          await home.keep(home.newResult({title: "hello", source: "hello.flac", job}));
        }""", job)  # fmt: skip
        page.reload()
        page.wait_for_selector("#recent >> text=hello")
        assert eventually(lambda: client.get("/jobs").json()["data"] == [])


def test_captions_of_the_microphone_become_a_transcript(visit, served, ready, recognizer, root):
    page = visit(served)
    ready(page)
    page.click("#record")
    expect(page.locator("#said")).to_have_attribute("aria-live", "polite")
    page.wait_for_selector("#said p")
    caption = page.inner_text("#said p")
    page.click("#stop")
    said = opened_text(page)
    assert said.startswith(caption)
    options = TranscribeOptions(end=7.0)
    heard = recognizer.transcribe(root / "samples" / "minute.flac", options).text
    assert len(words(caption) & words(heard)) >= len(words(caption)) / 2
    seconds = page.evaluate("document.querySelector('audio').duration")
    expect(page.locator("#length")).to_have_text(f"0:{int(seconds):02d}", use_inner_text=True)
    assert seconds > 2


def test_captions_listen_for_names(visit, served, ready):
    page = visit(served)
    ready(page)
    page.click("#options > summary")
    page.fill("#hotwords", "woods :50")
    page.click("#record")
    page.wait_for_selector("#said p >> text=woods")
    page.click("#stop")
    assert "woods" in opened_text(page)


def test_captions_are_larger_on_request(visit, served, ready):
    page = visit(served)
    ready(page)
    page.click("#record")
    page.wait_for_selector("#live", state="visible")
    size = "parseFloat(getComputedStyle(document.querySelector('#now')).fontSize)"
    before = page.evaluate(size)
    page.click("#larger")
    page.click("#larger")
    assert page.evaluate(size) > 1.5 * before
    page.click("#stop")
    page.wait_for_selector("#transcript", state="visible")


def test_a_file_that_is_no_recording_is_refused_in_words(visit, served, ready, tmp_path):
    page = visit(served, locale="de-DE", expected="status of 400")
    ready(page)
    (tmp_path / "notes.mp3").write_text("these are notes")
    send(page, tmp_path / "notes.mp3")
    page.wait_for_selector(".toast >> text=notes ist keine lesbare Aufnahme.")
    expect(page.locator(".job")).to_have_count(0)
    expect(page.locator("#recent li")).to_have_count(0)


def test_a_microphone_that_is_not_allowed_is_told(visit, served, ready):
    page = visit(served)
    ready(page)
    page.evaluate("""() => {
      const denied = new DOMException("Permission denied", "NotAllowedError");
      const refuse = () => Promise.reject(denied);
      navigator.mediaDevices.getUserMedia = refuse;
    }""")
    page.click("#record")
    page.wait_for_selector(".toast >> text=does not let this page use the microphone")
    expect(page.locator("#home")).to_be_visible()


def test_a_server_that_is_gone_loses_nothing(visit, ready, hello):
    with serving() as served:
        page = visit(served, expected="ERR_CONNECTION_REFUSED")
        ready(page)
        page.click("#record")
        page.wait_for_selector("#said p")
    page.wait_for_selector("#live-notice >> text=The captions have stopped")
    page.click("#stop")
    assert opened_text(page)
    page.wait_for_selector(".toast >> text=The server does not answer.")
    assert page.evaluate("document.querySelector('audio').duration") > 2
    page.click("[aria-label='Back to the start']")
    send(page, hello)
    page.locator(".toast >> text=The server does not answer.").nth(1).wait_for()


def test_keys_are_asked_for_and_kept_only_if_wanted(visit, ready, tmp_path):
    keys = tmp_path / "keys.txt"
    key = add_key(keys, "ann")
    with serving(keys=keys) as served:
        page = visit(served, expected="status of 401")
        page.fill("#key", "wrong")
        page.click("#key-dialog .main")
        page.wait_for_selector("#key-note >> text=not accepted")
        page.fill("#key", key)
        page.click("#key-dialog .main")
        ready(page)
        expect(page.locator("#model option")).to_have_text(["ark-mini"])
        page.reload()
        page.fill("#key", key)
        page.check("#key-keep")
        page.click("#key-dialog .main")
        ready(page)
        page.reload()
        ready(page)
        expect(page.locator("#key-dialog")).to_be_hidden()
        page.click("#record")
        page.wait_for_selector("#now .settled:not(:empty), #now .pending:not(:empty)")
        page.click("#stop")
        opened_text(page)
        page.click("#open-display")
        page.click("#forget-key")
        becomes(page, "localStorage.getItem('ark-asr-key')", None)


@pytest.mark.parametrize(
    ("locale", "language", "record"),
    [("de-AT", "de", "Aufnehmen"), ("zh-CN", "zh", "录音"), ("fr-FR", "en", "Record")],
)
def test_it_speaks_the_language_of_the_browser(visit, served, ready, locale, language, record):
    page = visit(served, locale=locale)
    ready(page)
    expect(page.locator("html")).to_have_attribute("lang", language)
    expect(page.locator("#record")).to_have_text(record, use_inner_text=True)
    page.select_option("#language", "de")
    expect(page.locator("#record")).to_have_text("Aufnehmen", use_inner_text=True)
    page.reload()
    ready(page)
    expect(page.locator("html")).to_have_attribute("lang", "de")


@pytest.mark.parametrize("width", [320, 390])
def test_nothing_is_cut_off_on_a_telephone(opened, width):
    page = opened(record(lecture()), viewport={"width": width, "height": 640}, has_touch=True)
    overflow = "document.documentElement.scrollWidth - innerWidth"
    assert page.evaluate(overflow) <= 0
    page.click("#download")
    box = page.locator("#formats").bounding_box()
    assert box["x"] >= 0
    assert box["x"] + box["width"] <= width
    page.keyboard.press("Escape")
    page.evaluate("location.hash = ''")
    page.wait_for_selector("#home", state="visible")
    page.click("summary")
    assert page.evaluate(overflow) <= 0
    page.click("#record")
    page.wait_for_selector("#live", state="visible")
    assert page.evaluate(overflow) <= 0
    buttons = page.locator("#live button").filter(visible=True)
    boxes = [button.bounding_box() for button in buttons.all()]
    assert min(box[side] for box in boxes for side in ("width", "height")) >= 44
    page.click("#stop")
    page.wait_for_selector("#transcript", state="visible")


def test_axe_finds_nothing_in_the_interface(visit, served):
    axe = pytest.importorskip(
        "axe_playwright_python.sync_playwright",
        reason="accessibility is checked with axe (pip install axe-playwright-python)",
    ).Axe()
    found = axe.run(visit(served, "docs"))
    assert found.violations_count == 0, found.generate_report()


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_axe_finds_nothing(opened, theme):
    axe = pytest.importorskip(
        "axe_playwright_python.sync_playwright",
        reason="accessibility is checked with axe (pip install axe-playwright-python)",
    ).Axe()
    page = opened(record(lecture()), reduced_motion="reduce")

    def check(where):
        for contrast in ("usual", "more"):
            page.evaluate("(it) => { document.documentElement.dataset.contrast = it }", contrast)
            found = axe.run(page)
            assert found.violations_count == 0, f"{where}, {contrast}: {found.generate_report()}"

    page.evaluate("(theme) => { document.documentElement.dataset.theme = theme }", theme)
    check("transcript")
    page.locator(".segment .speaker").first.click()
    check("speaker dialog")
    page.keyboard.press("Escape")
    page.click("#download")
    check("formats")
    page.keyboard.press("Escape")
    page.evaluate("location.hash = ''")
    page.wait_for_selector("#home", state="visible")
    page.click("summary")
    check("start")
    page.click("#open-display")
    check("display")
    page.keyboard.press("Escape")
    page.click("#record")
    page.wait_for_selector("#now .settled:not(:empty), #now .pending:not(:empty)")
    check("captions")
    page.click("#stop")
    page.wait_for_selector("#transcript", state="visible")


def test_the_start_by_keyboard_alone(visit, served, ready):
    page = visit(served)
    ready(page)
    reached = []
    for _ in range(10):
        page.keyboard.press("Tab")
        reached.append(
            page.evaluate(
                "document.activeElement.id || document.activeElement.className || 'summary'"
            )
        )
    assert reached[:7] == [
        "skip",
        "brand",
        "language",
        "open-display",
        "record",
        "choose",
        "summary",
    ]
    page.focus("#record")
    page.keyboard.press("Enter")
    page.wait_for_selector("#stop:focus")
    page.keyboard.press("Enter")
    page.wait_for_selector("#transcript", state="visible")


def test_only_this_server_may_be_asked(served):
    policy = http.get(served.url).headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
