#!/bin/bash
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --gpus-per-node=8
#SBATCH --cpus-per-task=64
#SBATCH --requeue
#SBATCH --open-mode=append
# Training on several nodes under Slurm; the recipe's output folder must be on a disk all nodes see.
#   sbatch recipes/cluster/slurm.sh RECIPE.toml [--output DIR] [--train FILE] [--set KEY=VALUE] ...
# Options of sbatch before the name go before those above. One process per GPU; without GPUs
# (--gpus-per-node=0) one per CPU. `torchrun` must be on the PATH.
# A node that is lost ends the job; Slurm queues it again, and it goes on from its last checkpoint.
set -euo pipefail
[ $# -ge 1 ] || { echo "usage: sbatch $0 RECIPE.toml [options of train supervised]" >&2; exit 2; }

first=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)
export OMP_NUM_THREADS="${OMP_NUM_THREADS:-1}"
# Since Slurm 22.05 srun does not take this over from the job: all processes would share one CPU.
export SRUN_CPUS_PER_TASK="${SLURM_CPUS_PER_TASK:-1}"
# torchrun's own store keeps addresses of processes that have died; those started again would wait
# for them for ever.
export TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1
srun torchrun \
    --nnodes "$SLURM_JOB_NUM_NODES" --nproc-per-node "${SLURM_GPUS_ON_NODE:-$SRUN_CPUS_PER_TASK}" \
    --rdzv-id "$SLURM_JOB_ID" --rdzv-backend c10d --rdzv-endpoint "$first:${MASTER_PORT:-29503}" \
    --max-restarts 3 \
    -m -- ark_asr.training "$@" --resume
