"""What the environment says of the hub, and what comes back that is no file of it."""

from __future__ import annotations

import http.server
import io
import ssl
import threading
import urllib.request

import pytest

from ark_asr.errors import DownloadError, OptionError
from ark_asr.models import pull
from ark_asr.models.hub import Hub
from ark_asr.models.transport import Redirects, hub_address, patience
from hubserver import Trouble
from ports import free_port
from proxies import certified

WEIGHTS = "model.safetensors"


def test_no_way_from_https_to_http():
    request = urllib.request.Request("https://hub.example/x")
    with pytest.raises(DownloadError, match="not secure"):
        Redirects().redirect_request(request, io.BytesIO(), 302, "", {}, "http://hub.example/x")


@pytest.mark.parametrize(
    "address",
    [
        "file:///etc", "ftp://x", "huggingface.co", "http://", "http:///x", "http://[bad",
        "http://x:port", "http://x:99999", "http://x/with space", "http://x\nHost: y", "http://ü",
    ],
)  # fmt: skip
def test_an_endpoint_that_is_none(address, monkeypatch):
    monkeypatch.setenv("HF_ENDPOINT", address)
    with pytest.raises(OptionError, match=r"HF_ENDPOINT .* is not an http or https address"):
        Hub()


def test_a_password_in_the_endpoint_is_not_repeated(monkeypatch):
    monkeypatch.setenv("HF_ENDPOINT", "https://me:secret@hub.example")
    with pytest.raises(OptionError, match="HF_TOKEN") as caught:
        Hub()
    assert "secret" not in str(caught.value)


def test_an_endpoint_may_have_a_port_and_a_path():
    assert hub_address("http://127.0.0.1:80/hub/") == "http://127.0.0.1:80/hub"
    assert hub_address("http://[::1]:80") == "http://[::1]:80"


@pytest.mark.parametrize("said", ["soon", "nan", "inf", "-1", "0", "1e400", "1e30"])
def test_a_time_that_is_none(monkeypatch, said):
    monkeypatch.setenv("HF_HUB_DOWNLOAD_TIMEOUT", said)
    with pytest.raises(OptionError, match="HF_HUB_DOWNLOAD_TIMEOUT"):
        Hub()


def test_a_time(monkeypatch):
    monkeypatch.setenv("HF_HUB_DOWNLOAD_TIMEOUT", "7.5")
    assert patience(None) == 7.5
    monkeypatch.setenv("HF_HUB_DOWNLOAD_TIMEOUT", "")
    assert patience(None) == 20.0


@pytest.mark.parametrize("token", ["gehe\u2603im", "two\nlines"])
def test_a_token_that_cannot_be_sent(server, tiny, monkeypatch, token):
    server.token = "secret"
    monkeypatch.setattr("huggingface_hub.get_token", lambda: token)
    with pytest.raises(OptionError, match="HF_TOKEN, or the saved login") as caught:
        pull.pull(tiny)
    assert token not in str(caught.value)


def test_a_token_that_opens_nothing_is_told_from_none(server, tiny, monkeypatch):
    server.token = "secret"
    monkeypatch.setattr("huggingface_hub.get_token", lambda: "wrong")
    with pytest.raises(DownloadError, match="HF_TOKEN does not open it"):
        pull.pull(tiny)


def test_a_proxy_that_packs_what_it_passes_on(server, tiny):
    server.trouble[WEIGHTS] = Trouble(packed=True)
    with pytest.raises(DownloadError, match=r"comes packed \(gzip\).*proxy"):
        pull.pull(tiny)
    assert len(server.paths(f"/storage/New/tiny/{WEIGHTS}")) == 1  # more attempts would not help


@pytest.mark.parametrize("address", ["http://[bad", "http://127.0.0.1:port/x", "http://a\x00b/"])
def test_a_way_to_no_address(server, tiny, address):
    server.trouble[WEIGHTS] = Trouble(leads=address)
    with pytest.raises(DownloadError, match=r"safetensors: (leads to what is no address|cannot)"):
        pull.pull(tiny)
    assert len(server.paths(f"/storage/New/tiny/{WEIGHTS}")) == 1


def test_a_proxy_is_named_without_its_password(server, tiny, monkeypatch):
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.setenv(name, "")
    monkeypatch.setenv("http_proxy", f"http://me:secret@127.0.0.1:{free_port()}")
    with pytest.raises(DownloadError, match=r"through the proxy 127\.0\.0\.1:\d+, 5") as caught:
        pull.pull(tiny)
    assert "secret" not in str(caught.value)


def test_a_certificate_that_nobody_vouches_for(server, tiny, monkeypatch, tmp_path):
    """Trying again changes nothing; the usual causes are named."""
    certified(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "fullchain.pem", tmp_path / "privkey.pem")
    with http.server.HTTPServer(("127.0.0.1", 0), http.server.BaseHTTPRequestHandler) as secure:
        secure.socket = context.wrap_socket(
            secure.socket, server_side=True, do_handshake_on_connect=False
        )
        thread = threading.Thread(target=secure.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        monkeypatch.setenv("HF_ENDPOINT", f"https://localhost:{secure.server_address[1]}")
        try:
            with pytest.raises(DownloadError, match=r"certificate is not trusted .*clock") as told:
                pull.pull(tiny)
        finally:
            secure.shutdown()
            thread.join()
    assert "times" not in str(told.value)
