"""Firefox and WebKit, driven by what comes with them: no package is needed for it.

Both take the commands of WebDriver (https://www.w3.org/TR/webdriver2/): WebKit as HTTP requests
to `WebKitWebDriver`, Firefox as Marionette, as from geckodriver: ``length:json`` over TCP, with
``[0, number, command, parameters]`` there and ``[1, number, error, result]`` back
(https://firefox-source-docs.mozilla.org/testing/marionette/Protocol.html).
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
from contextlib import ExitStack, suppress
from itertools import count
from pathlib import Path

import httpx
import pytest

from ports import free_port
from serving import PATIENCE, eventually

# An answer may come late, and a script's own time is over before.
ANSWERS_WITHIN, ENDS_WITHIN = 1.5 * PATIENCE, 5.0

ELEMENT = "element-6066-11e4-a52e-4f735466cecf"  # how the standard names an element's number
ENTER = "\ue007"
MINI_BROWSERS = "usr/lib/*/webkit2gtk-4.1/MiniBrowser"
# Marionette's names of commands, and where they are for WebKitWebDriver.
PATHS = {
    "Navigate": "url",
    "ExecuteScript": "execute/sync",
    "ExecuteAsyncScript": "execute/async",
    "Refresh": "refresh",
    "FindElement": "element",
    "ElementClick": "element/{id}/click",
    "ElementSendKeys": "element/{id}/value",
    "PerformActions": "actions",
    "SetTimeouts": "timeouts",
}
PREFERENCES = {
    "marionette.port": 0,
    "browser.download.folderList": 2,
    "browser.privatebrowsing.autostart": True,
    "media.autoplay.default": 0,
    "media.navigator.permission.disabled": True,
    "media.navigator.streams.fake": True,
    "datareporting.policy.dataSubmissionEnabled": False,
    "app.update.disabledForTesting": True,
    "intl.accept_languages": "en-GB",
    "intl.locale.requested": "en-US",
}
# Another folder, another language, or the screen that someone sits at.
NOT_OURS = ("XDG_CONFIG", "XDG_DATA", "XDG_CACHE", "XDG_STATE", "XDG_DOWNLOAD", "LANG", "LC_",
            "WAYLAND", "MOZ_")  # fmt: skip


class Browser:
    """A browser with a private window.

    Args:
        home: An empty folder: its profile, and where it saves what is downloaded.

    One that is not installed, or does not start, is no fault of the page: its tests are skipped.
    """

    def __init__(self, home: Path) -> None:
        self.home = home
        self.ends = ExitStack()
        self.begin()

    def begin(self):
        """Open a private window; again, after it was closed."""
        try:
            self.open()
            within = int(1000 * PATIENCE)
            self.ask("SetTimeouts", script=within, pageLoad=within)
            self._show_nothing()
        except BaseException:
            self.close()
            raise

    def open(self):
        raise NotImplementedError

    def asked(self, command, parameters):
        raise NotImplementedError

    def ask(self, command, **parameters):
        try:
            return self.asked(command, parameters)
        except (OSError, EOFError, httpx.HTTPError):
            self.close()  # it hangs, or is gone: no other test waits as long for it
            raise

    def start(self, *command, stdout=subprocess.DEVNULL, **variables):
        own = {name: it for name, it in os.environ.items() if not name.startswith(NOT_OURS)}
        process = self.ends.enter_context(
            subprocess.Popen(
                command,
                stdout=stdout,
                stderr=subprocess.DEVNULL,
                env={**own, "HOME": str(self.home), "LC_ALL": "C.UTF-8", **variables},
                # A group of its own: a browser has many processes, and some may hang.
                start_new_session=True,
            )
        )
        self.ends.callback(_end, process)
        return process

    def comes(self, process, sign):
        """What a program gives as a sign that it has started."""
        eventually(lambda: sign() or process.poll() is not None)
        if not (found := sign()):
            pytest.skip(f"{process.args[0]} does not start here (exit code {process.poll()})")
        return found

    def close(self):
        self.ends.close()

    def _show_nothing(self):
        # What shows pages is a process of its own; a container may not let it begin.
        try:
            self.go("about:blank")
        except AssertionError as error:
            pytest.skip(f"{type(self).__name__} can show no page here ({error})")

    def go(self, url):
        self.ask("Navigate", url=url)

    def reload(self):
        """Load the page again; whether that was possible, see `WebKit.reload`."""
        self.ask("Refresh")
        return True

    def js(self, script, *args):
        return self.ask("ExecuteScript", script=script, args=args)

    def do(self, script, *args):
        """Run the body of an async function; an error in it is the answer."""
        return self.ask(
            "ExecuteAsyncScript",
            script="const [done, ...given] = [[...arguments].pop(), ...arguments];"
            f"(async () => {{ {script} }})().then(done, (error) => done(String(error)));",
            args=args,
        )

    def _element(self, css):
        return self.ask("FindElement", using="css selector", value=css)[ELEMENT]

    def click(self, css):
        self.ask("ElementClick", id=self._element(css))

    def choose(self, css, path):
        self.ask("ElementSendKeys", id=self._element(css), text=str(path))

    def press(self, *keys):
        strokes = [{"type": kind, "value": key} for key in keys for kind in ("keyDown", "keyUp")]
        self.ask("PerformActions", actions=[{"type": "key", "id": "keys", "actions": strokes}])

    def becomes(self, script, wanted=True):
        """Ask the page until it answers what is wanted."""
        found = []
        eventually(lambda: found.append(self.js(f"return {script}")) or found[-1] == wanted)
        assert found[-1] == wanted, f"{script}: {found[-1]!r}"


def _end(process):
    # Asked to end, a screen removes its socket. What hangs is not asked again.
    for sent in (signal.SIGTERM, signal.SIGKILL):
        with suppress(ProcessLookupError):
            os.killpg(process.pid, sent)
        with suppress(subprocess.TimeoutExpired):
            process.wait(ENDS_WITHIN)


def _text(path):
    """The one number in a file, once it is there."""
    return path.read_text().strip() if path.is_file() else ""


class Firefox(Browser):
    """The system's own, headless, with a microphone that hums."""

    def open(self):
        program = next(filter(None, map(shutil.which, ("firefox", "firefox-esr"))), None)
        if program is None:
            pytest.skip("looked for firefox and firefox-esr (apt install firefox-esr)")
        lines = {**PREFERENCES, "browser.download.dir": str(self.home)}.items()
        profile = self.home / "profile"
        profile.mkdir()
        (profile / "user.js").write_text(
            "".join(
                f"user_pref({json.dumps(name)}, {json.dumps(value)});\n" for name, value in lines
            )
        )
        arguments = ("--headless", "--marionette", "--no-remote", "--profile", str(profile))
        firefox = self.start(program, *arguments)
        port = self.comes(firefox, lambda: _text(profile / "MarionetteActivePort"))
        self.numbers = count(1)
        address = ("127.0.0.1", int(port))
        self.socket = self.ends.enter_context(socket.create_connection(address, ANSWERS_WITHIN))
        self.answers = self.ends.enter_context(self.socket.makefile("rb"))
        self._read()  # who it is
        self.ask("NewSession")

    def asked(self, command, parameters):
        if "Script" in command:
            parameters["sandbox"] = None  # as the page's own scripts
        message = json.dumps([0, next(self.numbers), f"WebDriver:{command}", parameters]).encode()
        self.socket.sendall(b"%d:%s" % (len(message), message))
        _, _, error, result = self._read()
        assert error is None, f"{command}: {error['message']}"
        return result.get("value") if isinstance(result, dict) else result

    def _read(self):
        length = b""
        while not length.endswith(b":"):
            length += (digit := self.answers.read(1))
            if not digit:
                raise EOFError("Firefox has ended")
        return json.loads(self.answers.read(int(length[:-1])))


