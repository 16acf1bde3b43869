"""The Slurm script with stand-ins for Slurm's commands: what it starts, and when it goes back into the queue."""

import os
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "train/launch/stage2.slurm"


def test_the_script_is_one_that_bash_reads():
    assert subprocess.run(["bash", "-n", SCRIPT], timeout=30).returncode == 0


@pytest.mark.parametrize("code", [0, 1, 2, 75, 143])
def test_only_what_was_preempted_is_requeued(tmp_path, code):
    log = tmp_path / "log"
    commands = {
        "scontrol": f'echo "scontrol $@" >> {log}; [ "$1" = show ] && printf "node1\\nnode2\\n" || true',
        "srun": f'echo "srun $MASTER_ADDR:$MASTER_PORT $WORLD_SIZE ${{@: -3}}" >> {log}; exit {code}',
    }
    for name, body in commands.items():
        path = tmp_path / name
        path.write_text(f"#!/bin/bash\n{body}\n", encoding="utf-8")
        path.chmod(0o755)
    slurm = {"SLURM_JOB_NODELIST": "node[1-2]", "SLURM_NTASKS": "16", "SLURM_JOB_ID": "7"}
    environment = {**os.environ, **slurm, "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    done = subprocess.run(["bash", SCRIPT, "run.yaml", "--seed", "1"], env=environment, timeout=30)
    lines = log.read_text(encoding="utf-8").splitlines()
    assert done.returncode == code
    assert lines[1] == "srun node1:29500 16 run.yaml --seed 1"
    assert lines[2:] == (["scontrol requeue 7"] if code == 75 else [])


def test_without_a_config_it_says_how_it_is_called():
    done = subprocess.run(["bash", SCRIPT], capture_output=True, text=True, timeout=30)
    assert done.returncode != 0 and "sbatch train/launch/stage2.slurm CONFIG" in done.stderr


def test_ddp_config_is_one_that_accelerate_reads():
    from accelerate.commands.config.config_args import load_config_from_file

    config = load_config_from_file(str(ROOT / "train/launch/ddp.yaml"))
    assert str(config.distributed_type).endswith("MULTI_GPU") and config.num_processes == 8
