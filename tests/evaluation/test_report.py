"""The page: what it holds, that nothing gets out of its place, and how it looks in a browser."""

from __future__ import annotations

import base64
import io
import re
import shutil
import subprocess
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest

from ark_asr.audio import load_audio
from ark_asr.batch.manifests import read_manifest
from ark_asr.evaluation import plots
from ark_asr.evaluation.clips import ogg_opus
from ark_asr.evaluation.intervals import Interval
from ark_asr.evaluation.job import Scoring, evaluate
from ark_asr.evaluation.report import page
from ark_asr.types import Audio
from listener import wav, write_jsonl

HOSTILE = "<script>alert(1)</script> & \"quoted\" 'x'"


@pytest.fixture
def scored(tmp_path):
    """Twelve short recordings, one missing; names, fields and texts that try to be markup."""
    rows, said = [], []
    for number in range(12):
        wav(tmp_path / f"{number}.wav", 10 + number)
        rows.append({"audio": f"{number}.wav", "text": "One two, three", "duration": number / 2 + 1,
                     "speaker": HOSTILE if number < 4 else "b"})  # fmt: skip
        said.append({"audio": f"{number}.wav", "pred_text": "one to three" if number % 2 else "one",
                     "segments": [{"text": "x", "confidence": number / 12, "words": [
                         {"text": "one", "start": 0, "end": 1, "confidence": 0.9}]}]})  # fmt: skip
    rows.append({"audio": "gone.wav", "text": HOSTILE, "speaker": "b", "duration": 1})
    said.append({"audio": "gone.wav", "pred_text": HOSTILE[::-1], "error": HOSTILE})
    manifest = write_jsonl(tmp_path / "test.jsonl", rows)
    predictions = write_jsonl(tmp_path / "out.jsonl", said)
    records = read_manifest(str(manifest))
    return evaluate(
        str(manifest), records, predictions, Scoring(by=("speaker", "duration")), other=predictions
    )


class Tags(HTMLParser):
    """Checks that every tag is closed in its place."""

    VOID = frozenset({"meta", "rect", "circle", "line", "br"})

    def __init__(self, text):
        super().__init__()
        self.open, self.seen = [], []
        self.feed(text)
        assert not self.open

    def handle_starttag(self, tag, attrs):
        self.seen.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.seen.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        if tag not in self.VOID:
            assert self.open.pop() == tag


def test_the_page_is_whole_and_fetches_nothing(scored):
    text = page(*scored)
    tags = Tags(text).seen
    names = [name for name, _ in tags]
    assert not {"script", "link", "img", "iframe"} & set(names)
    assert "alert(1)" in text
    addresses = [a for _, attrs in tags for k, a in attrs.items() if k in {"src", "href"}]
    assert addresses
    assert all(address.startswith("data:audio/ogg;base64,") for address in addresses)
    assert "default-src 'none'" in text
    assert names.count("article") == 13
    assert "no such file" in text  # the one without sound says why
    assert "By duration" in text
    assert "Single words" in text


def test_the_player_has_the_very_clip(tmp_path):
    tone = 0.3 * np.sin(2 * np.pi * 440 * np.arange(32_000) / 16_000)
    audio = Audio(tone.astype(np.float32), 16_000)
    data = ogg_opus(audio)
    assert data == ogg_opus(audio)
    assert len(data) < 12_000
    back = load_audio(io.BytesIO(data))
    assert back.duration == pytest.approx(2.0, abs=0.05)
    spectrum = np.abs(np.fft.rfft(back.samples[8000:24_000]))
    assert np.argmax(spectrum) == pytest.approx(440, abs=2)


def test_only_the_part_of_the_record_is_in_the_page(tmp_path):
    wav(tmp_path / "long.wav", 100)
    row = {"audio": "long.wav", "begin_time": 1.0, "end_time": 2.5}
    manifest = write_jsonl(tmp_path / "m.jsonl", [{**row, "text": "a"}, {**row, "text": "b"}])
    predictions = write_jsonl(tmp_path / "p.jsonl", [{**row, "pred_text": "x"}] * 2)
    found = evaluate(str(manifest), read_manifest(str(manifest)), predictions, Scoring())
    clip = re.search(r"base64,([^\"]+)", page(*found))[1]
    assert load_audio(io.BytesIO(base64.b64decode(clip))).duration == pytest.approx(1.5, abs=0.05)
    assert "1.0 to 2.5 s" in page(*found)


def test_voices_can_be_left_out(scored):
    text = page(*scored, audio=False)
    assert "<audio" not in text
    assert "the voices were left out" in text
    assert len(text) < 60_000


def test_two_runs_are_both_shown(scored):
    _, summary = scored
    compared = page(*scored, audio=False).partition("<h2>Compared</h2>")[2].partition("<section")[0]
    assert compared.count('class="bar"') == 2
    wer = summary.comparison.rates.wer
    assert compared.count(f"<td>{plots.percent(wer)}</td>") == 2  # they are the same here
    assert "no difference that these data can show" in compared


