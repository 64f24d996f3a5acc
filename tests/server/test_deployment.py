"""The files of deploy/ do what docs/deployment.md says of them, as far as this machine can tell."""

from __future__ import annotations

import configparser
import json
import re
import shlex
import shutil
import subprocess
import sys
import threading
import time
import tomllib
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
import typer
from websockets.sync.client import connect

from ark_asr.audio import load_audio
from ark_asr.cli.serve import app
from ark_asr.server.settings import Settings
from ports import free_port
from proxies import certified, proxied
from serving import PATIENCE, serving

ORIGIN = "https://asr.example.org"


@pytest.fixture(scope="module")
def deploy(root):
    return root / "deploy"


@pytest.fixture(scope="module")
def unit(deploy):
    parser = configparser.ConfigParser(interpolation=None, delimiters=("=",))
    parser.optionxform = str
    parser.read_string((deploy / "ark-asr.service").read_text(encoding="utf-8"))
    return parser


@pytest.fixture(scope="module")
def container(deploy):
    """The instructions of the last stage: name and rest of the line."""
    text = (deploy / "Containerfile").read_text(encoding="utf-8").replace("\\\n", " ")
    last = text[text.rindex("FROM ") :]
    return dict(line.split(" ", 1) for line in last.splitlines() if line)


def parsed(arguments):
    """Options of ``ark-asr serve``; fails on one that it does not have."""
    command = typer.main.get_command(app)
    return command.make_context("serve", list(arguments)).params


def test_the_unit_starts_a_server_that_exists(unit):
    program, verb, *arguments = shlex.split(unit["Service"]["ExecStart"])
    assert (program, verb) == ("/opt/ark-asr/bin/ark-asr", "serve")
    params = parsed(arguments)
    assert (params["host"], list(params["origin"])) == ("127.0.0.1", [ORIGIN])
    assert str(params["keys"]) == "%d/keys"
    assert unit["Service"]["LoadCredential"].startswith("keys:")


def test_the_unit_lets_requests_finish_and_decoders_limit_themselves(unit):
    service = unit["Service"]
    # SIGTERM to all of its processes would end the decoders of requests that are running.
    assert service["KillMode"] == "mixed"
    assert float(service["TimeoutStopSec"]) > Settings().grace
    # A refused setrlimit would leave them without bounds.
    assert service["SystemCallFilter"] == "@system-service"
    assert {"AF_INET", "AF_UNIX"} <= set(service["RestrictAddressFamilies"].split())
    # As "stop" is usual, one decoder that took all the memory would end the server.
    assert service["OOMPolicy"] == "continue"


def test_systemd_goes_on_when_clients_can_connect(unit):
    assert unit["Service"]["Type"] == "notify"
    # The message is a datagram to a socket of the system.
    assert "AF_UNIX" in unit["Service"]["RestrictAddressFamilies"].split()


def test_the_unit_closes_what_strict_leaves_open_to_everybody(unit):
    closed = {path.lstrip("-") for path in unit["Service"]["ReadOnlyPaths"].split()}
    assert {"/run", "/dev/shm", "/dev/mqueue"} <= closed


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="systemd-analyze is not installed")
def test_systemd_understands_the_unit(deploy, tmp_path):
    text = (deploy / "ark-asr.service").read_text(encoding="utf-8")
    here = tmp_path / "ark-asr.service"
    here.write_text(text.replace("/opt/ark-asr/bin/ark-asr", sys.executable), encoding="utf-8")
    command = ["systemd-analyze", "verify", str(here)]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert (done.returncode, [line for line in done.stderr.splitlines() if here.name in line]) == (
        0, [],
    )  # fmt: skip


def test_the_container_is_small_and_nobody(root, container):
    assert container["USER"].split(":")[0] not in ("root", "0")
    _, verb, *arguments = [*json.loads(container["ENTRYPOINT"]), *json.loads(container["CMD"])]
    params = parsed(arguments)
    assert verb == "serve"
    assert params["keys"] is not None  # it listens to other machines
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    needed = project["dependencies"] + project["optional-dependencies"]["server"]
    assert not [one for one in needed if re.match(r"torch|transformers|vllm|ark-asr", one)]


def test_the_container_s_health_check_tells_one_server_from_none(container, served):
    command = json.loads(container["HEALTHCHECK"].partition("CMD ")[2])

    def health(url):
        here = [part.replace("http://127.0.0.1:8000", url) for part in command[1:]]
        return subprocess.call([sys.executable, *here], stderr=subprocess.DEVNULL)

    assert health(served.url) == 0
    assert health(f"http://127.0.0.1:{free_port()}") != 0


def test_every_file_is_explained(root, deploy):
    page = (root / "docs" / "deployment.md").read_text(encoding="utf-8")
    assert {path.name for path in deploy.iterdir()} <= set(re.findall(r"deploy/([\w.-]+)", page))


