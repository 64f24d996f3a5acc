#!/bin/bash
# Training on the hosts of a file, over ssh without passwords; run it on any of them.
#   recipes/cluster/hosts.sh HOSTFILE RECIPE.toml [options of train supervised] ...
# HOSTFILE has a line `name slots=8` for each host (slots: its GPUs; without it, 1); # begins a
# comment. The current folder and the output folder must be on a disk all hosts see, and `torchrun`
# in the same place on all of them (TORCHRUN). If a host fails, all are ended, and the exit code is 1.
set -euo pipefail
[ $# -ge 2 ] || { echo "usage: $0 HOSTFILE RECIPE.toml [options]" >&2; exit 2; }
hostfile=$1; shift
torchrun=${TORCHRUN:-$(command -v torchrun)}
port=${MASTER_PORT:-29503}
logs=${LOGS:-logs}
mkdir -p "$logs"

names=(); slots=()
while read -r name rest; do
    names+=("$name")
    if [[ "$rest" =~ slots=([0-9]+) ]]; then slots+=("${BASH_REMATCH[1]}"); else slots+=(1); fi
done < <(sed 's/#.*//' "$hostfile" | awk 'NF')
[ ${#names[@]} -ge 1 ] || { echo "$hostfile: names no host" >&2; exit 2; }
for count in "${slots[@]}"; do
    [ "$count" = "${slots[0]}" ] || { echo "$hostfile: all hosts must have as many slots" >&2; exit 2; }
done

pids=()
trap 'kill "${pids[@]}" 2>/dev/null || true' EXIT
for i in "${!names[@]}"; do
    # torchrun's own store keeps addresses of processes that have died; those started again would
    # wait for them for ever.
    command=$(printf '%q ' env "OMP_NUM_THREADS=${OMP_NUM_THREADS:-1}" \
        TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1 "$torchrun" \
        --nnodes "${#names[@]}" --nproc-per-node "${slots[$i]}" \
        --rdzv-id "${RUN_ID:-ark-asr}" --rdzv-backend c10d --rdzv-endpoint "${names[0]}:$port" \
        --max-restarts 3 -m -- ark_asr.training "$@" --resume)
    ${SSH:-ssh -o BatchMode=yes} "${names[$i]}" "cd $(printf '%q' "$PWD") && $command" \
        > "$logs/host-$i.log" 2>&1 &
    pids+=($!)
done
failed=0
for _ in "${pids[@]}"; do
    wait -n "${pids[@]}" || { failed=1; break; }
done
[ "$failed" = 0 ] || echo "a host failed; see $logs/" >&2
exit "$failed"
