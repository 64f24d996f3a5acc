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

from serving import PATIENCE, eventually

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
}


class Browser:
    """A browser with a private window.

    Args:
        home: An empty folder: its profile, and where it saves what is downloaded.
    """

    def __init__(self, home: Path) -> None:
        self.home = home
        self.ends = ExitStack()
        try:
            self.open()
            self.ask("SetTimeouts", script=1000 * PATIENCE)
        except BaseException:
            self.close()
            raise

    def open(self):
        raise NotImplementedError

    def ask(self, command, **parameters):
        raise NotImplementedError

    def start(self, *command, **options):
        # In a group of its own: a browser has many processes, and some may hang.
        options = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL} | options
        process = self.ends.enter_context(
            subprocess.Popen(command, start_new_session=True, **options)
        )
        self.ends.callback(_kill, process.pid)
        return process

    def close(self):
        self.ends.close()

    def go(self, url):
        self.ask("Navigate", url=url)

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


def _kill(group):
    with suppress(ProcessLookupError):
        os.killpg(group, signal.SIGKILL)


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
        self.start(program, "--headless", "--marionette", "--no-remote", "--profile", str(profile))
        port = profile / "MarionetteActivePort"
        assert eventually(lambda: port.is_file() and port.read_text())
        self.numbers = count(1)
        address = ("127.0.0.1", int(port.read_text()))
        self.socket = self.ends.enter_context(socket.create_connection(address, PATIENCE))
        self.answers = self.ends.enter_context(self.socket.makefile("rb"))
        self._read()  # who it is
        self.ask("NewSession")

    def ask(self, command, **parameters):
        if "Script" in command:
            parameters["sandbox"] = None  # as the page's own scripts
        message = json.dumps([0, next(self.numbers), f"WebDriver:{command}", parameters]).encode()
        self.socket.sendall(b"%d:%s" % (len(message), message))
        _, _, error, result = self._read()
        assert error is None, f"{command}: {error}"
        return result.get("value") if isinstance(result, dict) else result

    def _read(self):
        length = b"".join(iter(lambda: self.answers.read(1), b":"))
        return json.loads(self.answers.read(int(length)))


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
        shown = self.start(screen, "-displayfd", "1", stdout=subprocess.PIPE)
        display = f":{int(shown.stdout.readline())}"
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        here = {"DISPLAY": display, "HOME": str(self.home)}
        self.start(driver, f"--port={port}", env={**os.environ, **here})
        self.http = self.ends.enter_context(
            httpx.Client(base_url=f"http://127.0.0.1:{port}/session", timeout=PATIENCE)
        )
        arguments = ["--automation", "--enable-mock-capture-devices=true"]
        options = {"binary": str(small), "args": arguments}
        wanted = {"alwaysMatch": {"webkitgtk:browserOptions": options}}
        answer = eventually(lambda: self._begun({"capabilities": wanted}))
        self.session = answer.json()["value"]["sessionId"]

    def _begun(self, wanted):
        try:
            return self.http.post("", json=wanted)
        except httpx.ConnectError:  # the driver itself is not there yet
            return None

    def ask(self, command, **parameters):
        path = PATHS[command].format(**parameters)
        answer = self.http.post(f"/{self.session}/{path}", json=parameters).json()["value"]
        assert not (isinstance(answer, dict) and "error" in answer), f"{command}: {answer}"
        return answer