# Proxies


@pytest.fixture(scope="module")
def behind():
    """A server as the unit starts it."""
    with serving(origins=(ORIGIN,), max_upload=1 << 20) as served:
        yield served


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    return certified(tmp_path_factory.mktemp("tls"))


@pytest.fixture(scope="module", params=["nginx", "caddy"])
def proxy(request, deploy, behind, certificate, tmp_path_factory):
    """Its address, with deploy's file but for ports, names, and a limit of 2 MB."""
    site = deploy / {"nginx": "nginx.conf", "caddy": "Caddyfile"}[request.param]
    folder = tmp_path_factory.mktemp(request.param)
    with proxied(request.param, site, folder, certificate, {"8000": behind.port}) as http:
        yield http


def test_behind_a_proxy_a_recording_is_transcribed(proxy, hello):
    files = {"file": (hello.name, hello.read_bytes())}
    answer = proxy.post("/v1/audio/transcriptions", files=files, headers={"Origin": ORIGIN})
    assert answer.status_code == 200
    assert answer.json()["text"]


def test_behind_a_proxy_each_event_comes_when_it_happens(proxy, behind, hello):
    files = {"file": (hello.name, hello.read_bytes())}
    with behind.standing() as go_on:
        name = proxy.post("/jobs", files=files).json()["id"]
        with proxy.stream("GET", f"/jobs/{name}/events") as answer:
            lines = answer.iter_lines()
            assert next(lines) == "event: progress"  # while the engine stands
            go_on.set()
            assert "event: done" in lines


def test_behind_a_proxy_captions_come_back(proxy, hello):
    url = f"wss://localhost:{proxy.base_url.port}/live"
    sound = (load_audio(hello).samples * 32767).astype("<i2").tobytes()
    with connect(url, ssl=proxy.trusted, origin=ORIGIN) as live:
        live.send(sound)
        live.send('{"type": "end"}')
        kinds = [json.loads(event)["kind"] for event in live]
    assert "final" in kinds


@pytest.mark.parametrize("size", [3 << 19, 3 << 20])
def test_behind_a_proxy_too_much_is_refused(proxy, size):
    try:
        answer = proxy.post("/asr", files={"file": ("a.wav", b"\0" * size)})
    except httpx.WriteError:  # it hung up in the middle, which is as good
        return
    if size > 2 << 20:  # by both; the proxy may see no more than that the server hung up
        assert answer.status_code in (413, 502)
    else:  # the server's own words, for whoever reads its errors
        assert answer.status_code == 413
        assert answer.json()["error"]["code"] == "upload_too_large"


def test_other_pages_are_refused_behind_a_proxy_too(proxy):
    assert proxy.get("/health", headers={"Origin": "https://evil.example"}).status_code == 403


def test_the_server_refuses_before_the_proxy(deploy):
    nginx = re.search(r"client_max_body_size (\d+)m;", (deploy / "nginx.conf").read_text())
    caddy = re.search(r"max_size (\d+)MB", (deploy / "Caddyfile").read_text())
    assert int(nginx[1]) << 20 > Settings().max_upload
    assert int(caddy[1]) * 10**6 > Settings().max_upload


# Several servers


def test_a_rolling_restart_costs_no_request(deploy, certificate, hello, tmp_path):
    """Two servers; one goes and comes back while clients go on asking."""
    site = deploy / "replicas.conf"
    body = {"file": (hello.name, hello.read_bytes())}
    # Its port is free for a while, and must not be given to a connection meanwhile.
    with serving() as stays, serving(port=free_port()) as goes:
        servers = {"8001": stays.port, "8002": goes.port}
        with proxied("nginx", site, tmp_path, certificate, servers) as http:
            over = threading.Event()

            def ask():
                found = []
                while not over.is_set() or len(found) < 3:
                    found.append(http.post("/v1/audio/transcriptions", files=body))
                return found

            with ThreadPoolExecutor(3) as clients:
                asked = [clients.submit(ask) for _ in range(3)]
                try:
                    time.sleep(1)
                    goes.server.should_exit = True
                    goes.thread.join(PATIENCE)
                    with serving(port=goes.port):
                        time.sleep(3)  # the proxy notices that it is back
                        over.set()
                        answers = [answer for future in asked for answer in future.result()]
                        assert [a.text for a in answers if a.status_code != 200] == []
                        assert len({answer.json()["text"] for answer in answers}) == 1
                        # A job is found again, whoever is asked about it.
                        for _ in range(4):
                            job = http.post("/jobs", files=body).json()["id"]
                            assert http.get(f"/jobs/{job}").status_code == 200
                finally:
                    over.set()  # the clients are waited for, whatever went wrong
