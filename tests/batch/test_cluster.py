"""A batch on Ray: what a worker does, and a cluster of this machine whose workers are killed."""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys

import pytest

import checkpoints
from ark_asr.batch.cluster import ShardWorker
from ark_asr.batch.job import Plan, run_batch
from ark_asr.batch.manifests import read_manifest
from ark_asr.batch.predict import Settings
from ark_asr.batch.rows import RowFile
from ark_asr.batch.shards import ShardFolder
from ark_asr.graphs.convert import build_package
from ark_asr.types import TranscribeOptions
from listener import read_jsonl

OPTIONS = TranscribeOptions(vad=None, max_new_tokens=4)


@pytest.fixture(scope="module")
def package(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tiny")
    checkpoints.write_checkpoint(folder / "source")
    build_package(folder / "source", folder / "package", precision="fp32")
    return folder / "package"


@pytest.fixture
def plan(package):
    return Plan(Settings(str(package), threads=1, options=OPTIONS))


@pytest.fixture
def records(manifest):
    with manifest.open("a") as file:
        file.write('{"audio": "missing.wav"}\n')
    return read_manifest(str(manifest))


@pytest.fixture
def alone(plan, records, tmp_path):
    """The output of one process."""
    with RowFile(str(tmp_path / "alone"), records, resume=False, overwrite=False) as rows:
        run_batch(records, rows, plan)
    return (tmp_path / "alone").read_bytes()


def test_a_worker_writes_whole_shards(plan, records, alone, tmp_path):
    shards = ShardFolder(str(tmp_path / "out"), records, size=4, resume=False, overwrite=False)
    worker = ShardWorker(plan)
    with worker._workers:
        answers = [
            pickle.loads(worker({"number": n, "shard": pickle.dumps(shard)})["done"])
            for n, shard in enumerate(shards.missing)
        ]
    assert [answer.number for answer in answers] == [0, 1, 2]
    assert [answer.failed for answer in answers] == [0, 0, 1]
    assert sum(answer.seconds for answer in answers) == pytest.approx(78 * 0.05)
    for shard in list(shards.missing):
        shards.take(shard)
    assert (tmp_path / "out").read_bytes() == alone


def test_what_a_worker_cannot_do_is_told(plan, records, tmp_path):
    output = ShardFolder(f"{tmp_path}/o/", records, size=9, resume=False, overwrite=False)
    output.close()
    (tmp_path / "o").rmdir()
    (tmp_path / "o").write_text("")
    worker = ShardWorker(plan)
    with worker._workers:
        row = worker({"number": 0, "shard": pickle.dumps(output.missing[0])})
    assert "cannot be written" in pickle.loads(row["done"]).error


def test_without_ray_the_extra_is_named(program, manifest, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    result = program("-i", manifest, "-o", tmp_path / "o", "--engine", "ray")
    assert (result.exit_code, len(result.stderr.splitlines())) == (2, 1)
    assert "--engine ray needs an optional part: pip install 'ark-asr[batch]'" in result.stderr


RUN = """
import json, sys
from dataclasses import replace
from pathlib import Path
from ark_asr.batch.cluster import run_on_cluster
from ark_asr.batch.job import Plan
from ark_asr.batch.manifests import read_manifest
from ark_asr.batch.predict import Settings
from ark_asr.batch.shards import ShardFolder
from ark_asr.types import TranscribeOptions
from deadly import Deadly
import ray

package, manifest, folder = sys.argv[1:]
folder = Path(folder)
plan = Plan(Settings(package, options=TranscribeOptions(vad=None, max_new_tokens=4)))
records = read_manifest(manifest)

def run(name, records, resume=False, **changes):
    said = []
    shards = ShardFolder(str(folder / name), records, size=2, resume=resume, overwrite=False)
    before = shards.done
    tally = run_on_cluster(shards, replace(plan, **changes), workers=2, warn=said.append)
    print(json.dumps({
        "name": name, "rows": tally.rows, "failed": tally.failed, "fresh": tally.fresh,
        "seconds": tally.audio, "stopped": tally.stopped, "before": before, "said": said,
    }), flush=True)
    shards.close()

ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
once = folder / "killed"
run("lost-worker", [*records[:3], Deadly(records[3], once), *records[4:]])
assert once.exists()
run("lost-process", [*records[:3], Deadly(records[3]), *records[4:]])
run("stopped", records, fail_fast=True)
run("stopped", records, resume=True)
ray.shutdown()
"""


@pytest.fixture
def cluster(package, manifest, records, tmp_path, root):
    """What a script said that runs batches on two workers of Ray and kills some of them."""
    pytest.importorskip("ray", reason="Ray is not installed: pip install 'ark-asr[batch]'")
    paths = os.pathsep.join([str(root / "src"), str(root / "tests")])
    done = subprocess.run(
        [sys.executable, "-c", RUN, package, manifest, tmp_path],
        capture_output=True, text=True, check=False, timeout=900,
        env={**os.environ, "PYTHONPATH": paths, "RAY_ADDRESS": ""},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]


@pytest.mark.slow
@pytest.mark.timeout(1000)
@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGKILL")
def test_two_workers_and_those_that_are_killed(cluster, alone, tmp_path):
    lost_worker, lost_process, stopped, resumed = cluster
    assert (tmp_path / "lost-worker").read_bytes() == alone
    assert (lost_worker["rows"], lost_worker["failed"]) == (9, 1)
    assert lost_worker["seconds"] == pytest.approx(78 * 0.05)
    # Only the record that ends every process that works on it becomes an error.
    rows, expected = read_jsonl(tmp_path / "lost-process"), [*map(json.loads, alone.splitlines())]
    assert "signal 9" in rows[3]["error"]
    assert rows[:3] + rows[4:] == expected[:3] + expected[4:]
    assert lost_process["failed"] == 2
    # What was stopped goes on after whole shards.
    assert "missing.wav" in stopped["stopped"]
    assert resumed["before"] + resumed["fresh"] == resumed["rows"] == 9
    assert (tmp_path / "stopped").read_bytes() == alone
