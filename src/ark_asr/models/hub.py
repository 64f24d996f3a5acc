"""Files of a repository on the Hugging Face hub, at one commit.

Two requests are all it takes: ``/api/models/{repository}/tree/{revision}`` names the files with
their sizes and hashes, ``/{repository}/resolve/{revision}/{file}`` gives one, from any byte on.
They are made here with the standard library: the hub's own client sends further requests of its
own, and lists files without a time limit. From it come the addresses, the token and the local cache
(https://huggingface.co/docs/huggingface_hub).

The token is sent only when the hub asks for one, and never to another host. Environment:
``HF_ENDPOINT`` (another server), ``HF_TOKEN``, ``HF_HUB_DOWNLOAD_TIMEOUT`` (seconds without a
byte), ``ARK_ASR_OFFLINE`` or ``HF_HUB_OFFLINE`` (``1``: nothing is ever opened), and the usual
proxy variables.
"""

from __future__ import annotations

import http.client
import importlib
import json
import os
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from email.message import Message
from pathlib import Path
from typing import IO, Any, TypeVar, cast
from urllib.parse import quote, urlsplit

from ark_asr.errors import DownloadError, ModelFormatError, OptionError

ENDPOINT = "https://huggingface.co"
TIMEOUT = 20.0
ATTEMPTS = 5
PAUSE = 1.0
_BLOCK = 1 << 18
_MAX_ANSWER = 16 << 20  # of the hub's JSON, bytes
_TRANSIENT = (408, 425, 429, 500, 502, 503, 504)
_LOGIN = (401, 403)


_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class HubFile:
    """What the hub says of a file: size, and SHA-256 (large files) or git's SHA-1 (small ones)."""

    name: str
    size: int
    sha256: str | None
    git_sha1: str | None
    folder: str = ""

    @property
    def path(self) -> str:
        """Where it is in its repository."""
        return f"{self.folder}/{self.name}" if self.folder else self.name


def is_offline() -> bool:
    """Whether the environment forbids the network."""
    names = ("ARK_ASR_OFFLINE", "HF_HUB_OFFLINE")
    return any(os.environ.get(name, "").lower() in ("1", "true", "yes", "on") for name in names)


