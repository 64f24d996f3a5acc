"""What starts many processes: torchrun that starts them again, and the scripts for clusters."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from torch.distributed.run import parse_args

import tones
from ark_asr.training import checkpoint
from ports import free_port
from programs import started

DYING = """
import os, signal
from ark_asr.training import supervised
update = supervised.update
def dying(run, portion):
    if run.step == 3 and os.environ["TORCHELASTIC_RESTART_COUNT"] == "0":
        os.kill(os.getpid(), signal.SIGKILL)
    return update(run, portion)
supervised.update = dying
supervised.main({recipe!r}, resume=True)
"""


@pytest.fixture
def environment(root):
    paths = os.pathsep.join([str(root / "src"), os.environ.get("PYTHONPATH", "")])
    return {**os.environ, "PYTHONPATH": paths, "OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"}


@pytest.mark.slow
@pytest.mark.timeout(1000)
def test_torchrun_starts_a_run_again_that_has_died(tmp_path, environment):
    material = tones.write_material(tmp_path)
    recipe = tones.recipe(material, tmp_path / "run", steps=4, save_every=2)
    script = tmp_path / "dying.py"
    script.write_text(DYING.format(recipe=str(recipe)))
    done = subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "1",
         "--max-restarts", "1", str(script)],
        env=environment, capture_output=True, text=True, check=False, timeout=900,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "update 2 of 4" in done.stdout  # it went on from its checkpoint
    assert checkpoint.numbered(tmp_path / "run")[-1].name == "step-0000004"


# In place of ssh: the "host" is this one; torchrun only says what it was asked for.
SSH = """#!/bin/sh
echo "host $1"; shift; exec sh -c "$*"
"""
TORCHRUN = """#!/bin/sh
echo "$@"
case "$*" in *broken*) exit 1;; esac
"""


# One of the processes dies as soon as there is a checkpoint; the other has met it before.
DOOMED = """
import os, signal, threading, time
from pathlib import Path
def die():
    while not Path({checkpoint!r}).is_dir():
        time.sleep(0.05)
    os.kill(os.getpid(), signal.SIGKILL)
if os.environ.get("RANK") == "1" and os.environ["TORCHELASTIC_RESTART_COUNT"] == "0":
    threading.Thread(target=die, daemon=True).start()
"""


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_several_processes_find_each_other_again_when_one_has_died(tmp_path, root, environment):
    if sys.platform == "win32":
        pytest.skip("a shell script")
    material = tones.write_material(tmp_path)
    recipe = tones.recipe(material, tmp_path / "run", steps=40, save_every=2)
    (tmp_path / "ssh").write_text(SSH)
    (tmp_path / "ssh").chmod(0o755)
    (tmp_path / "hosts").write_text("localhost slots=2\n")
    (tmp_path / "sitecustomize.py").write_text(
        DOOMED.format(checkpoint=str(tmp_path / "run" / "step-0000002"))
    )
    paths = os.pathsep.join([str(tmp_path), environment["PYTHONPATH"]])
    places = {
        "PYTHONPATH": paths, "SSH": str(tmp_path / "ssh"), "MASTER_PORT": str(free_port()),
        "TORCHRUN": str(Path(sys.executable).with_name("torchrun")),
    }  # fmt: skip
    command = [root / "recipes" / "cluster" / "hosts.sh", "hosts", recipe]
    with started(
        command, env=environment | places, cwd=tmp_path, start_new_session=True,
    ) as program:  # fmt: skip
        try:
            code = program.wait(timeout=300)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(program.pid, signal.SIGTERM)  # torchrun ends its processes
    said = (tmp_path / "logs" / "host-0.log").read_text()
    assert code == 0, said
    assert said.count(" of 40; 2 x cpu") == 2, said
    assert "update 0 of 40" in said
    assert checkpoint.numbered(tmp_path / "run")[-1].name == "step-0000040"


@pytest.fixture
def hosts(root, tmp_path):
    if sys.platform == "win32":
        pytest.skip("a shell script")
    for name, text in (("ssh", SSH), ("torchrun", TORCHRUN)):
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o755)

    def run(hostfile, *arguments):
        (tmp_path / "hosts").write_text(hostfile)
        places = {"SSH": str(tmp_path / "ssh"), "TORCHRUN": str(tmp_path / "torchrun")}
        return subprocess.run(
            [str(root / "recipes" / "cluster" / "hosts.sh"), "hosts", *arguments],
            env={**os.environ, **places}, cwd=tmp_path, capture_output=True, text=True,
            check=False, timeout=60,
        )  # fmt: skip

    return run


@pytest.fixture
def slurm(root, tmp_path, hosts):  # which has made a torchrun
    programs = {"srun": 'echo "srun takes $SRUN_CPUS_PER_TASK"; exec "$@"', "scontrol": "echo one"}
    for name, text in programs.items():
        (tmp_path / name).write_text(f"#!/bin/bash\n{text}\n")
        (tmp_path / name).chmod(0o755)

    def run(*arguments, **job):
        job |= {"SLURM_JOB_NODELIST": "one", "SLURM_JOB_NUM_NODES": "1", "SLURM_JOB_ID": "7"}
        job |= {"PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}"}
        return subprocess.run(
            [str(root / "recipes" / "cluster" / "slurm.sh"), *arguments], env={**os.environ, **job},
            cwd=tmp_path, capture_output=True, text=True, check=True, timeout=60,
        ).stdout  # fmt: skip

    return run


@pytest.mark.parametrize(("gpus", "processes"), [({"SLURM_GPUS_ON_NODE": "4"}, 4), ({}, 6)])
def test_a_job_has_a_process_for_each_gpu_or_cpu_and_all_its_cpus(slurm, gpus, processes):
    said = slurm("r.toml", SLURM_CPUS_PER_TASK="6", **gpus)
    assert "srun takes 6\n" in said
    assert f"--nproc-per-node {processes} " in said


def test_every_host_of_a_file_is_asked_to_join(hosts, tmp_path):
    done = hosts("# ours\none slots=2\n\ntwo slots=2 # the new one\n", "my recipe.toml", "--set",
                 "optim.steps=5")  # fmt: skip
    assert done.returncode == 0, done.stderr
    for i, name in enumerate(("one", "two")):
        said = (tmp_path / "logs" / f"host-{i}.log").read_text()
        assert said.startswith(f"host {name}\n")
        assert "--nnodes 2 --nproc-per-node 2" in said
        assert "--rdzv-endpoint one:29503" in said
        assert "-- ark_asr.training my recipe.toml --set optim.steps=5 --resume" in said


def test_torchrun_takes_none_of_our_options_for_its_own(hosts, slurm, tmp_path):
    options = ["r.toml", "--start", "published", "--output", "run"]
    assert hosts("one slots=2\n", *options).returncode == 0
    for said in ((tmp_path / "logs" / "host-0.log").read_text(), slurm(*options)):
        line = next(line for line in said.splitlines() if "--nnodes" in line)
        parsed = parse_args(line[line.index("--nnodes") :].split())
        assert parsed.training_script == "ark_asr.training"
        assert parsed.training_script_args == [*options, "--resume"]


@pytest.mark.parametrize(
    ("hostfile", "recipe", "code", "says"),
    [
        ("one slots=2\ntwo slots=4\n", "r.toml", 2, "as many slots"),
        ("# nobody\n", "r.toml", 2, "names no host"),
        ("one\ntwo\n", "broken.toml", 1, "a host failed"),
    ],
)
def test_hosts_that_do_not_work_are_said(hosts, hostfile, recipe, code, says):
    done = hosts(hostfile, recipe)
    assert done.returncode == code
    assert says in done.stderr
