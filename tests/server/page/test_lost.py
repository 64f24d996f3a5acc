"""A server that is killed at work: whose recording it was is told, and can send it again."""

from __future__ import annotations

import subprocess
import sys
from contextlib import contextmanager

import httpx
import numpy as np
import pytest

from ark_asr.audio import load_audio
from looking import becomes, expect
from ports import free_port
from programs import started
from serving import eventually, http, serving, write_wav

TOLD = ".toast >> text=The server was restarted, or no longer keeps talk. It must be sent again."
# Of each result that the browser has: its title, whether it has a job, whether it has a transcript.
KEPT = """async () => {
  const {all} = await import("/page/js/store.js");
  return (await all()).map(({title, job, document}) => [title, Boolean(job), Boolean(document)]);
}"""

# Whoever deletes something waits for it: so one click can come before.
SLOW = """{
  const usual = window.fetch;
  window.fetch = async (address, options) => {
    if (options?.method === "DELETE") await new Promise((resolve) => setTimeout(resolve, 1500));
    return usual(address, options);
  };
}"""


class Program:
    """`ark-asr serve` in a process of its own, which can be killed and started again."""

    def __init__(self, port, process):
        self.url = f"http://127.0.0.1:{port}"
        self._process = process

    def ready(self):
        """Whether it answers."""
        try:
            return http.get(f"{self.url}/ready").status_code == 200
        except httpx.TransportError:
            return False

    def jobs(self):
        """What it knows of."""
        return http.get(f"{self.url}/jobs").json()["data"]

    def kill(self):
        """As the system does for want of memory."""
        self._process.kill()
        self._process.wait()


@contextmanager
def program(port, *options):
    command = [sys.executable, "-m", "ark_asr", "serve", "--port", port, "--threads", "1", *options]
    with started(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            served = Program(port, process)
            assert eventually(served.ready)
            yield served
        finally:
            process.kill()


@pytest.fixture(scope="module")
def talk(root, tmp_path_factory):
    """Twenty minutes: far from done when the server is killed."""
    minute = load_audio(root / "samples" / "minute.flac").samples
    return write_wav(tmp_path_factory.mktemp("talk") / "talk.wav", np.tile(minute, 20))


def send(page, talk):
    """Until it is being transcribed."""
    page.set_input_files("#file", str(talk))
    page.wait_for_selector(".job >> text=/ of 2/")


@pytest.fixture
def killed(visit, ready, talk):
    """Opens the page again after its server was killed at work, and started again."""

    @contextmanager
    def killed(*options, keep=True):
        port = free_port()
        with program(port, *options) as served:
            # Chromium says so of a server that is killed, and of a job that is not there.
            page = visit(served, expected="Failed to load resource")
            ready(page)
            if not keep:
                page.click("summary")
                page.uncheck("#keep")
            send(page, talk)
            served.kill()
        page.add_init_script(SLOW)
        with program(port, *options) as served:
            page.reload()
            ready(page)
            yield page, served

    return killed


def test_it_is_told_until_it_is_dismissed(killed, ready):
    with killed() as (page, _):
        page.wait_for_selector(TOLD)
        expect(page.locator(".job")).to_have_count(0)
        expect(page.locator("#recent li")).to_have_count(0)
        page.reload()
        ready(page)
        page.wait_for_selector(TOLD)
        expect(page.locator(".toast")).to_have_count(1)
        page.click(".toast [aria-label='Close this message']")
        expect(page.locator(".toast")).to_have_count(0)
        becomes(page, KEPT, [])
        page.reload()
        ready(page)
        expect(page.locator(".job")).to_have_count(0)
        expect(page.locator(".toast")).to_have_count(0)
        assert page.evaluate("[sessionStorage.length, document.cookie]") == [0, ""]


def test_it_can_be_sent_again_from_there(killed):
    with killed() as (page, served):
        page.wait_for_selector(TOLD)
        page.click(".toast >> text=Send it again")
        page.wait_for_selector(".job >> text=/ of 2/")
        expect(page.locator(".toast")).to_have_count(0)
        assert [job["filename"] for job in served.jobs()] == ["talk.wav"]
        assert page.evaluate(KEPT) == [["talk", True, False]]
        page.click(".job button")
        expect(page.locator(".job")).to_have_count(0)
        assert eventually(lambda: served.jobs() == [])
        becomes(page, KEPT, [])


def test_a_server_that_keeps_its_jobs_goes_on(killed, tmp_path):
    with killed("--jobs", tmp_path / "jobs.db") as (page, served):
        page.wait_for_selector(".job >> text=/ of 2/")
        expect(page.locator(".toast")).to_have_count(0)
        page.click(".job button")
        assert eventually(lambda: served.jobs() == [])


def test_who_keeps_nothing_in_the_browser_finds_nothing_there(killed):
    with killed(keep=False) as (page, _):
        assert page.evaluate(KEPT) == []
        assert page.evaluate("sessionStorage.length") == 0
        expect(page.locator(".toast")).to_have_count(0)


def test_what_another_tab_cancels_is_not_lost(visit, ready, talk):
    with serving() as served:
        page = visit(served, expected="status of 404")
        ready(page)
        with served.standing():
            page.set_input_files("#file", str(talk))
            becomes(page, KEPT, [["talk", True, False]])
            other = page.context.new_page()
            other.goto(served.url)
            ready(other)
            expect(other.locator(".job")).to_have_count(1)
            page.click(".job button")
            expect(page.locator(".job")).to_have_count(0)
            expect(other.locator(".job")).to_have_count(0)
            expect(other.locator(".toast")).to_have_count(0)


def test_while_the_server_does_not_answer_nothing_is_given_up(visit, ready, talk):
    port = free_port()
    with program(port) as served:
        page = visit(served, expected="Failed to load resource")
        page.clock.install()
        page.reload()
        ready(page)
        send(page, talk)
        served.kill()
        page.wait_for_selector(".job >> text=The server does not answer")
        for _ in range(600):  # it tries again for half a minute, which nobody needs to wait here
            if page.locator(".toast").count():
                break
            page.clock.run_for(1_000)
        page.wait_for_selector(".toast >> text=The server does not answer. Is it still running?")
        expect(page.locator(".job")).to_have_count(0)
    with program(port):
        page.reload()
        ready(page)
        page.wait_for_selector(TOLD)
