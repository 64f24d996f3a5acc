"""Where models are: embedded ones and those of the store by name, folders of any other.

Only the disk is looked at, never the network: `ark_asr.models.pull` is what fetches.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ark_asr.errors import ModelError, ModelFormatError, ModelNotFoundError
from ark_asr.models import home
from ark_asr.models.catalogue import CHECKPOINT, find
from ark_asr.models.layouts import Kind, layout_of
from ark_asr.models.llm_kv import LlmKvFolder
from ark_asr.models.package import MANIFEST_FILE, Manifest
from ark_asr.models.receipt import RECEIPT_FILE, Receipt

DEFAULT_MODEL = "ark-mini"
_EMBEDDED = Path(__file__).parent.parent / "data"


@dataclass(frozen=True, slots=True)
class ModelFolder:
    """A model that was found.

    Attributes:
        name: Its name: that of the package, else of the folder.
        path: The folder.
        kind: How it is laid out; see `ark_asr.models.layouts`.
        precision: Of the decoder's linear layers; ``None`` where the folder does not say it.
        embedded: It came with this program.
    """

    name: str
    path: Path
    kind: Kind
    precision: str | None = None
    embedded: bool = False

    @property
    def size(self) -> int:
        """Bytes of all its files."""
        return sum(file.stat().st_size for file in self.path.iterdir() if file.is_file())


@dataclass(frozen=True, slots=True)
class Damaged:
    """A model of the store that cannot be used as it is, and why."""

    installed: home.Installed
    why: str


def resolve(name_or_path: str | Path | None = None) -> ModelFolder:
    """Find a model by name or folder; ``None`` is the default model.

    A name is that of an embedded model, or of one in the store: its name or an alias in the
    catalogue, with ``:variant`` for one that is not the best (``ark-asr-0.6b:checkpoint``). A name
    wins over a folder of the same name; write ``./name`` for the folder.

    Raises:
        ModelNotFoundError: There is neither; the message lists the known names.
        ModelFormatError: The folder holds no model that is known.
    """
    wanted = DEFAULT_MODEL if name_or_path is None else name_or_path
    if isinstance(wanted, str) and (embedded := _embedded().get(wanted)):
        return embedded
    if isinstance(wanted, str) and (stored := home.lookup(wanted)):
        return _inspect(stored[0].path)
    path = home.expand(wanted)
    if path.is_dir():
        return _inspect(path)
    if not path.exists() and (closed := home.closed()):
        raise ModelNotFoundError(
            f"no model {str(wanted)!r} was seen, but {closed} cannot be read by this user; make it "
            "readable (chmod -R go+rX), or run this as its owner"
        )
    if isinstance(wanted, str) and (entry := find(wanted.partition(":")[0])):
        raise ModelNotFoundError(
            f"{wanted} is not here; fetch it: ark-asr models pull {entry.name}"
        )
    names = [*_embedded(), *dict.fromkeys(one.name for one in home.installed())]
    known = ", ".join(names) or "none is installed"
    if path.exists():
        raise ModelNotFoundError(f"{path}: is a file; a model is a folder, or a name ({known})")
    raise ModelNotFoundError(f"no model {str(wanted)!r}; give a folder, or a known name ({known})")


def languages_of(name: str) -> tuple[str, ...]:
    """ISO 639 codes that a model was trained for, by its name; none if that is not known."""
    if name == DEFAULT_MODEL:  # it came with the package and is in no catalogue
        return ("en",)
    entry = find(name)
    return entry.languages if entry else ()


def list_models() -> list[ModelFolder]:
    """The models that came with this program, then those of the store that can be run."""
    return survey()[0]


def survey() -> tuple[list[ModelFolder], list[Damaged]]:
    """The models that can be run, and those of the store that could be if they were whole.

    One that is damaged must not hide the others.
    """
    sound, damaged = [*_embedded().values()], []
    for one in filter(_runs, home.installed()):
        try:
            sound.append(_inspect(one.path))
        except ModelError as error:
            damaged.append(Damaged(one, str(error)))
    return sound, damaged


def _runs(one: home.Installed) -> bool:
    if (one.path / MANIFEST_FILE).is_file():
        return True
    entry = find(one.name)
    if entry is None:
        return one.variant == CHECKPOINT
    return entry.runs and entry.transcribes


def _embedded() -> dict[str, ModelFolder]:
    found = (path.parent for path in sorted(_EMBEDDED.glob(f"*/{MANIFEST_FILE}")))
    return {path.name: _inspect(path, embedded=True) for path in found}


def _inspect(path: Path, *, embedded: bool = False) -> ModelFolder:
    """Tell the kind of a folder by its content."""
    if (path / RECEIPT_FILE).is_file():
        receipt = Receipt.load(path)
        if (entry := find(receipt.name)) and not entry.runs:
            raise ModelFormatError(
                f"{path}: has the layout {receipt.layout!r}, which cannot be run yet"
            )
        if entry and not entry.transcribes:
            raise ModelFormatError(f"{path}: is for `--speakers auto`; it does not transcribe")
    layout = layout_of(path)
    if layout.kind == "package":
        manifest = Manifest.load(path)
        return ModelFolder(manifest.name, path, layout.kind, manifest.precision, embedded)
    precision = LlmKvFolder.find(path).precision if layout.kind == "llm-kv" else None
    return ModelFolder(path.resolve().name, path, layout.kind, precision)
