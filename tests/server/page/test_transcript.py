"""A transcript on the page: read, heard, searched, corrected, saved; found again, and deleted."""

from __future__ import annotations

import re

import numpy as np
import pytest

from ark_asr.writers import get_writer, parse_transcripts
from lectures import lecture, record
from looking import becomes, expect
from serving import write_wav

SAID = tuple(segment.text for segment in lecture().segments)
KEPT_TITLE = """new Promise((done) => {
  const opening = indexedDB.open("ark-asr");
  opening.onsuccess = () => {
    const asked = opening.result.transaction("results").objectStore("results").get("one");
    asked.onsuccess = () => done(asked.result?.title);
  };
})"""
BESIDE = """(() => {
  const boxOf = (id) => document.getElementById(id).getBoundingClientRect();
  const [button, menu] = [boxOf("download"), boxOf("formats")];
  const across = menu.left >= 0 && menu.right <= innerWidth;
  const inSight = across && menu.top >= 0 && menu.bottom <= innerHeight;
  return inSight && menu.height > 100 && (menu.bottom <= button.top || menu.top >= button.bottom);
})()"""
THEN = ("roads", "lead", "to", "Rome", "let", "us", "begin.")


@pytest.fixture(scope="module")
def hum(tmp_path_factory):
    """Ten seconds of sound."""
    samples = 0.1 * np.sin(np.arange(160_000) / 10, dtype=np.float32)
    return write_wav(tmp_path_factory.mktemp("hum") / "hum.wav", samples)


@pytest.fixture
def page(opened, hum):
    return opened(record(lecture()), hum)


def saved(page, name):
    page.click("#download")
    with page.expect_download() as coming:
        page.click(f"[data-format={name}]")
    return coming.value.suggested_filename, coming.value.path().read_bytes()


def reads(page, *texts):
    expect(page.locator("#segments .words")).to_have_text(list(texts), use_inner_text=True)


def edit(page, at, text):
    page.locator(".segment").nth(at).hover()
    page.locator(".segment .pen").nth(at).click()
    page.fill(".editing", text)
    page.keyboard.press("Enter")


def test_it_shows_what_was_said_and_underlines_doubts(page):
    reads(page, *SAID)
    expect(page.locator(".doubtful")).to_have_text(["Rome"], use_inner_text=True)
    line = "getComputedStyle(document.querySelector('.doubtful')).textDecorationLine"
    becomes(page, line, "underline")
    page.click("#doubts")
    expect(page.locator("#doubts")).to_have_attribute("aria-pressed", "false")
    becomes(page, line, "none")


def test_a_click_on_a_word_plays_from_it_and_words_light_up(page):
    page.evaluate("""() => {
      const lit = window.lit = [];
      const see = ([{target}]) => target.classList.contains("said") && lit.push(target.textContent);
      const what = {subtree: true, attributeFilter: ["class"]};
      new MutationObserver(see).observe(document.querySelector("#segments"), what);
    }""")
    page.click(".word >> text=roads")
    page.wait_for_selector("#play[aria-label=Pause]")
    page.locator("#at", has_text=re.compile("0:0[6-9]|0:10")).wait_for()
    lit = page.evaluate("window.lit")
    # A busy machine may not show each of them.
    assert len(lit) > 1
    assert lit == [word for word in THEN if word in lit]


def test_the_word_at_the_position_is_lit(page):
    expect(page.locator("#length")).to_have_text("0:10", use_inner_text=True)
    page.fill("#seek", "5.3")
    page.wait_for_selector(".word.said >> text=to")
    page.fill("#seek", "5.55")
    page.wait_for_selector(".word.said", state="detached")
    page.fill("#seek", "0.6")
    page.wait_for_selector(".word.said >> text=Good")


