"""The reverse proxies of deploy/ before servers of a test."""

from __future__ import annotations

import shutil
import ssl
import subprocess
from contextlib import contextmanager

import httpx
import pytest

from ports import free_port
from serving import PATIENCE, eventually


def certified(folder):
    """The folder, with a certificate for ``localhost`` and its key in it."""
    if not shutil.which("openssl"):
        pytest.skip("openssl is not installed")
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
         "-nodes", "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost",
         "-days", "2", "-keyout", folder / "privkey.pem", "-out", folder / "fullchain.pem"],
        check=True, capture_output=True,
    )  # fmt: skip
    return folder


@contextmanager
def proxied(name, site, folder, certificate, servers):
    """A client of the proxy with this file; servers by the port that the file has for them."""
    usual = "/usr/sbin:/usr/bin:/usr/local/bin"
    program = shutil.which(name, path=usual) or shutil.which(name)
    if program is None:
        pytest.skip(f"{name} is not installed")
    port = free_port()
    text = replaced(
        site.read_text(encoding="utf-8"),
        {f"127.0.0.1:{there}": f"127.0.0.1:{here}" for there, here in servers.items()},
    )
    trusted = ssl.create_default_context(cafile=certificate / "fullchain.pem")
    with (
        {"nginx": nginx, "caddy": caddy}[name](program, text, folder, certificate, port),
        httpx.Client(
            base_url=f"https://localhost:{port}", verify=trusted, timeout=PATIENCE
        ) as http,
    ):
        http.trusted = trusted

        def answers():
            try:
                return http.get("/health")
            except httpx.TransportError:
                return None

        assert eventually(answers) is not None
        yield http


@contextmanager
def nginx(program, site, folder, certificate, port):
    site = site.replace("listen 80;", f"listen 127.0.0.1:{free_port()};")
    site = replaced(site, {
        "listen 443 ssl": f"listen 127.0.0.1:{port} ssl",
        "/etc/ssl/asr.example.org": str(certificate),
        "client_max_body_size 260m;": "client_max_body_size 2m;",
    })  # fmt: skip
    (folder / "site.conf").write_text(site, encoding="utf-8")
    temporary = "".join(
        f"{kind}_temp_path {folder}/{kind};"
        for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    (folder / "nginx.conf").write_text(
        f"daemon off; master_process off; pid {folder}/pid; error_log {folder}/error.log;"
        f"events {{}} http {{ access_log off; {temporary} include {folder}/site.conf; }}",
        encoding="utf-8",
    )
    with running([program, "-c", str(folder / "nginx.conf"), "-e", str(folder / "error.log")]):
        yield


@contextmanager
def caddy(program, site, folder, certificate, port):
    site = replaced(site, {
        "asr.example.org {": f"https://localhost:{port} {{\n\tbind 127.0.0.1\n"
        f"\ttls {certificate}/fullchain.pem {certificate}/privkey.pem",
        "272MB": "2MB",
    })  # fmt: skip
    options = "{\n\tauto_https off\n\tadmin off\n}\n"
    (folder / "Caddyfile").write_text(options + site, encoding="utf-8")
    command = [program, "run", "--config", str(folder / "Caddyfile"), "--adapter", "caddyfile"]
    with running(command, HOME=str(folder)):
        yield


@contextmanager
def running(command, **environment):
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL, env=environment)
    try:
        yield
    finally:
        process.terminate()
        try:
            process.wait(PATIENCE)
        finally:
            process.kill()
            process.wait()


def replaced(text, changes):
    for old, new in changes.items():
        assert old in text
        text = text.replace(old, new)
    return text
