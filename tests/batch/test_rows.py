"""The output file: nothing lost, doubled or torn, whatever happens."""

from __future__ import annotations

import errno
import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from ark_asr.batch.manifests import read_manifest
from ark_asr.batch.predict import Settings
from ark_asr.batch.records import Prediction, render_row
from ark_asr.batch.rows import RowFile
from ark_asr.errors import OptionError
from listener import read_jsonl, wav, words, write_jsonl


@pytest.fixture
def records(tmp_path):
    rows = [{"audio": f"{n}.wav", "text": f"größe\u2028{n}", "n": n} for n in range(4)]
    return read_manifest(str(write_jsonl(tmp_path / "in.jsonl", rows)))


def open_rows(path, records, *, resume=False, overwrite=False):
    return RowFile(str(path), records, resume=resume, overwrite=overwrite)


def lines(records):
    return [render_row(record, Prediction(f"text {record.number}")) for record in records]


def test_a_file_cut_off_anywhere_goes_on_as_if_nothing_had_happened(records, tmp_path):
    path, records = tmp_path / "out.jsonl", records[:2]
    with open_rows(path, records) as rows:
        rows.append(lines(records))
    whole = path.read_bytes()
    assert whole.count(b"\n") == 2
    for length in range(len(whole) + 1):
        path.write_bytes(whole[:length])
        with open_rows(path, records, resume=True) as rows:
            assert rows.done == whole[:length].count(b"\n")
            rows.append(lines(records[rows.done :]))
        assert path.read_bytes() == whole, length


def test_rows_that_are_there_are_not_replaced_unasked(records, tmp_path):
    path = tmp_path / "out.jsonl"
    path.write_text("precious\n")
    with pytest.raises(OptionError, match="has rows already; --resume"):
        open_rows(path, records)
    # Also when asked: not before there is something to replace it with.
    open_rows(path, records, overwrite=True).close()
    assert path.read_text() == "precious\n"
    with open_rows(path, records, overwrite=True) as rows:
        rows.append(["new"])
        rows.append(["newer"])
    assert path.read_text() == "new\nnewer\n"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"{\n", "line 1 is not JSON"),
        (b"[]\n", "line 1 is not of line 1 of the input"),
        (b'{"audio": "other.wav"}\n', r"line 1 is not of line 1 of the input \(0.wav\)"),
    ],
)
def test_the_output_of_another_run_is_not_continued(records, tmp_path, content, message):
    path = tmp_path / "out.jsonl"
    path.write_bytes(content)
    with pytest.raises(OptionError, match=message):
        open_rows(path, records, resume=True)
    assert path.read_bytes() == content


def test_more_rows_than_records(records, tmp_path):
    path = tmp_path / "out.jsonl"
    path.write_text("".join(f"{line}\n" for line in lines(records)))
    with pytest.raises(OptionError, match="more rows than the input"):
        open_rows(path, records[:3], resume=True)


def test_errors_of_an_earlier_run_are_counted(records, tmp_path):
    with open_rows(tmp_path / "o", records) as rows:
        rows.append([render_row(records[0], Prediction(error="broken"))])
    with open_rows(tmp_path / "o", records, resume=True) as rows:
        assert (rows.done, rows.failed) == (1, 1)


def test_two_runs_do_not_write_one_file(records, tmp_path):
    pytest.importorskip("fcntl")
    with (
        open_rows(tmp_path / "o", records),
        pytest.raises(OptionError, match="another run is writing it"),
    ):
        open_rows(tmp_path / "o", records, resume=True)
    open_rows(tmp_path / "o", records, resume=True).close()


class FullDisk:
    """A file on a disk with room for so many more bytes."""

    def __init__(self, file, room):
        self._file, self._room = file, room

    def __getattr__(self, name):
        return getattr(self._file, name)

    def write(self, data):
        if not self._room:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        written = self._file.write(data[: self._room])
        self._room -= written
        return written


def test_a_disk_that_is_full_in_the_middle_of_a_row(records, tmp_path):
    path = tmp_path / "out.jsonl"
    with open_rows(path, records) as rows:
        rows.append(lines(records)[:1])
        before = path.read_bytes()
        rows._file = FullDisk(rows._file, 20)
        with pytest.raises(OptionError, match=r"No space left.*1 rows are there"):
            rows.append(lines(records)[1:])
    assert path.read_bytes() == before
    with open_rows(path, records, resume=True) as rows:
        rows.append(lines(records)[1:])
    assert len(read_jsonl(path)) == 4


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_a_full_device_is_one_line(program, manifest):
    result = program("-i", manifest, "-o", "/dev/full")
    assert (result.exit_code, len(result.stderr.splitlines())) == (2, 1)
    # What is no file cannot be resumed, so nothing is said of that.
    assert result.stderr.endswith("cannot be written (No space left on device)\n")


