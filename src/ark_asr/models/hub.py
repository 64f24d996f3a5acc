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
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote

from ark_asr.errors import DownloadError, ModelFormatError
from ark_asr.models.transport import Transport, hub_address, patience

ATTEMPTS = 5
PAUSE = 1.0
_BLOCK = 1 << 18
_MAX_ANSWER = 16 << 20  # of the hub's JSON, bytes

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


class Hub:
    """A hub that speaks the protocol of huggingface.co.

    Args:
        endpoint: Its address; ``None`` takes ``HF_ENDPOINT``, else huggingface.co.
        timeout: Seconds without a byte after which a connection counts as broken.

    Raises:
        OptionError: The address is none, or the time no number.
    """

    def __init__(self, endpoint: str | None = None, timeout: float | None = None) -> None:
        self.endpoint = hub_address(endpoint)
        self._transport = Transport(patience(timeout))

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
        with self._transport.open(url, {"Range": f"bytes={begin}-"} if begin else {}) as answer:
            if begin and answer.status == 206 and not _continues(answer, begin):
                part.unlink()  # so the next attempt asks for everything
                raise http.client.HTTPException("the server sends another part of the file")
            if begin and answer.status != 206:
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
            with self._transport.open(url, {}) as answer:
                return answer.read(_MAX_ANSWER)

        text = self._patiently(ask, url, lambda: 0)
        try:
            return json.loads(text)
        except (ValueError, RecursionError):
            raise DownloadError(f"{url}: the answer is not JSON; is this a hub?") from None

    def _patiently(self, attempt: Callable[[], _T], url: str, size: Callable[[], int]) -> _T:
        """Try again while something comes, and a few times when nothing does."""
        failures, most = 0, size()
        while True:
            try:
                return attempt()
            except DownloadError:
                raise
            except (OSError, http.client.HTTPException) as error:
                # More than ever: a server that begins anew each time gets nowhere.
                failures = 1 if size() > most else failures + 1
                most = max(most, size())
                if failures >= ATTEMPTS:
                    raise DownloadError(
                        f"{url}: {self._transport.reason(error, url)}, {ATTEMPTS} times; pull "
                        "again later, it goes on from where it stopped"
                    ) from None
            time.sleep(PAUSE * failures)


def _hub_file(raw: dict[str, Any], folder: str) -> HubFile:
    lfs = raw.get("lfs")
    sha256 = lfs["oid"].removeprefix("sha256:").lower() if lfs else None
    name = str(raw["path"]).removeprefix(f"{folder}/" if folder else "")
    if type(raw["size"]) is not int:
        raise ValueError(raw["size"])
    return HubFile(name, raw["size"], sha256, None if lfs else str(raw["oid"]), folder)


def _continues(answer: http.client.HTTPResponse, begin: int) -> bool:
    return bool(answer.headers.get("Content-Range", "").startswith(f"bytes {begin}-"))


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
