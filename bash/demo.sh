#!/usr/bin/env bash
# The demo on SALMU-mini: set up, train the three references, unlearn with three methods, write the report, audit vlul.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
SECONDS=0
export OMP_WAIT_POLICY=passive GOMP_SPINCOUNT=0  # idle threads sleep instead of taking CPU time from other processes
report=output/report/index.html
audited=output/unlearn-vlul/clip/salmu_mini_retrieval/630

set_up=$([[ -x .venv/bin/python ]] && echo false || echo true)
bash bash/setup.sh
export PATH="$PWD/.venv/bin:$PATH"
bash bash/ori.sh
python bash/run.py

if [[ ! -f "$report" ]]; then
    echo "error: the sweep ended without a report at $report" >&2
    exit 1
fi
multidelete audit "$audited" --budget quick

commit=$(git rev-parse --short HEAD 2>/dev/null || echo unknown)
printf '{"command": "bash bash/demo.sh", "seconds": %d, "set_up": %s, "cpus": %d, "commit": "%s"}\n' \
    "$SECONDS" "$set_up" "$(nproc)" "$commit" > output/report/demo.json  # docs/results/demo.json is a copy of one
printf '\nReport: %s\nAudit:  %s\nDone in %d min %02d s.\n' "$PWD/$report" "$PWD/$audited/audit/audit.html" $((SECONDS / 60)) $((SECONDS % 60))
