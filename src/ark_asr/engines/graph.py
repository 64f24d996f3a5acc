"""One ONNX graph of somebody else's making: its inputs and outputs are looked at before use."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import onnxruntime as ort
from numpy.typing import NDArray

from ark_asr.engines.base import CLOSED, check_threads
from ark_asr.engines.cpu import usable_cores
from ark_asr.engines.sessions import open_session, session_options
from ark_asr.errors import ArkError, ModelFormatError, ModelNotFoundError

# What an axis must be: any length; any length that the graph fixes; or a number.
ANY, FIXED = -1, -2


class Graph:
    """An open graph.

    Args:
        path: The file.
        threads: Threads to run it with; ``None`` for one per physical core that may be used.

    Attributes:
        path: The file.
        inputs: Names of its inputs, in its own order.
        outputs: Names of its outputs.

    Raises:
        ModelNotFoundError: There is no such file.
        ModelFormatError: The runtime cannot load it.
        OptionError: ``threads`` makes no sense.
    """

    def __init__(self, path: Path, threads: int | None = None) -> None:
        check_threads(threads)
        if not path.is_file():
            raise ModelNotFoundError(f"{path}: no such file; the model is not complete")
        self.path = path
        options = session_options(threads or usable_cores())
        options.log_severity_level = 4  # what goes wrong is raised, and need not be printed too
        self.session = open_session(path, options)
        self._inputs = {node.name: node for node in self.session.get_inputs()}
        self._outputs = {node.name: node for node in self.session.get_outputs()}
        self.inputs, self.outputs = list(self._inputs), list(self._outputs)

    def only_inputs(self, names: Sequence[str]) -> None:
        """Refuse a graph that wants something else.

        Raises:
            ModelFormatError: Names what is missing and what is not known.
        """
        missing = [name for name in names if name not in self._inputs]
        unknown = [name for name in self._inputs if name not in names]
        if missing or unknown:
            wrong = f"; missing: {_list(missing)}" if missing else ""
            wrong += f"; not known: {_list(unknown)}" if unknown else ""
            raise ModelFormatError(
                f"{self.path}: its inputs are {_list(self.inputs)}, expected {_list(names)}{wrong}"
            )

    def rank(self, name: str) -> int:
        """Axes of an input."""
        return len(self._inputs[name].shape)

    def input(self, name: str, *axes: int, kind: str = "float") -> list[int]:
        """Check one input; return its axes, ``ANY`` where the graph leaves one open.

        Raises:
            ModelFormatError: It is missing or of another shape or kind.
        """
        return self._check(self._inputs, "input", name, axes, kind)

    def output(self, name: str, *axes: int, kind: str = "float") -> list[int]:
        """Check one output; as `input`."""
        return self._check(self._outputs, "output", name, axes, kind)

    def run(self, outputs: Sequence[str], feeds: Mapping[str, NDArray[Any]]) -> list[NDArray[Any]]:
        """Compute.

        Raises:
            ModelFormatError: The graph cannot take what its contract says it takes.
        """
        with running(self.path):
            found: list[NDArray[Any]] = self.session.run(outputs, feeds)
        return found

    def run_values(
        self, outputs: Sequence[str], feeds: Mapping[str, ort.OrtValue]
    ) -> list[ort.OrtValue]:
        """As `run`, on the runtime's own arrays: what goes out can go in again uncopied."""
        with running(self.path):
            found: list[ort.OrtValue] = self.session.run_with_ort_values(outputs, feeds)
        return found

    def close(self) -> None:
        """Give back memory and the file."""
        self.session = CLOSED

    def _check(
        self,
        nodes: Mapping[str, ort.NodeArg],
        what: str,
        name: str,
        axes: Sequence[int],
        kind: str,
    ) -> list[int]:
        if name not in nodes:
            raise ModelFormatError(f"{self.path}: has no {what} {name}, only {_list(list(nodes))}")
        node = nodes[name]
        shape = [size if isinstance(size, int) else ANY for size in node.shape]
        fits = len(shape) == len(axes) and all(map(_fits, shape, axes))
        if not fits or node.type != f"tensor({kind})":
            raise ModelFormatError(
                f"{self.path}: {what} {name} is {node.type} {_shape(shape)}, expected "
                f"tensor({kind}) {_shape(axes)}"
            )
        return shape


@contextmanager
def running(name: Path | str) -> Iterator[None]:
    """Around a run of the runtime: what it raises becomes one line.

    Raises:
        ModelFormatError: The graph ``name`` does not run.
    """
    try:
        yield
    except ArkError:
        raise
    except Exception as error:  # noqa: BLE001 - the runtime's exceptions have no common base
        reason = str(error).strip().splitlines()[0][:300]
        raise ModelFormatError(f"{name}: it does not run ({reason})") from None


def _fits(size: int, expected: int) -> bool:
    if expected == ANY:
        return True
    return size > 0 if expected == FIXED else size in (ANY, expected)


def _shape(axes: Sequence[int]) -> str:
    words = {ANY: "any", FIXED: "fixed"}
    return f"[{', '.join(words.get(size, str(size)) for size in axes)}]"


def _list(names: Sequence[str]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if names[5:] else "")
