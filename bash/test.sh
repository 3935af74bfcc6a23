#!/usr/bin/env bash
# The test suite (CPU, without the slow tests); further arguments go to pytest: bash bash/test.sh -k vlul
# Two processes share the work, file by file; TEST_PROCESSES=0 runs everything in one (for pytest --pdb).
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
bash bash/setup.sh
export OMP_WAIT_POLICY=passive GOMP_SPINCOUNT=0
exec .venv/bin/python -m pytest -n "${TEST_PROCESSES:-2}" --dist loadfile "$@"
