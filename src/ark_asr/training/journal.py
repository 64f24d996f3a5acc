"""What a run says of itself: JSON lines, TensorBoard, and a picture of loss and WER."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from torch.utils.tensorboard import SummaryWriter

from ark_asr.batch.places import write_whole
from ark_asr.errors import OptionError, TrainingError

LOG_FILE = "log.jsonl"
LOCK_FILE = ".lock"
CURVES_FILE = "curves.png"
BOARD = "tensorboard"


class Journal:
    """Writes to ``folder``; a run that goes on continues the same files.

    Raises:
        OptionError: Another run is writing there, or it cannot be a folder or hold a log.
        OSError: Nothing can be written into it.
    """

    def __init__(self, folder: Path, step: int) -> None:
        self.folder = folder
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            why = error.strerror or error
            raise OptionError(f"{folder}: is no folder and cannot become one ({why})") from None
        self.path = folder / LOG_FILE
        self._lock = _locked(folder)
        self._hook = threading.excepthook
        threading.excepthook = self._of_a_thread
        try:
            kept = [row for row in read_log(self.path) if row["step"] <= step]
            # Whole or not at all: on a full disk the log of days is still there.
            write_whole(str(self.path), "".join(json.dumps(row) + "\n" for row in kept).encode())
            self.board = SummaryWriter(str(folder / BOARD), purge_step=step + 1)
        except BaseException:
            self._release()
            raise

    def write(self, step: int, values: dict[str, Any]) -> None:
        """One line of the log; numbers go to TensorBoard as well.

        Raises:
            TrainingError: It cannot be written, such as on a full disk.
        """
        with self._room():
            with self.path.open("a", encoding="utf-8") as file:
                file.write(json.dumps({"step": step, **values}) + "\n")
            for name, value in values.items():
                if isinstance(value, int | float):
                    self.board.add_scalar(name, value, step)

    def draw(self) -> None:
        """Loss and WER over the steps as a PNG.

        Raises:
            TrainingError: As `write`.
        """
        with self._room():
            draw_curves(self.path, self.folder / CURVES_FILE)

    def close(self) -> None:
        """Flush TensorBoard, and let others write here."""
        try:
            self.board.close()
        except OSError as error:  # what a run has come to is worth more
            print(f"{self.folder / BOARD}: is not whole ({error.strerror or error})", flush=True)
        finally:
            self._release()

    def _release(self) -> None:
        threading.excepthook = self._hook
        self._lock.close()

    def _of_a_thread(self, told: threading.ExceptHookArgs) -> None:
        # An error of TensorBoard's thread is raised again by the next write or by close: the
        # traceback that it would print besides says no more.
        boards = type(told.thread).__module__.startswith("tensorboard.")
        if not (boards and issubclass(told.exc_type, OSError)):
            self._hook(told)

    @contextmanager
    def _room(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise TrainingError(
                f"{self.folder}: the log cannot be written ({error.strerror or error}); make room "
                "and go on with --resume"
            ) from None


def _locked(folder: Path) -> IO[bytes]:
    """A file that is locked while it is open, so that two runs do not write into one folder.

    The lock is the process's own: workers that outlive it for a moment do not have it.

    Raises:
        OptionError: Another run has it.
    """
    file = (folder / LOCK_FILE).open("ab")
    try:
        import fcntl

        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):
        file.close()
        raise OptionError(f"{folder}: another run is writing there; name another output") from None
    except (ImportError, OSError):  # Windows, or a file system without locks
        pass
    return file


def read_log(path: Path) -> list[dict[str, Any]]:
    """Rows of a log; a last line torn by an interruption is left out."""
    if not path.is_file():
        return []
    rows = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            rows.append(json.loads(line))
        except json.JSONDecodeError:
            break
    return rows


def draw_curves(log: Path, target: Path) -> None:
    """Draw the curves of a log file."""
    from matplotlib.figure import Figure

    rows = read_log(log)
    figure = Figure(figsize=(9, 7), layout="constrained")
    losses, rates = figure.subplots(2, 1, sharex=True)
    for name in ("loss", "ctc_bytes", "ctc_tokens"):
        steps, values = curve(rows, name)
        if any(values):  # a loss that is not asked for is 0 all the time
            losses.plot(steps, values, label=name, linewidth=0.8)
    losses.set_ylabel("nats per token or byte")
    losses.set_yscale("log")
    for name in sorted({key for row in rows for key in row if key.startswith("wer/")}):
        of = name.removeprefix("wer/")
        (line,) = rates.plot(*curve(rows, name, 100), label=of, marker=".")
        steps, low = curve(rows, f"wer_low/{of}", 100)
        _, high = curve(rows, f"wer_high/{of}", 100)
        rates.fill_between(steps, low, high, color=line.get_color(), alpha=0.15, linewidth=0)
    rates.set_ylabel("WER % and its 95 % interval")
    rates.set_ylim(0, 105)
    rates.set_xlabel("updates")
    for axes in (losses, rates):
        axes.grid(alpha=0.3)
        if axes.lines:
            axes.legend()
    figure.savefig(target, dpi=110)


def curve(
    rows: list[dict[str, Any]], name: str, factor: float = 1.0
) -> tuple[list[int], list[float]]:
    """Steps and values of one quantity in the rows of a log."""
    points = [(row["step"], factor * row[name]) for row in rows if name in row]
    return [step for step, _ in points], [value for _, value in points]