class WebKit(Browser):
    """WebKitGTK's small browser, on a screen that nobody sees, with a microphone that beeps."""

    def open(self):
        driver, screen = shutil.which("WebKitWebDriver"), shutil.which("Xvfb")
        small = next(Path("/").glob(MINI_BROWSERS), None)
        if None in (driver, screen, small):
            pytest.skip(
                "looked for WebKitWebDriver, its MiniBrowser and Xvfb "
                "(apt install webkit2gtk-driver xvfb)"
            )
        number, port = self.home / "display", free_port()
        with number.open("wb") as file:
            xvfb = self.start(screen, "-displayfd", "1", stdout=file)
        display = f":{self.comes(xvfb, lambda: _text(number))}"
        # GTK would take a screen of Wayland that is there first.
        there = self.start(driver, f"--port={port}", DISPLAY=display, GDK_BACKEND="x11")
        self.http = self.ends.enter_context(
            httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=ANSWERS_WITHIN)
        )
        self.comes(there, self._listens)
        arguments = ["--automation", "--enable-mock-capture-devices=true"]
        options = {"binary": str(small), "args": arguments}
        wanted = {"alwaysMatch": {"webkitgtk:browserOptions": options}}
        begun = self.http.post("/session", json={"capabilities": wanted}).json()["value"]
        if "error" in begun:
            pytest.skip(f"{small} does not start here ({begun['message']})")
        self.session = begun["sessionId"]

    def reload(self):
        """WebKit 2.50 hung here in one run of six, while the server had nothing to do, and hung on.

        Then it has a new private window, and has forgotten the old one.
        """
        try:
            return super().reload()
        except AssertionError as error:
            if "'timeout'" not in str(error):
                raise
            self.close()
            self.begin()
            return False

    def _listens(self):
        try:
            return self.http.get("/status").is_success
        except httpx.ConnectError:
            return False

    def asked(self, command, parameters):
        path = PATHS[command].format(**parameters)
        answer = self.http.post(f"/session/{self.session}/{path}", json=parameters).json()["value"]
        assert not (isinstance(answer, dict) and "error" in answer), f"{command}: {answer}"
        return answer