def test_an_output_that_cannot_be_written_is_said_before_the_model_is_loaded(
    program, manifest, tmp_path
):
    (tmp_path / "file").write_text("")
    for output in (tmp_path, tmp_path / "file" / "out.jsonl"):
        result = program("-i", manifest, "-o", output)
        assert (result.exit_code, result.loaded) == (2, [])
        assert "cannot be written" in result.stderr
    assert "cannot be resumed" in program("-i", manifest, "-o", "-", "--resume").stderr


@pytest.mark.skipif(sys.platform != "linux", reason="this system has no /proc")
def test_a_file_system_that_takes_no_files(program, manifest):
    result = program("-i", manifest, "-o", "/proc/out.jsonl")
    assert (result.exit_code, result.loaded, len(result.stderr.splitlines())) == (2, [], 1)
    assert "/proc/out.jsonl: cannot be written" in result.stderr


def test_a_file_without_permission(program, manifest, tmp_path):
    out = tmp_path / "out.jsonl"
    out.touch(0o400)
    if os.access(out, os.W_OK):
        pytest.skip("this user may write every file")
    result = program("-i", manifest, "-o", out)
    assert (result.exit_code, result.loaded) == (2, [])


def test_going_on_when_all_is_done_loads_no_model(program, manifest, tmp_path):
    out = tmp_path / "out.jsonl"
    program("-i", manifest, "-o", out)
    before = out.read_bytes()
    result = program("-i", manifest, "-o", out, "--resume")
    assert (result.exit_code, result.loaded, out.read_bytes()) == (0, [], before)
    assert "8 of 8 rows; nothing was left to do" in result.stderr


KILLED = """
import os, random, signal, sys, time
import ark_asr.cli, ark_asr.batch.job, ark_asr.batch.manifests, ark_asr.batch.script_flags
from ark_asr import Recognizer
from ark_asr.batch import rows
from ark_asr.models.tokenizer import Tokenizer
from listener import Listener

class Torn:
    # Killed in the middle of the n-th write, as by a power cut; 0 is never: then its parent will
    # do it, which is waited for before all is done.
    left, most = 0, 0
    def __init__(self, file):
        self.file = file
    def __getattr__(self, name):
        return getattr(self.file, name)
    def write(self, data):
        while Torn.most and size() > Torn.most:
            time.sleep(0.01)
        Torn.left -= 1
        if not Torn.left:
            self.file.write(data[: len(data) // 2])
            os.kill(os.getpid(), signal.SIGKILL)
        return self.file.write(data)

opened = rows.RowFile._open
rows.RowFile._open = lambda self, path: Torn(opened(self, path))
tokenizer = Tokenizer.load(sys.argv.pop(1))
model = Recognizer(Listener(tokenizer), tokenizer, "listener")
Recognizer.load = classmethod(lambda *_, **__: model)
dice, out = random.Random(5), sys.argv[sys.argv.index("-o") + 1]
size = lambda: os.stat(out).st_size if os.path.exists(out) else 0
for round in range(100):
    torn = dice.randrange(1, 4) if round % 2 else 0
    until = size() + dice.randrange(1, 900)
    child = os.fork()
    if not child:
        Torn.left, Torn.most = torn, 0 if torn else until + 900
        ark_asr.cli.main()
    while not torn and size() < until and not os.waitid(
        os.P_PID, child, os.WEXITED | os.WNOHANG | os.WNOWAIT
    ):
        time.sleep(0.002)
    if not torn:
        os.kill(child, signal.SIGKILL)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    whole = open(out, "rb").read().count(b"\\n") if size() else 0
    print(code, whole, flush=True)
    if code == 0:
        break
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_killed_at_random_times(root, tmp_path, byte_checkpoint):
    numbers = [random.Random(n).randrange(2, 12) for n in range(36)]
    for number in set(numbers):
        wav(tmp_path / f"{number}.wav", number)
    records = [{"audio": f"{n}.wav", "text": words(n), "row": i} for i, n in enumerate(numbers)]
    source = write_jsonl(tmp_path / "in.jsonl", records)
    out = tmp_path / "out.jsonl"
    command = [sys.executable, "-c", KILLED, byte_checkpoint, "batch", "-i", source, "-o", out,
               "--resume", "--batch-size", "1", "-q"]  # fmt: skip
    done = subprocess.run(
        command, cwd=root / "tests", capture_output=True, text=True, check=True, timeout=300
    )
    codes, rows = zip(*(map(int, line.split()) for line in done.stdout.splitlines()), strict=True)
    assert set(codes[:-1]) == {-signal.SIGKILL}
    assert len(codes) > 4
    assert codes[-1] == 0
    assert list(rows) == sorted(rows)  # what was there stays
    found = read_jsonl(out)
    assert [row["row"] for row in found] == list(range(36))
    assert [row["pred_text"] for row in found] == [row["text"] for row in found]


def test_settings_can_be_sent_to_other_processes():
    import pickle

    settings = Settings(model="m", threads=2)
    assert pickle.loads(pickle.dumps(settings)) == settings