def test_texts_run_in_their_own_direction(scored):
    """Names and texts from right to left keep their order and their punctuation."""
    rows, summary = scored
    arabic = replace(rows[0].record, audio="أحمد.wav", text="مرحبا بالعالم، كيف حالك؟")
    text = page([replace(rows[0], record=arabic), *rows[1:]], summary, audio=False)
    assert f"<bdi>{arabic.audio}</bdi>" in text
    assert f'<p dir="auto">{arabic.text}</p>' in text
    assert text.count('<p class="aligned" dir="auto">') == text.count("<article>")


def test_a_set_without_errors_and_without_fields(tmp_path):
    wav(tmp_path / "a.wav", 10)
    manifest = write_jsonl(tmp_path / "m.jsonl", [{"audio": "a.wav", "text": "a"}])
    predictions = write_jsonl(tmp_path / "p.jsonl", [{"audio": "a.wav", "pred_text": "a"}])
    text = page(*evaluate(str(manifest), read_manifest(str(manifest)), predictions, Scoring()))
    Tags(text)
    assert "0.0 %" in text
    assert "no interval" in text
    assert "<article>" not in text


def test_ticks_are_round_and_cover():
    assert plots.ticks(0, 1) == [0, 0.2, 0.4, 0.6, 0.8, 1]
    assert plots.ticks(3, 27) == [0, 5, 10, 15, 20, 25, 30]
    assert plots.ticks(2, 2) == [2]
    for low, high in ((0.001, 0.0017), (5, 4000), (0, 0.1)):
        found = plots.ticks(low, high)
        assert found[0] <= low
        assert found[-1] >= high
        assert 4 <= len(found) <= 8


def test_a_bar_is_as_long_as_its_rate():
    drawn = plots.bar(0.25, Interval(0.2, 0.4), 0.5)
    assert 'width="50.00"' in drawn
    assert 'x="40.00"' in drawn
    assert "25.0 %, 95 % 20.0 % to 40.0 %" in drawn


def photograph(browser, path, shot):
    command = [browser, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars",
               "--enable-logging=stderr", "--window-size=1000,2400", f"--user-data-dir={shot}.d",
               f"--screenshot={shot}", path.as_uri()]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=180, check=True)
    return [line for line in done.stderr.splitlines() if "CONSOLE" in line]


@pytest.mark.slow
def test_a_browser_shows_it_without_complaint(scored, tmp_path):
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    if browser is None:
        pytest.skip("no chromium on this machine to look at the page with")
    image = pytest.importorskip("PIL.Image", reason="needs pillow to read the screenshot")
    text = page(*scored)
    file = tmp_path / "report.html"
    file.write_text(text, encoding="utf-8")
    assert photograph(browser, file, tmp_path / "shot.png") == []
    pixels = np.asarray(image.open(tmp_path / "shot.png").convert("RGB"))
    assert pixels.shape == (2400, 1000, 3)
    # Something is drawn from top to bottom, in the colours of the alignment too.
    inked = (pixels != pixels[0, 0]).any(axis=(1, 2))
    assert inked[:1500].mean() > 0.4
    assert (np.abs(pixels.astype(int) - (40, 103, 178)).sum(axis=2) < 20).sum() > 100
    # The same check does see a page that complains.
    file.write_text(text.replace("</body>", "<script>x</script></body>"), encoding="utf-8")
    assert photograph(browser, file, tmp_path / "bad.png")


@pytest.mark.slow
def test_it_fits_its_window_and_its_paper(scored):
    """What a model that loops has written is one long word; a lecture is a long text."""
    playwright = pytest.importorskip("playwright.sync_api", reason="needs playwright to look")
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    if browser is None:
        pytest.skip("no chromium on this machine to look at the page with")
    rows, summary = scored
    long = {"reference": "a " * 2000, "ref_tokens": ("a",) * 2000, "hyp_tokens": ("ha" * 400,)}
    looped = replace(rows[0], score=replace(rows[0].score, cer_errors=4000.0, **long),
                     record=replace(rows[0].record, audio="a" * 400, text="h" * 400))  # fmt: skip
    text = page([looped, *rows[1:]], summary, audio=False).replace("<details>", "<details open>")
    with playwright.sync_playwright() as started:
        chromium = started.chromium.launch(executable_path=browser, args=["--no-sandbox"])
        shown = chromium.new_page(color_scheme="dark")
        shown.set_content(text)
        for width in (1200, 340):
            shown.set_viewport_size({"width": width, "height": 800})
            assert shown.evaluate("document.documentElement.scrollWidth") == width
        aligned = shown.locator(".aligned").first
        assert aligned.evaluate("one => one.scrollHeight > one.clientHeight")
        shown.emulate_media(media="print")
        assert aligned.evaluate("one => one.scrollHeight <= one.clientHeight")
        ink, paper = (
            shown.evaluate(f"getComputedStyle(document.body).{name}")
            for name in ("color", "backgroundColor")
        )
        assert (ink, paper) == ("rgb(29, 35, 41)", "rgb(255, 255, 255)")
        chromium.close()
