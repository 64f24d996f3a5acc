"""What the house asks of every room: what may import what, and what an import costs."""

from __future__ import annotations

import ast
import builtins
import dataclasses
import pickle
import re
import subprocess
import sys
from pathlib import Path

import pytest

import ark_asr
from ark_asr import errors, types
from ark_asr.pipeline.remote import AskedTooOftenError

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "src" / "ark_asr"
MODULES = sorted(PACKAGE.rglob("*.py"))

# Room -> the rooms it may import besides itself; docs/design of the house: downwards only.
GROUND = {"types", "errors", "kinds"}
MAY_IMPORT = {
    "errors": set(),
    "kinds": {"errors"},
    "types": {"errors", "kinds"},
    "models": GROUND,
    "audio": GROUND | {"models"},
    "engines": GROUND | {"models"},
    "decoding": GROUND | {"models", "engines"},
    "graphs": GROUND | {"models"},
    "modeling": GROUND | {"models"},
    # Training labels sound with the pipeline and scores as evaluation does; neither knows of it.
    "training": GROUND
    | {"models", "modeling", "audio", "decoding", "engines", "pipeline", "batch", "evaluation"}
    | {"ark_asr"},
    "writers": GROUND,
    "pipeline": GROUND | {"models", "audio", "engines", "decoding"},
    "batch": GROUND | {"pipeline", "writers", "models"},
    # Collections become manifests of batch's records, and are looked at as batch will hear them.
    "corpora": GROUND | {"batch", "audio", "writers", "models"},
    "integrations": GROUND
    | {"server", "pipeline", "models", "audio", "engines", "decoding", "modeling"},
    "evaluation": GROUND
    | {"batch", "pipeline", "models", "audio", "engines", "decoding", "ark_asr"},
    "server": GROUND | {"pipeline", "writers", "models", "audio", "ark_asr"},
    "cli": GROUND
    | {"server", "pipeline", "batch", "evaluation", "writers", "models", "graphs", "training"}
    | {"corpora", "ark_asr"},
    "ark_asr": GROUND | {"pipeline"},
    "__main__": {"cli"},
}
# An engine in PyTorch runs the model of `modeling`; nothing else may reach across.
EXCEPTIONS = {
    ("engines/torch.py", "modeling"),
    ("engines/torch_steps.py", "modeling"),
    # A writer is given sound, not log-mels.
    ("engines/torch_writer.py", "audio"),
    ("engines/torch_writer.py", "modeling"),
    # What transformers calls a processor reads sound, and its pipeline returns clean text.
    ("modeling/transformers/processor.py", "audio"),
    ("modeling/transformers/pipeline.py", "decoding"),
}
HEAVY = ("torch", "transformers", "fastapi", "uvicorn", "onnx", "matplotlib", "tensorboard",
         "jiwer", "kaldialign", "pyarrow", "docx", "ray", "fsspec")  # fmt: skip


def room_of(path: Path) -> str:
    """The room of a module; the package's own ``__init__`` is the room ``ark_asr``."""
    first = path.relative_to(PACKAGE).parts[0]
    return "ark_asr" if first == "__init__.py" else first.removesuffix(".py")


def imports(path: Path) -> list[tuple[int, str]]:
    """Line and absolute name of every import of a module, also those inside functions."""
    found = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found += [(node.lineno, alias.name) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parts = path.relative_to(PACKAGE.parent).parts[: -node.level]
                base = ".".join([*parts, *filter(None, [base])])
            # `from ark_asr import models` imports a room, not a name.
            if base == "ark_asr":
                found += [(node.lineno, f"ark_asr.{alias.name}") for alias in node.names]
            else:
                found.append((node.lineno, base))
    return found


def rooms_imported(path: Path) -> list[tuple[int, str]]:
    """Line and room of every import from this package."""
    rooms = []
    for line, name in imports(path):
        parts = name.split(".")
        if parts[0] == "ark_asr":
            known = len(parts) > 1 and parts[1] in MAY_IMPORT
            rooms.append((line, parts[1] if known else "ark_asr"))
    return rooms


def test_every_room_has_its_rule():
    assert {room_of(path) for path in MODULES} - set(MAY_IMPORT) == set()


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_go_downwards(path):
    room = room_of(path)
    relative = path.relative_to(PACKAGE).as_posix()
    wrong = [
        f"{relative}:{line} imports {other}"
        for line, other in rooms_imported(path)
        if other != room and other not in MAY_IMPORT[room] and (relative, other) not in EXCEPTIONS
    ]
    assert not wrong


def test_the_check_sees_imports_inside_functions_and_relative_ones(tmp_path, monkeypatch):
    module = tmp_path / "ark_asr" / "models" / "x.py"
    module.parent.mkdir(parents=True)
    module.write_text(
        "from . import config\n"
        "from ..cli import train\n"
        "def f():\n    import ark_asr.pipeline.recognizer\n    from ark_asr import audio\n"
    )
    monkeypatch.setattr(sys.modules[__name__], "PACKAGE", tmp_path / "ark_asr")
    rooms = [room for _, room in sorted(rooms_imported(module))]
    assert rooms == ["models", "cli", "pipeline", "audio"]


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_modules_are_short(path):
    lines = len(path.read_text(encoding="utf-8").splitlines())
    assert lines <= 350, f"{path.name} has {lines} lines; is it still one idea?"


def loaded_after(code: str) -> set[str]:
    """Top-level names of the modules that a fresh interpreter has after running the code."""
    script = f"{code}\nimport sys; print(*sorted({{n.split('.')[0] for n in sys.modules}}))"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=300
    )
    return set(done.stdout.splitlines()[-1].split())


