#!/usr/bin/env bash
# Run the test suite on the CPU, without the slow tests. Arguments go to pytest: bash bash/test.sh -k vlul
# Two processes share the test files; TEST_PROCESSES=0 runs everything in one process (for pytest --pdb).
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
bash bash/setup.sh
export OMP_WAIT_POLICY=passive GOMP_SPINCOUNT=0  # idle threads sleep instead of taking CPU time from other processes
exec .venv/bin/python -m pytest -n "${TEST_PROCESSES:-2}" --dist loadfile "$@"
