"""Requests to a hub: its address, the token, redirects, certificates, and why one failed.

What is said in the environment is checked before anything is opened: a wrong address or time would
otherwise be tried five times. Answers come as they are stored; one that somebody on the way packed
is refused, because its bytes are not the file's.
"""

from __future__ import annotations

import http.client
import importlib
import os
import ssl
import urllib.error
import urllib.request
from email.message import Message
from typing import IO, cast
from urllib.parse import urlsplit

from ark_asr.errors import DownloadError, OptionError

ENDPOINT = "https://huggingface.co"
TIMEOUT = 20.0
_LONGEST_WAIT = 86_400.0
_TRANSIENT = (408, 425, 429, 500, 502, 503, 504)
_LOGIN = (401, 403)


def is_offline() -> bool:
    """Whether the environment forbids the network."""
    names = ("ARK_ASR_OFFLINE", "HF_HUB_OFFLINE")
    return any(os.environ.get(name, "").lower() in ("1", "true", "yes", "on") for name in names)


def hub_address(given: str | None) -> str:
    """The address of a hub; ``None`` takes ``HF_ENDPOINT``, else huggingface.co.

    Raises:
        OptionError: It is none, or holds a password, which every message would show.
    """
    address = (given or os.environ.get("HF_ENDPOINT") or ENDPOINT).rstrip("/")
    try:
        parts = urlsplit(address)
        host, _ = parts.hostname, parts.port  # a port that is none is a ValueError
    except ValueError:
        parts, host = urlsplit(""), None
    if "@" in parts.netloc:
        raise OptionError(
            "HF_ENDPOINT holds a user name; name the server alone, a token belongs into HF_TOKEN"
        )
    plain = address.isascii() and address.isprintable() and " " not in address
    if parts.scheme not in ("http", "https") or not host or not plain:
        raise OptionError(f"HF_ENDPOINT {address!r} is not an http or https address")
    return address


def patience(given: float | None) -> float:
    """Seconds without a byte; ``None`` takes ``HF_HUB_DOWNLOAD_TIMEOUT``, else 20.

    Raises:
        OptionError: It is no number, or nobody could wait so long.
    """
    said = os.environ.get("HF_HUB_DOWNLOAD_TIMEOUT") or TIMEOUT if given is None else given
    try:
        seconds = float(said)
    except ValueError:
        raise OptionError(f"HF_HUB_DOWNLOAD_TIMEOUT {said!r} is not a number") from None
    if not 0 < seconds <= _LONGEST_WAIT:
        raise OptionError(
            f"HF_HUB_DOWNLOAD_TIMEOUT is {said}, expected seconds above 0, a day at most"
        )
    return seconds


class Transport:
    """Opens addresses of one hub.

    Args:
        timeout: Seconds without a byte after which a connection counts as broken.
    """

    def __init__(self, timeout: float) -> None:
        self.timeout = timeout
        self._token: str | None = None
        self._opener = urllib.request.build_opener(
            Redirects(), urllib.request.HTTPSHandler(context=_tls())
        )

    def open(self, url: str, headers: dict[str, str]) -> http.client.HTTPResponse:
        """Ask for an address, with the token only if the hub wants one.

        Raises:
            DownloadError: It is refused, for a reason that will be the same next time.
            OSError: The connection failed, or the server is busy.
            HTTPException: What came is no answer.
        """
        said = {"User-Agent": "ark-asr", "Accept-Encoding": "identity"}
        request = urllib.request.Request(url, headers={**said, **headers})  # noqa: S310
        try:
            answer = self._send(request)
        except urllib.error.HTTPError as error:
            status = error.code
            error.close()
            if status in _TRANSIENT:
                raise
        else:
            coding = answer.headers.get("Content-Encoding", "identity")
            if coding.lower() != "identity":
                answer.close()
                raise DownloadError(
                    f"{url}: comes packed ({coding}), which was not asked for; a proxy on the way "
                    "seems to change what it passes on, go around it"
                )
            return answer
        if status in _LOGIN and self._token is None and (token := _saved_token()):
            self._token = token
            return self.open(url, headers)
        login = "HF_TOKEN does not open it" if self._token else "needs a login (set HF_TOKEN)"
        what = {
            401: f"access is refused; it is gone, or {login}",
            403: "access is refused; accept its terms on the hub, or set another HF_TOKEN",
            404: "there is no such thing; it was removed or renamed",
        }.get(status, f"the server answers {status}")
        raise DownloadError(f"{url}: {what}", status)

    def _send(self, request: urllib.request.Request) -> http.client.HTTPResponse:
        url = request.full_url
        if is_offline():
            raise DownloadError(f"offline: {url} is not opened")
        if self._token:
            request.add_unredirected_header("Authorization", f"Bearer {self._token}")
        try:
            answer = self._opener.open(request, timeout=self.timeout)
        except urllib.error.HTTPError:
            raise
        except urllib.error.URLError as error:
            if isinstance(error.reason, ssl.SSLCertVerificationError):
                raise DownloadError(
                    f"{url}: the server's certificate is not trusted "
                    f"({error.reason.verify_message}); see that this computer's clock is right; if "
                    "a proxy is in between, SSL_CERT_FILE takes its certificate"
                ) from None
            if isinstance(error.reason, str):  # of what was asked for, not of the connection
                raise DownloadError(f"{url}: cannot be asked for ({error.reason})") from None
            raise
        except (ValueError, http.client.InvalidURL) as error:
            raise DownloadError(f"{url}: leads to what is no address ({error})") from None
        return cast("http.client.HTTPResponse", answer)

    def reason(self, error: Exception, url: str) -> str:
        """Why a connection failed, in a few words."""
        cause = getattr(error, "reason", error)
        if isinstance(error, urllib.error.HTTPError):
            return f"the server answers {error.code}"
        if isinstance(cause, TimeoutError):
            return f"nothing came for {self.timeout:g} s{_through(url)}"
        if isinstance(cause, http.client.IncompleteRead):
            return "the connection broke off"
        return f"the connection failed ({cause}){_through(url)}"


class Redirects(urllib.request.HTTPRedirectHandler):
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
        """Ask at the new address, unless it is less secure."""
        before, after = urlsplit(req.full_url), urlsplit(newurl)
        if after.scheme not in (before.scheme, "https"):
            fp.close()
            raise DownloadError(f"{req.full_url}: leads to {newurl}, which is not secure; refused")
        request = super().redirect_request(req, fp, code, msg, headers, newurl)  # type: ignore[arg-type]
        token = req.unredirected_hdrs.get("Authorization")
        if request and token and (before.scheme, before.netloc) == (after.scheme, after.netloc):
            request.add_unredirected_header("Authorization", token)
        return request


def _through(url: str) -> str:
    """The proxy that the environment puts in between; without its password."""
    parts = urlsplit(url)
    proxy = urllib.request.getproxies().get(parts.scheme)
    if not proxy or urllib.request.proxy_bypass(parts.netloc):
        return ""
    return f" through the proxy {proxy.rpartition('@')[2].rpartition('/')[2] or proxy}"


def _saved_token() -> str | None:
    from huggingface_hub import get_token

    token = get_token()
    if token and not (token.isascii() and token.isprintable()):
        raise OptionError("HF_TOKEN, or the saved login, holds characters that no token has")
    return token


def _tls() -> ssl.SSLContext:
    try:  # comes with the hub's client: the certificates of the system, on every system
        store = importlib.import_module("truststore")
    except ImportError:
        return ssl.create_default_context()
    return cast("ssl.SSLContext", store.SSLContext(ssl.PROTOCOL_TLS_CLIENT))