def test_import_is_light():
    assert loaded_after("import ark_asr") & {*HEAVY, "numpy", "onnxruntime", "av"} == set()


def test_the_recognizer_needs_nothing_heavy():
    loaded = loaded_after("from ark_asr import *; import ark_asr.pipeline, ark_asr.writers")
    assert loaded & set(HEAVY) == set()
    assert "numpy" in loaded  # the names were really looked up


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["transcribe"],
        ["convert-format"],
        ["batch"],
        ["data", "check"],
        ["evaluate"],
        ["compare"],
        ["bench"],
        ["models"],
        ["serve"],
        ["train", "supervised"],
        ["train", "distill"],
    ],
)
def test_help_imports_nothing_it_does_not_need(arguments):
    code = (
        "import sys, ark_asr.cli\n"
        f"sys.argv = ['ark-asr', *{arguments!r}, '--help']\n"
        "try:\n    ark_asr.cli.main()\nexcept SystemExit as end:\n    assert not end.code\n"
    )
    needless = {*HEAVY, "numpy", "onnxruntime", "av", "tokenizers", "huggingface_hub", "rich"}
    assert loaded_after(code) & needless == set()


def test_public_names_are_what_they_say():
    for name in ark_asr.__all__:
        assert getattr(ark_asr, name) is not None
    assert set(ark_asr.__all__) <= set(dir(ark_asr))
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        _ = ark_asr.nonsense


def test_records_are_frozen():
    records = [value for value in vars(types).values() if dataclasses.is_dataclass(value)]
    assert len(records) > 8
    for record in records:
        assert record.__dataclass_params__.frozen, f"{record.__name__} can be changed"


def test_the_drawing_of_the_errors_is_the_tree():
    line = re.compile(r"^([│├└─ ]*)(\w+(?:Error|Warning))(?: \((\w+)\))?", re.MULTILINE)
    drawn: dict[str, tuple[str, str | None]] = {}
    path: list[str] = []
    for indent, name, builtin in line.findall(errors.__doc__):
        depth = max(len(indent) - 4, 0) // 4
        path[depth:] = [name]
        drawn[name] = (path[depth - 1] if depth else "", builtin or None)
    defined = {
        name: kind
        for name, kind in vars(errors).items()
        if isinstance(kind, type) and kind.__module__ == errors.__name__
    }
    assert set(drawn) == set(defined)
    for name, (parent, builtin) in drawn.items():
        bases = [base.__name__ for base in defined[name].__bases__]
        root = "Exception" if name.endswith("Error") else "UserWarning"
        assert bases == list(filter(None, [parent or builtin or root, builtin if parent else None]))
        assert all(hasattr(builtins, base) or base in defined for base in bases)


def test_errors_travel_between_processes():
    """A pool of processes waits for ever for an error that cannot be read back."""
    made = [errors.MissingExtraError("sound", "mic"), errors.ManifestError("one", ("line 1",))]
    made += [errors.DownloadError("gone", 404), AskedTooOftenError("later", 3.0)]
    for error in made:
        read = pickle.loads(pickle.dumps(error))
        assert (type(read), str(read)) == (type(error), str(error))
        assert vars(read) == vars(error)


def test_tracked_files_name_no_place_of_one_machine():
    listed = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    if listed.returncode:
        pytest.skip("not a git checkout")
    place = re.compile(rb"(?<![\w.])/(?:work|root|home/\w+|Users/\w+)/")
    wrong = []
    for name in listed.stdout.splitlines():
        path = ROOT / name
        if path.is_file() and path.stat().st_size < 1 << 20 and place.search(path.read_bytes()):
            wrong.append(name)
    assert not wrong