def test_search_counts_walks_and_marks(page):
    page.fill("#find", "o")
    expect(page.locator("#found")).to_have_text("1 of 7", use_inner_text=True)
    page.keyboard.press("Enter")
    expect(page.locator("#found")).to_have_text("2 of 7", use_inner_text=True)
    page.click("#find-previous")
    page.click("#find-previous")
    expect(page.locator("#found")).to_have_text("7 of 7", use_inner_text=True)
    page.fill("#find", "LEAD  TO r")
    becomes(page, "[...CSS.highlights.get('found-now')].map(String)", ["lead to R"])
    page.fill("#find", "(.*")
    expect(page.locator("#found")).to_have_text("not found", use_inner_text=True)


def test_downloads_hold_edits_and_names(page):
    edit(page, 1, "all roads lead to Athens")
    page.locator(".segment .speaker").nth(1).click()
    page.fill("#speaker-name", "Ann Lee")
    page.check("[name=reach][value=one]")
    page.click("#speaker-dialog .main")
    for name in ("txt", "md", "srt", "vtt", "lrc", "tsv", "csv", "json", "jsonl", "docx"):
        title, data = saved(page, name)
        assert title == f"Lecture 3.{name}"
        assert b"Athens" in data
        assert b"Ann Lee" in data
        # What the model said first stays only in the formats for programs, as raw_text.
        assert data.count(b"Rome") == (name in ("json", "jsonl"))


def test_the_saved_json_is_read_by_the_package(page):
    edit(page, 2, "so let us begin.")
    _, data = saved(page, "json")
    (read,) = parse_transcripts(data, "page")
    assert read.segments[2].text == "so let us begin."
    assert read.segments[2].flags == ("edited",)
    _, text = saved(page, "txt")
    assert get_writer("txt").render(read) == text.decode()


def test_the_recording_can_be_saved(page, hum):
    assert saved(page, "audio") == ("lecture.wav", hum.read_bytes())


def test_edits_can_be_left_and_undone_and_outlive_the_page(page, ready):
    page.locator(".segment .words").first.dblclick()
    page.fill(".editing", "nonsense")
    page.keyboard.press("Escape")
    reads(page, *SAID)
    edit(page, 0, "Good evening, everyone")
    edit(page, 0, "")
    reads(page, *SAID[1:])
    page.click("#undo")
    page.fill("#name", "Rome, lecture 3")
    page.keyboard.press("Enter")
    becomes(page, KEPT_TITLE, "Rome, lecture 3")
    page.reload()
    ready(page)
    reads(page, "Good evening, everyone", *SAID[1:])
    expect(page.locator("#name")).to_have_value("Rome, lecture 3")
    expect(page.locator("#meta")).to_contain_text("edited")


def test_markup_in_a_transcript_is_only_text(opened):
    hostile = "<img src=x onerror=alert(1)> &amp; <b>bold</b>"
    document = record(lecture())
    document["segments"] = [{**document["segments"][2], "text": hostile, "speaker": hostile}]
    page = opened({**document, "text": hostile, "warnings": [hostile], "model": hostile})
    reads(page, hostile)
    expect(page.locator("#main img")).to_have_count(0)


def test_recent_results_stay_in_this_browser_until_deleted(page, visit, served, ready):
    page.click("[aria-label='Back to the start']")
    expect(page.locator("#recent strong")).to_have_text(["Lecture 3"], use_inner_text=True)
    page.click("[aria-label='Delete Lecture 3']")
    expect(page.locator("#recent li")).to_have_count(0)
    page.click(".toast >> text=Undo")
    page.wait_for_selector("#recent li")
    other = visit(served)
    ready(other)
    expect(other.locator("#recent li")).to_have_count(0)
    page.click("#delete-all")
    page.click("#confirm-ok")
    page.wait_for_selector("#nothing")
    page.reload()
    ready(page)
    expect(page.locator("#recent li")).to_have_count(0)


def test_with_no_wish_to_keep_results_none_outlives_the_page(page, ready):
    page.click("[aria-label='Back to the start']")
    page.click("summary")
    page.uncheck("#keep")
    page.evaluate("""async (document) => {
      const home = await import("/page/js/home.js");
      await home.keep(home.newResult({title: "secret", source: "s", document}));
    }""", record(lecture()))  # fmt: skip
    page.reload()
    ready(page)
    expect(page.locator("#recent strong")).to_have_text(["Lecture 3"], use_inner_text=True)
    expect(page.locator("#keep")).not_to_be_checked()


