#!/usr/bin/env bash
# Installs the project into .venv, as bash/setup.sh does. With an argument, PyTorch comes from that pip index first.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

if [[ -n "${1:-}" ]]; then
    [[ -x .venv/bin/python ]] || "${PYTHON:-python3}" -m venv .venv
    .venv/bin/python -m pip install --quiet --disable-pip-version-check --index-url "$1" torch torchvision
fi
bash bash/setup.sh