class Hub:
    """A hub that speaks the protocol of huggingface.co.

    Args:
        endpoint: Its address; ``None`` takes ``HF_ENDPOINT``, else huggingface.co.
        timeout: Seconds without a byte after which a connection counts as broken.

    Raises:
        OptionError: The address is none, or the time no number.
    """

    def __init__(self, endpoint: str | None = None, timeout: float | None = None) -> None:
        self.endpoint = (endpoint or os.environ.get("HF_ENDPOINT") or ENDPOINT).rstrip("/")
        if urlsplit(self.endpoint).scheme not in ("http", "https"):
            raise OptionError(f"HF_ENDPOINT {self.endpoint!r} is not an http or https address")
        given = os.environ.get("HF_HUB_DOWNLOAD_TIMEOUT") or TIMEOUT
        try:
            self.timeout = float(given if timeout is None else timeout)
        except ValueError:
            raise OptionError(f"HF_HUB_DOWNLOAD_TIMEOUT {given!r} is not a number") from None
        self._token: str | None = None
        self._opener = urllib.request.build_opener(
            _Redirects(), urllib.request.HTTPSHandler(context=_tls())
        )

    def commit(self, repository: str) -> str:
        """The commit of the main branch.

        Raises:
            DownloadError: The hub did not say.
        """
        answer = self._json(f"{self.endpoint}/api/models/{repository}")
        commit = answer.get("sha") if isinstance(answer, dict) else None
        if not isinstance(commit, str) or len(commit) != 40 or not commit.isalnum():
            raise DownloadError(f"{repository}: the hub does not say the commit of its main branch")
        return commit

    def files(self, repository: str, revision: str, folder: str = "") -> dict[str, HubFile]:
        """The files at the top of a repository, or in one folder of it, by name.

        Raises:
            DownloadError: They could not be listed; ``status`` is 404 or 401 if there is no such
                repository or revision.
        """
        url = f"{self.endpoint}/api/models/{repository}/tree/{quote(revision, safe='')}"
        answer = self._json(f"{url}/{quote(folder)}" if folder else url)
        try:
            listed = [_hub_file(raw, folder) for raw in answer if raw["type"] == "file"]
        except (TypeError, KeyError, AttributeError, ValueError):
            raise DownloadError(f"{url}: the answer is not a list of files") from None
        return {file.name: file for file in listed}

    def fetch(
        self,
        repository: str,
        revision: str,
        file: HubFile,
        part: Path,
        progress: Callable[[int], None] | None = None,
    ) -> None:
        """Fetch a file, going on where ``part`` ends; broken connections are taken up again.

        Args:
            repository: Owner and name.
            revision: Commit.
            file: What to fetch, and how large it must be.
            part: Grows to the whole file; kept if the download breaks for good.
            progress: Told the size of ``part`` as it grows.

        Raises:
            DownloadError: It cannot be had, or cannot be written.
            ModelFormatError: The hub sends a file of another size.
        """
        from huggingface_hub import hf_hub_url

        url = hf_hub_url(repository, file.path, revision=revision, endpoint=self.endpoint)

        def size() -> int:
            return part.stat().st_size if part.exists() else 0

        if size() > file.size:
            part.unlink()
        self._patiently(lambda: self._append(url, file, part, size(), progress), url, size)

    def _append(
        self,
        url: str,
        file: HubFile,
        part: Path,
        begin: int,
        progress: Callable[[int], None] | None,
    ) -> None:
        if 0 < begin == file.size:
            return
        with self._open(url, {"Range": f"bytes={begin}-"} if begin else {}) as answer:
            if begin and not _continues(answer, begin):
                begin = 0  # this server does not go on, it sends everything again
            total = _total(answer)
            if total is not None and total != file.size:
                raise ModelFormatError(
                    f"{url}: the server sends {total:,} bytes, expected {file.size:,}; refused"
                )
            out = _guard(part, lambda: part.open("r+b" if begin else "wb"))
            try:
                out.seek(begin)
                done = begin
                while done < file.size and (block := answer.read(min(_BLOCK, file.size - done))):
                    _guard(part, lambda block=block: out.write(block))  # type: ignore[misc]
                    done += len(block)
                    if progress:
                        progress(done)
            finally:
                _guard(part, out.close)
        if done < file.size:
            raise http.client.IncompleteRead(b"", file.size - done)

    def _json(self, url: str) -> Any:  # noqa: ANN401
        def ask() -> bytes:
            with self._open(url, {}) as answer:
                return answer.read(_MAX_ANSWER)

        text = self._patiently(ask, url, lambda: 0)
        try:
            return json.loads(text)
        except (ValueError, RecursionError):
            raise DownloadError(f"{url}: the answer is not JSON; is this a hub?") from None

    def _patiently(self, attempt: Callable[[], _T], url: str, size: Callable[[], int]) -> _T:
        """Try again while something comes, and a few times when nothing does."""
        failures = 0
        while True:
            before = size()
            try:
                return attempt()
            except DownloadError:
                raise
            except (OSError, http.client.HTTPException) as error:
                failures = 1 if size() > before else failures + 1
                if failures >= ATTEMPTS:
                    raise DownloadError(
                        f"{url}: {self._reason(error)}, {ATTEMPTS} times; pull again later, it "
                        "goes on from where it stopped"
                    ) from None
            time.sleep(PAUSE * failures)

    def _open(self, url: str, headers: dict[str, str]) -> http.client.HTTPResponse:
        said = {"User-Agent": "ark-asr", "Accept-Encoding": "identity"}
        request = urllib.request.Request(url, headers={**said, **headers})  # noqa: S310
        try:
            return self._send(request)
        except urllib.error.HTTPError as error:
            status = error.code
            error.close()
            if status in _TRANSIENT:
                raise
        if status in _LOGIN and self._token is None and (token := _saved_token()):
            self._token = token
            return self._open(url, headers)
        what = {
            401: "access is refused; it is gone, or needs a login (set HF_TOKEN)",
            403: "access is refused; accept its terms on the hub, or set another HF_TOKEN",
            404: "there is no such thing; it was removed or renamed",
        }.get(status, f"the server answers {status}")
        raise DownloadError(f"{url}: {what}", status)

    def _send(self, request: urllib.request.Request) -> http.client.HTTPResponse:
        if is_offline():
            raise DownloadError(f"offline: {request.full_url} is not opened")
        if self._token:
            request.add_unredirected_header("Authorization", f"Bearer {self._token}")
        return cast("http.client.HTTPResponse", self._opener.open(request, timeout=self.timeout))

    def _reason(self, error: Exception) -> str:
        cause = getattr(error, "reason", error)
        if isinstance(error, urllib.error.HTTPError):
            return f"the server answers {error.code}"
        if isinstance(cause, TimeoutError):
            return f"nothing came for {self.timeout:g} s"
        if isinstance(cause, http.client.IncompleteRead):
            return "the connection broke off"
        return f"the connection failed ({cause})"


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follow the hub to a new name or to its storage, with the token on the same server only."""

    def redirect_request(  # noqa: PLR0917  (its base class has it so)
        self,
        req: urllib.request.Request,
        fp: IO[bytes],
        code: int,
        msg: str,
        headers: Message,
        newurl: str,
    ) -> urllib.request.Request | None:
        before, after = urlsplit(req.full_url), urlsplit(newurl)
        if after.scheme not in (before.scheme, "https"):
            fp.close()
            raise DownloadError(f"{req.full_url}: leads to {newurl}, which is not secure; refused")
        request = super().redirect_request(req, fp, code, msg, headers, newurl)  # type: ignore[arg-type]
        token = req.unredirected_hdrs.get("Authorization")
        if request and token and (before.scheme, before.netloc) == (after.scheme, after.netloc):
            request.add_unredirected_header("Authorization", token)
        return request


def _hub_file(raw: dict[str, Any], folder: str) -> HubFile:
    lfs = raw.get("lfs")
    sha256 = lfs["oid"].removeprefix("sha256:").lower() if lfs else None
    name = str(raw["path"]).removeprefix(f"{folder}/" if folder else "")
    return HubFile(name, int(raw["size"]), sha256, None if lfs else str(raw["oid"]), folder)


def _continues(answer: http.client.HTTPResponse, begin: int) -> bool:
    said = answer.headers.get("Content-Range", "")
    return answer.status == 206 and said.startswith(f"bytes {begin}-")


def _total(answer: http.client.HTTPResponse) -> int | None:
    """Size of the whole file, as far as the headers say it."""
    if answer.status == 206:
        said = answer.headers.get("Content-Range", "").rpartition("/")[2]
    else:
        said = answer.headers.get("Content-Length", "")
    return int(said) if said.isdigit() else None


def _guard(part: Path, act: Callable[[], _T]) -> _T:
    """Tell trouble with the disk from trouble with the network."""
    try:
        return act()
    except OSError as error:
        raise DownloadError(
            f"{part}: cannot be written ({error.strerror}); make room and pull again, it goes on "
            "from where it stopped"
        ) from None


def _saved_token() -> str | None:
    from huggingface_hub import get_token

    return get_token()


def _tls() -> ssl.SSLContext:
    try:  # comes with the hub's client: the certificates of the system, on every system
        store = importlib.import_module("truststore")
    except ImportError:
        return ssl.create_default_context()
    return cast("ssl.SSLContext", store.SSLContext(ssl.PROTOCOL_TLS_CLIENT))
