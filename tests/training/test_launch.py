"""What starts many processes: torchrun that starts them again, and the scripts for clusters."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from torch.distributed.run import parse_args

import tones
from ark_asr.training import checkpoint

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


def test_torchrun_takes_none_of_our_options_for_its_own(hosts, root, tmp_path):
    options = ["r.toml", "--start", "published", "--output", "run"]
    assert hosts("one slots=2\n", *options).returncode == 0
    for name, text in (("srun", 'exec "$@"'), ("scontrol", "echo one")):
        (tmp_path / name).write_text(f"#!/bin/bash\n{text}\n")
        (tmp_path / name).chmod(0o755)
    job = {"SLURM_JOB_NODELIST": "one", "SLURM_JOB_NUM_NODES": "1", "SLURM_JOB_ID": "7"}
    job |= {"PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}"}
    slurm = subprocess.run(
        [str(root / "recipes" / "cluster" / "slurm.sh"), *options], env={**os.environ, **job},
        cwd=tmp_path, capture_output=True, text=True, check=True, timeout=60,
    )  # fmt: skip
    for said in ((tmp_path / "logs" / "host-0.log").read_text(), slurm.stdout):
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
