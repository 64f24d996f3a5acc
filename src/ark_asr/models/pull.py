"""From a name in the catalogue to a verified folder in the store.

What is here already is used first: the store, then a download that was broken off, then the local
cache of the hub's own client; the network is last. A file gets its name only after its size and its
hash are right, and the folder only after all its files are; one with a wrong hash is kept aside as
``<file>.rejected``.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from ark_asr.errors import ArkError, DownloadError, ModelFormatError
from ark_asr.models.catalogue import Entry
from ark_asr.models.home import UNFINISHED, place, settle, store_folder
from ark_asr.models.hub import Hub, HubFile
from ark_asr.models.receipt import Receipt, ReceivedFile

PART = ".part"
REJECTED = ".rejected"
_AT_ONCE = 0.2  # seconds in which a lock that nobody holds is had


@dataclass(frozen=True, slots=True)
class Transfer:
    """How far a download is.

    Attributes:
        file: The one that is being fetched.
        done: Bytes of all files that are here.
        total: Bytes of all files.
    """

    file: str
    done: int
    total: int


@dataclass(frozen=True, slots=True)
class Source:
    """A repository at one commit, and the files of it that the catalogue names."""

    repository: str
    revision: str
    files: tuple[HubFile, ...]


def pull(
    entry: Entry,
    hub: Hub | None = None,
    progress: Callable[[Transfer], None] | None = None,
    waiting: Callable[[], None] | None = None,
) -> Path:
    """Have a model of the catalogue in the store, as it is published; return its folder.

    Args:
        entry: The model.
        hub: Where it is fetched from if it is not here.
        progress: Told how far it is.
        waiting: Told that another process fetches it, which is waited for.

    Raises:
        DownloadError: It cannot be fetched, or there is no room for it.
        ModelFormatError: What is sent is not what was published.
    """
    folder = place(entry.name, entry.layout)
    if folder.is_dir():
        Receipt.load(folder)
        return folder
    hub = hub or Hub()
    source = find_source(entry, hub)
    making = store_folder() / UNFINISHED / f"{entry.name}-{source.revision[:12]}"
    try:
        making.mkdir(parents=True, exist_ok=True)
        # Two pulls of one model at once would write into the same files.
        with _alone(making.with_name(f"{entry.name}.lock"), waiting):
            if not folder.is_dir():
                making.mkdir(exist_ok=True)
                _gather(entry, source, hub, making, progress)
                settle(making, folder)
    except ArkError:
        raise
    except OSError as error:
        raise DownloadError(f"{making}: cannot be written ({error.strerror or error})") from None
    return folder


def _gather(
    entry: Entry,
    source: Source,
    hub: Hub,
    making: Path,
    progress: Callable[[Transfer], None] | None,
) -> None:
    """Bring all files into one folder, verified, and write down what they are."""
    _check_room(making, source)
    total = sum(file.size for file in source.files)
    done = 0
    received: dict[str, ReceivedFile] = {}
    for file in source.files:

        def tell(size: int, name: str = file.name, before: int = done) -> None:
            if progress:
                progress(Transfer(name, before + size, total))

        known = entry.known_sha256(file.name)
        path = making / file.name
        part = path.with_name(f"{path.name}{PART}")
        sha256 = _from_cache(part, path, file, known, _cached(file.path, source.revision, entry))
        if sha256 is None:
            hub.fetch(source.repository, source.revision, file, part, tell)
            sha256 = _accept(part, file, known)
        part.rename(path)
        received[file.name] = ReceivedFile(file.size, sha256, "catalogue" if known else "hub")
        done += file.size
        tell(0, before=done)
    Receipt(
        entry.name, entry.layout, source.repository, source.revision, entry.licence.spdx, received
    ).save(making)
    for leftover in making.glob(f"*{REJECTED}"):
        leftover.unlink()


@contextmanager
def _alone(lock: Path, waiting: Callable[[], None] | None) -> Iterator[None]:
    from huggingface_hub.utils import WeakFileLock  # type: ignore[attr-defined]

    with ExitStack() as held:
        try:
            held.enter_context(WeakFileLock(lock, timeout=_AT_ONCE))
        except TimeoutError:
            if waiting:
                waiting()
            held.enter_context(WeakFileLock(lock))
        yield


def find_source(entry: Entry, hub: Hub) -> Source:
    """Ask the hub for the model's files under each name its repository had.

    Raises:
        DownloadError: It is under none of them, or a file is missing.
        ModelFormatError: The hub says another size or hash than the catalogue.
    """
    gone: DownloadError | None = None
    # A commit is a hash of what it holds: whoever takes over a name that was given up cannot put
    # something else under it. Without one, only the current name is good enough.
    for repository in entry.repositories if entry.revision else entry.repositories[:1]:
        try:
            revision = entry.revision or hub.commit(repository)
            listed: dict[str, HubFile] = {}
            for folder in entry.folders:
                listed |= hub.files(repository, revision, folder)
        except DownloadError as error:
            if error.status not in (401, 403, 404):
                raise
            gone = gone or error
            continue
        return Source(repository, revision, tuple(_choose(entry, listed, repository)))
    names = ", ".join(entry.repositories)
    raise DownloadError(f"{entry.name}: not on {hub.endpoint} as {names} ({gone})")


def _choose(entry: Entry, listed: dict[str, HubFile], repository: str) -> list[HubFile]:
    """The files of the catalogue, smallest first, so that what is wrong shows early."""
    chosen: dict[str, HubFile] = {}
    for wanted in entry.files:
        found = [file for name, file in listed.items() if wanted.matches(name)]
        if not found and not wanted.optional:
            raise DownloadError(f"{repository}: has no {wanted.name}, which {entry.name} needs")
        for file in found:
            for what, ours, theirs in (
                ("size", wanted.size, file.size),
                ("SHA-256", wanted.sha256, file.sha256 or wanted.sha256),
            ):
                if ours not in (None, theirs):
                    raise ModelFormatError(
                        f"{repository}: {file.name} has {what} {theirs} there, {ours} in the "
                        "catalogue; it is not the published file, refused"
                    )
            if file.size < 0 or not (file.sha256 or file.git_sha1 or wanted.sha256):
                raise ModelFormatError(f"{repository}: no hash is known of {file.name}, refused")
            chosen[file.name] = file
    return sorted(chosen.values(), key=lambda file: (file.size, file.name))


def _from_cache(
    part: Path, path: Path, file: HubFile, known: str | None, cached: Path | None
) -> str | None:
    """Take a file from the cache of the hub's own client, if it is right there; its SHA-256.

    ``None`` leaves it to the hub, which goes on where ``part`` ends.
    """
    if path.is_file():
        path.rename(part)  # from an earlier attempt; it must prove itself again
    if part.exists() or not cached:
        return None
    shutil.copyfile(cached, part)
    sha256, right = _proved(part, file, known)
    if not right:  # a download that broke there, or a disk that forgets; the hub has a better one
        part.unlink()
    return sha256 if right else None


def _accept(part: Path, file: HubFile, known: str | None) -> str:
    """Compare with the catalogue's hash, else the hub's; return the SHA-256."""
    sha256, right = _proved(part, file, known)
    if not right:
        aside = part.with_name(f"{file.name}{REJECTED}")
        part.replace(aside)
        wanted = known or file.sha256 or f"a file that git names {file.git_sha1}"
        raise ModelFormatError(
            f"{file.name}: SHA-256 is {sha256}, expected {wanted}; refused, kept aside as {aside}; "
            "pull again to fetch it anew"
        )
    return sha256


def _proved(part: Path, file: HubFile, known: str | None) -> tuple[str, bool]:
    """SHA-256, and whether it is the file that was published."""
    size, sha256, git_sha1 = _hashes(part)
    expected = known or file.sha256
    right = sha256 == expected if expected else git_sha1 == file.git_sha1
    return sha256, right and size == file.size


def _cached(path: str, revision: str, entry: Entry) -> Path | None:
    """The file in the cache of the hub's own client, under any of the repository's names."""
    from huggingface_hub import try_to_load_from_cache

    for repository in entry.repositories:
        found = try_to_load_from_cache(repository, path, revision=revision)
        if isinstance(found, str) and Path(found).is_file():
            return Path(found)
    return None


def _hashes(path: Path) -> tuple[int, str, str]:
    """Size, SHA-256, and the SHA-1 that git gives a file (over its size and content)."""
    size = path.stat().st_size
    sha256 = hashlib.sha256()
    # Not for safety: it is the name of the content in a repository whose commit is pinned.
    git = hashlib.sha1(f"blob {size}\0".encode(), usedforsecurity=False)
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            sha256.update(block)
            git.update(block)
    return size, sha256.hexdigest(), git.hexdigest()


def _check_room(making: Path, source: Source) -> None:
    here = sum(file.stat().st_size for file in making.iterdir() if file.is_file())
    needed = sum(file.size for file in source.files) - here
    free = shutil.disk_usage(making).free
    if needed > free:
        raise DownloadError(
            f"{making}: {needed / 1e6:,.0f} MB are missing and {free / 1e6:,.0f} MB free; make "
            "room, or set ARK_ASR_HOME to a folder on another disk"
        )
