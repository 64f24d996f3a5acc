"""What clients in other languages write, and what they make of the answers."""

from __future__ import annotations

import base64
import gzip

import httpx
import pytest

from ark_asr.server.keys import add_key
from serving import http, serving

PATHS = ("/v1/audio/transcriptions", "/jobs", "/asr")
WORDS = "there was a light in the window of the house"


def form(data, *headers, name="file"):
    """A form of one part, written by hand, and its type."""
    part = [f'Content-Disposition: form-data; name="{name}"', *headers]
    head = "\r\n".join(["--x", *part, "", ""]).encode()
    return {"content": head + data + b"\r\n--x--\r\n",
            "headers": {"Content-Type": "multipart/form-data; boundary=x"}}  # fmt: skip


def as_file(data, *headers):
    """The same, with a filename."""
    return form(data, *headers, name='file"; filename="a.flac')


def error(answer):
    return answer.json()["error"]


@pytest.mark.parametrize("path", PATHS)
def test_a_packed_body_is_refused_as_that(served, hello, path):
    asked = as_file(hello.read_bytes())
    headers = {**asked["headers"], "Content-Encoding": "gzip"}
    answer = http.post(served.url + path, content=gzip.compress(asked["content"]), headers=headers)
    assert answer.status_code == 415
    assert answer.headers["accept-encoding"] == "identity"
    assert "packed (gzip)" in error(answer)["message"]


def test_a_body_that_only_says_that_it_is_not_packed_is_heard(served, hello):
    asked = as_file(hello.read_bytes(), "Content-Transfer-Encoding: binary")
    headers = {**asked["headers"], "Content-Encoding": "identity"}
    answer = http.post(served.url + PATHS[0], content=asked["content"], headers=headers)
    assert answer.json()["text"] == WORDS


@pytest.mark.parametrize("path", PATHS)
def test_a_part_in_base64_is_refused_as_that(served, hello, path):
    data = base64.b64encode(hello.read_bytes())
    answer = http.post(served.url + path, **as_file(data, "Content-Transfer-Encoding: base64"))
    assert answer.status_code == 400
    assert error(answer)["message"] == "file: is written in base64; send its bytes as they are"


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("more", [(), ("Content-Type: application/octet-stream",)])
def test_a_recording_without_a_filename_is_told_of_it_however_long(served, talk, path, more):
    data = talk.read_bytes()
    assert len(data) > 100_000  # more than a field of text may have
    answer = http.post(served.url + path, **form(data, *more))
    assert answer.status_code == 400
    assert error(answer)["message"].startswith("file: has no filename")
    assert error(answer)["param"] == "file"
    short = http.post(served.url + "/jobs", **form(data[:1000], *more))
    assert error(short)["message"].startswith("file: has no filename")


def test_a_text_that_is_too_long_is_named(served):
    answer = http.post(served.url + PATHS[0], **form(b"a" * 70_000, name="hotwords"))
    assert answer.status_code == 400
    assert error(answer)["message"] == "hotwords: is longer than 65,536 bytes"


@pytest.mark.parametrize("path", ["/audio/transcriptions", "/models", "/models/ark-mini"])
def test_a_base_url_without_its_end_is_told_of_it(served, path):
    answer = http.post(served.url + path)
    assert answer.status_code == 404
    assert error(answer)["message"] == (
        f"nothing is served at {path}; end the client's base URL in /v1"
    )


def test_a_wrong_key_is_called_wrong_and_none_is_asked_for(tmp_path):
    key = add_key(tmp_path / "keys", "ann")
    with serving(keys=tmp_path / "keys") as served:
        url = f"{served.url}/v1/models"
        told = [
            error(http.get(url, headers=headers))["message"]
            for headers in ({}, {"Authorization": "Bearer none"}, {"Authorization": key})
        ]
        assert http.get(url, headers={"Authorization": f"Bearer {key}"}).status_code == 200
    assert told[0] == told[2] == "a key is needed: Authorization: Bearer KEY"
    assert told[1] == "the key is none of this server's; see ark-asr serve key"


def test_a_failure_of_our_own_can_be_read_by_pages_that_are_named(monkeypatch):
    page = "https://school.example"
    with serving(origins=(page,)) as served:
        monkeypatch.setattr(served.app.state.service.host, "models", lambda: 1 / 0)
        answer = http.get(f"{served.url}/v1/models", headers={"Origin": page})
    assert (answer.status_code, error(answer)["code"]) == (500, "internal_error")
    assert answer.headers["access-control-allow-origin"] == page
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["cache-control"] == "no-store"


def test_who_has_waited_in_vain_is_told_not_to_begin_anew(talk):
    """Else OpenAI's clients ask twice again, and it takes as long each time."""
    with serving(timeout=1.0) as served, served.standing():
        files = {"file": ("a.wav", talk.read_bytes())}
        answer = http.post(served.url + PATHS[0], files=files)
    assert (answer.status_code, answer.headers["x-should-retry"]) == (504, "false")


def test_a_stream_without_a_length_is_heard_as_well(served, hello):
    asked = as_file(hello.read_bytes())

    def chunks():
        for start in range(0, len(asked["content"]), 1000):
            yield asked["content"][start : start + 1000]

    request = httpx.Request(
        "POST", served.url + PATHS[0], content=chunks(), headers=asked["headers"]
    )
    assert request.headers["transfer-encoding"] == "chunked"
    assert http.send(request).json()["text"] == WORDS
