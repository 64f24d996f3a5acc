"""What a reader could stumble over: much at once, twice, again, and what cannot be read."""

from __future__ import annotations

import pytest

from ark_asr.writers import get_writer
from lectures import lecture, record
from looking import becomes, expect
from serving import eventually, http, serving


@pytest.fixture(scope="module")
def alone():
    """A server whose jobs and engine are this module's."""
    with serving() as started:
        yield started


def send(page, *paths):
    page.set_input_files("#file", [str(path) for path in paths])


def jobs(served):
    return http.get(f"{served.url}/jobs").json()["data"]


def no_cards(page):
    expect(page.locator(".job")).to_have_count(0, timeout=120_000)


def read(page, ready, sound):
    """The page with the transcript of one recording open."""
    ready(page)
    send(page, sound)
    page.wait_for_selector("#transcript", state="visible")
    no_cards(page)
    return page


def test_recording_starts_while_many_files_are_transcribed(visit, alone, ready, hello):
    page = visit(alone)
    ready(page)
    with alone.standing():
        send(page, *[hello] * 8)
        assert eventually(lambda: len(jobs(alone)) == 8)
        page.click("#record")
        page.wait_for_selector("#live", state="visible")
    page.click("#stop")
    page.wait_for_selector("#transcript", state="visible")
    no_cards(page)
    page.click("[aria-label='Back to the start']")
    expect(page.locator("#recent li")).to_have_count(9)
    assert eventually(lambda: jobs(alone) == [])


def test_a_file_whose_turn_has_not_come_can_be_cancelled(visit, alone, ready, hello):
    page = visit(alone)
    ready(page)
    with alone.standing():
        send(page, *[hello] * 5)
        assert eventually(lambda: len(jobs(alone)) == 5)
        page.locator(".job button").last.click()
        expect(page.locator(".job")).to_have_count(4)
        assert eventually(lambda: len(jobs(alone)) == 4)
    no_cards(page)
    expect(page.locator("#recent li")).to_have_count(4)


def test_again_is_done_once_and_not_after_deleting(visit, alone, ready, hello):
    page = read(visit(alone), ready, hello)
    with alone.standing():
        page.click("#again")
        page.click("#again")
        assert eventually(lambda: len(jobs(alone)) == 1)
        expect(page.locator(".job")).to_have_count(1)
        page.click("[aria-label='Back to the start']")
        page.click("#recent button")
        no_cards(page)
    assert eventually(lambda: jobs(alone) == [])
    expect(page.locator("#recent li")).to_have_count(0)


def test_a_transcript_that_was_opened_anew_meanwhile_is_drawn_again(visit, alone, ready, hello):
    page = read(visit(alone), ready, hello)
    page.reload()
    page.wait_for_selector("#transcript", state="visible")
    with alone.standing():
        page.click("#again")
        page.click("[aria-label='Back to the start']")
        page.click("#recent a")
        page.wait_for_selector("#transcript", state="visible")
    no_cards(page)
    expect(page.locator("#undo")).to_be_enabled()


def test_a_folder_is_not_taken_for_a_lost_server(visit, alone, ready, tmp_path):
    page = visit(alone)
    ready(page)
    (tmp_path / "lectures").mkdir()
    box = page.locator("#drop").bounding_box()
    what = {"items": [], "files": [str(tmp_path / "lectures")], "dragOperationsMask": 1}
    tools = page.context.new_cdp_session(page)
    for kind in ("dragEnter", "dragOver", "drop"):
        place = {"type": kind, "x": box["x"] + 20, "y": box["y"] + 20}
        tools.send("Input.dispatchDragEvent", {**place, "data": what})
    page.wait_for_selector(".toast >> text=lectures is no recording that can be read.")
    no_cards(page)


def test_the_microphone_is_closed_if_nobody_can_listen(visit, ready):
    with serving() as served:
        page = visit(served, expected="ERR_CONNECTION_REFUSED")
        ready(page)
    page.evaluate("""() => {
      const devices = navigator.mediaDevices, open = devices.getUserMedia.bind(devices);
      devices.getUserMedia = async (wanted) => (window.opened = await open(wanted));
    }""")
    page.click("#record")
    page.wait_for_selector(".toast >> text=The server does not answer.")
    assert page.evaluate("window.opened.getTracks()[0].readyState") == "ended"
    expect(page.locator("#home")).to_be_visible()


def test_a_second_recording_follows_its_words(visit, alone, ready):
    page = visit(alone)
    ready(page)
    page.click("#record")
    page.wait_for_selector("#live", state="visible")
    page.evaluate("""() => {
      const lines = Array.from({length: 60}, () => document.createElement("p"));
      lines.forEach((line) => { line.textContent = "and so on"; });
      document.getElementById("said").append(...lines);
      document.getElementById("captions").dispatchEvent(new Event("scroll"));
    }""")
    expect(page.locator("#follow")).to_be_visible()
    page.click("#stop")
    page.wait_for_selector("#transcript", state="visible")
    page.click("[aria-label='Back to the start']")
    page.click("#record")
    page.wait_for_selector("#live", state="visible")
    expect(page.locator("#follow")).to_be_hidden()
    page.click("#stop")
    page.wait_for_selector("#transcript", state="visible")


