"""The web page: static files of this folder, served from the same origin and nowhere else."""

from __future__ import annotations

from pathlib import Path

from fastapi import APIRouter
from starlette.responses import FileResponse, JSONResponse, Response

from ark_asr.server.problems import Problem

_FOLDER = Path(__file__).parent
_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".json": "application/json",
    ".svg": "image/svg+xml",
    ".png": "image/png",
    ".webmanifest": "application/manifest+json",
    ".woff2": "font/woff2",
}


def router() -> APIRouter:
    """``/``, which the models' first service had as ``/ui``, too, and ``/page/``."""
    routes = APIRouter(include_in_schema=False)

    @routes.get("/")
    @routes.get("/ui")
    async def index() -> Response:
        if (_FOLDER / "index.html").is_file():
            return _file("index.html")
        return JSONResponse({"name": "ark-asr", "interface": "/openapi.json"})

    @routes.get("/page/{name:path}")
    async def part(name: str) -> Response:
        return _file(name)

    return routes


def _file(name: str) -> Response:
    try:
        path = (_FOLDER / name).resolve()
        there = path.is_relative_to(_FOLDER.resolve()) and path.is_file()
    except (OSError, ValueError):  # no name of a file: too long, or with a null byte
        there = False
    if not there or (kind := _TYPES.get(path.suffix)) is None:
        raise Problem(404, "there is no such page", None, "not_found")
    return FileResponse(path, media_type=kind, headers={"Cache-Control": "no-cache"})