def test_transcribing_again_can_be_undone(page):
    edit(page, 0, "Good evening")
    page.click("#again")
    page.click("#confirm-ok")
    page.wait_for_selector("#silent", state="visible")  # the recording is a hum
    expect(page.locator(".word")).to_have_count(0)
    page.click("#undo")
    reads(page, "Good evening", *SAID[1:])


def test_by_keyboard_alone(page):
    page.focus("#find")
    for _ in range(9):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.matches('.word')"):
            break
    focused = "document.activeElement.textContent"
    becomes(page, focused, "Good")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("End")
    becomes(page, focused, "Rome")
    page.keyboard.press("e")
    expect(page.locator(".editing")).to_have_value("all roads lead to Rome")
    page.keyboard.press("End")
    page.keyboard.type(" slowly")
    page.keyboard.press("Enter")
    reads(page, SAID[0], "all roads lead to Rome slowly", *SAID[2:])
    page.keyboard.press("s")
    page.keyboard.type("Ann")
    page.keyboard.press("Enter")
    expect(page.locator(".speaker[data-colour]")).to_have_text(["Ann", "Ann"], use_inner_text=True)
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("Enter")
    page.wait_for_selector("#play[aria-label=Pause]")
    page.keyboard.press("Space")
    page.wait_for_selector("#play[aria-label=Play]")
    page.keyboard.press("Tab")
    becomes(page, "document.activeElement.id", "play")


def test_a_damaged_recording_and_a_missing_one_say_so(opened, tmp_path):
    noise = tmp_path / "noise.wav"
    noise.write_bytes(b"no sound at all")
    page = opened(record(lecture()), noise)
    page.wait_for_selector("#player[data-note*='cannot play']")
    page.click(".word >> text=roads")  # nothing to play, and no error in the console
    page = opened(record(lecture()))
    page.wait_for_selector("#player[data-note*='not kept']")
    expect(page.locator("#play")).to_be_disabled()
    expect(page.locator("#length")).to_have_text("0:10", use_inner_text=True)


@pytest.mark.parametrize(("width", "height"), [(1000, 800), (700, 340), (320, 640)])
def test_the_menu_of_formats_is_beside_its_button_and_in_sight(opened, width, height):
    page = opened(record(lecture()), viewport={"width": width, "height": height})
    page.click("#download")
    becomes(page, BESIDE, True)
    page.evaluate("scrollTo({top: 60, behavior: 'instant'})")
    becomes(page, BESIDE, True)


def test_arrow_keys_go_the_way_of_the_script(opened):
    document = record(lecture())
    [first, *_] = document["segments"]
    text = "شارع واحد كبير"
    page = opened({**document, "segments": [{**first, "text": text, "words": []}]})
    words = page.locator(".word")
    words.first.focus()
    page.keyboard.press("ArrowLeft")
    expect(words.nth(1)).to_be_focused()
    assert words.nth(1).bounding_box()["x"] < words.first.bounding_box()["x"]
    page.keyboard.press("ArrowRight")
    expect(words.first).to_be_focused()


def test_a_long_transcript_opens(opened):
    document = record(lecture())
    [one, *_] = document["segments"]

    def later(by):
        moved = {name: value + by for name, value in one.items() if name in ("start", "end")}
        words = [{**it, "start": it["start"] + by, "end": it["end"] + by} for it in one["words"]]
        return {**one, **moved, "words": words}

    many = [later(3.0 * at) for at in range(600)]
    page = opened({**document, "segments": many, "duration": 1800.0})
    expect(page.locator(".segment")).to_have_count(600)
    page.fill("#find", "morning")
    expect(page.locator("#found")).to_have_text("1 of 600", use_inner_text=True)