def test_text_is_copied_where_browsers_give_no_clipboard(opened):
    page = opened(record(lecture()), permissions=["clipboard-read"])
    page.evaluate("""() => {
      window.read = navigator.clipboard.readText.bind(navigator.clipboard);
      Object.defineProperty(navigator, "clipboard", {value: undefined});
    }""")
    page.click("#copy")
    page.wait_for_selector(".toast >> text=Copied")
    first = page.locator("#segments .words").first.inner_text()
    assert first in page.evaluate("window.read()")
    expect(page.locator("#copy")).to_be_focused()


def test_enter_that_ends_a_composition_does_not_end_the_title(opened):
    page = opened(record(lecture()))
    page.focus("#name")
    enter = """(composing) => document.getElementById("name").dispatchEvent(
      new KeyboardEvent("keydown", {key: "Enter", isComposing: composing, bubbles: true}))"""
    page.evaluate(enter, True)
    expect(page.locator("#name")).to_be_focused()
    page.evaluate(enter, False)
    expect(page.locator("#name")).not_to_be_focused()


def test_a_first_caption_takes_the_place_of_the_waiting(visit, alone, ready):
    page = visit(alone)
    ready(page)
    page.evaluate("""() => {
      window.seen = [];
      const look = () => window.seen.push(document.getElementById("captions").dataset.waiting);
      new MutationObserver(look).observe(document.getElementById("said"), {childList: true});
    }""")
    page.click("#record")
    page.wait_for_selector("#said p")
    page.click("#stop")
    page.wait_for_selector("#transcript", state="visible")
    assert page.evaluate("window.seen[0]") == ""


@pytest.mark.parametrize("width", [390, 1000])
def test_a_long_name_stays_inside_its_message(visit, alone, ready, tmp_path, width):
    page = visit(alone, viewport={"width": width}, expected="status of 400")
    ready(page)
    (tmp_path / f"{'lecture_' * 25}.mp3").write_text("these are notes")
    send(page, tmp_path / f"{'lecture_' * 25}.mp3")
    page.wait_for_selector(".toast")
    outer = page.locator(".toast").bounding_box()
    for inside in [*page.locator(".toast p").all(), page.locator(".toast button")]:
        box = inside.bounding_box()
        assert box["x"] + box["width"] <= outer["x"] + outer["width"]
    assert page.evaluate("document.querySelector('.toast p').scrollWidth") <= outer["width"]
    text = page.locator(".toast p").first.bounding_box()
    assert page.locator(".toast button").bounding_box()["x"] >= text["x"] + text["width"]


def test_what_another_tab_has_finished_is_not_lost(opened):
    page = opened(record(lecture()), expected="status of 404")
    page.evaluate("""async () => {
      const home = await import("/page/js/home.js");
      const stale = home.newResult({id: "one", title: "Lecture 3", job: "gone"});
      await home.transcribe(stale, {quiet: true});
    }""")
    page.reload()
    page.wait_for_selector("#transcript", state="visible")


def test_a_store_that_takes_no_blobs_keeps_the_bytes(visit, alone, ready, hello):
    page = visit(alone)
    ready(page)
    # Private windows of Safari are like that.
    page.evaluate("""() => {
      const {put} = IDBObjectStore.prototype;
      IDBObjectStore.prototype.put = function (result) {
        if (result.audio instanceof Blob) throw new DOMException("Blob/File data", "UnknownError");
        return put.call(this, result);
      };
    }""")
    send(page, hello)
    page.wait_for_selector("#transcript", state="visible")
    expect(page.locator(".toast")).to_have_count(0)
    page.reload()
    ready(page)
    becomes(page, "Math.round(document.querySelector('audio').duration)", 3)
    with page.expect_download() as coming:
        page.click("#download")
        page.click("[data-format=audio]")
    assert coming.value.path().read_bytes() == hello.read_bytes()


def test_the_clipboard_is_asked_within_the_click(opened):
    page = opened(record(lecture()))
    # Safari refuses it once the click is over.
    page.evaluate("""() => {
      const write = async (text) => { window.clicked = [Boolean(window.event), text]; };
      Object.defineProperty(navigator, "clipboard", {value: {writeText: write}});
    }""")
    page.click("#copy")
    page.wait_for_selector(".toast >> text=Copied")
    within, text = page.evaluate("window.clicked")
    assert within
    assert text == get_writer("txt").render(lecture())


def test_an_audio_thread_that_does_not_start_is_told(visit, alone, ready):
    page = visit(alone)
    ready(page)
    page.evaluate("""() => {
      AudioContext.prototype.resume = () => new Promise(() => {});
      const {getUserMedia} = navigator.mediaDevices;
      navigator.mediaDevices.getUserMedia = async function (wanted) {
        return window.stream = await getUserMedia.call(this, wanted);
      };
    }""")
    page.click("#record")
    page.wait_for_selector(".toast >> text=No microphone can be used")
    assert page.evaluate("window.stream.getTracks().map((it) => it.readyState)") == ["ended"]
    expect(page.locator("#home")).to_be_visible()
