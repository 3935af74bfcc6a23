#!/usr/bin/env bash
# Everything worth measuring on a GPU, the most useful first, in about eight minutes of an H200 and 16 CPUs:
#   bash benchmarks/gpu.sh                        JSON files in $OUT, or benchmarks/results if that is not set
#   bash benchmarks/gpu.sh --device cpu --tiny    proves the script without a GPU, in about two minutes
# Every part has its own time limit and writes each measurement when it is made: a part that is cut off keeps the others.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
python=${PYTHON:-$([[ -x .venv/bin/python ]] && echo .venv/bin/python || echo python3)}
out=${OUT:-benchmarks/results}
world=$(mktemp -d)
trap 'rm -rf "$world"' EXIT
mkdir -p "$out"
export PYTHONPATH="$PWD${PYTHONPATH:+:$PYTHONPATH}" PYTHONUNBUFFERED=1
options=("$@")
failed=0

part() { # name, seconds, script and its arguments
    local name=$1 seconds=$2 code=0 began=$SECONDS
    shift 2
    timeout --kill-after=5 "$seconds" "$python" "$@" "${options[@]}" --out "$out/gpu_$name.json" >"$world/$name.log" 2>&1 || code=$?
    printf '%-8s exit %3d after %3d s  (limit %d)\n' "$name" "$code" $((SECONDS - began)) "$seconds"
    if ((code)); then
        tail -n 15 "$world/$name.log"
        failed=1
    fi
}

# 8,192 pairs of Df: SALMU's 30,468 took more than three minutes where the host needed 80 ms per step
"$python" benchmarks/gpu_run.py --draw --rows 8192 --folder "$world/data" "${options[@]}" >"$world/draw.log" 2>&1 &
part tests 100 benchmarks/gpu_checks.py tests
wait $! || { cat "$world/draw.log"; failed=1; }
part sizes 80 benchmarks/gpu_step.py --part sizes
part methods 60 benchmarks/gpu_step.py --part methods
part ways 110 benchmarks/gpu_step.py --part ways
part nccl 40 benchmarks/gpu_checks.py nccl
part run 150 benchmarks/gpu_run.py --rows 8192 --folder "$world/data"
exit $failed
