#!/usr/bin/env bash
# Creates .venv in this checkout and installs the project into it. Asks nothing and changes nothing outside .venv.
# Does nothing if this pyproject.toml is already installed. PYTHON=/path/to/python3 selects the interpreter, TORCH_INDEX the
# pip index that PyTorch comes from (that of its CPU packages, say).
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

find_python() {
    local name
    for name in "${PYTHON:-}" python3.11 python3; do
        if [[ -n "$name" ]] && "$name" -c 'import sys, venv; sys.exit(sys.version_info < (3, 10))' 2>/dev/null; then
            echo "$name"
            return
        fi
    done
    echo "error: no Python 3.10 or newer (with venv) found; install one or set PYTHON=/path/to/python3" >&2
    exit 2
}

if [[ ! -x .venv/bin/python ]]; then
    python=$(find_python)
    echo "setup: creating .venv with $("$python" --version)"
    "$python" -m venv .venv
fi

stamp=.venv/.installed
want=$(.venv/bin/python -c 'import hashlib, os; print(hashlib.sha256(open("pyproject.toml", "rb").read()).hexdigest(), os.getcwd())')
if [[ -f "$stamp" && "$(cat "$stamp")" == "$want" ]]; then
    exit 0
fi
echo "setup: installing the project and its dependencies into .venv (once; a few minutes, PyTorch is large)"
if [[ -n "${TORCH_INDEX:-}" ]]; then
    .venv/bin/python -m pip install --quiet --disable-pip-version-check --index-url "$TORCH_INDEX" torch torchvision
fi
.venv/bin/python -m pip install --quiet --disable-pip-version-check --editable ".[dev]"
echo "$want" > "$stamp"
echo "setup: done"
