#!/usr/bin/env bash
# Train only the retrained reference, on everything but the forget set: the result of exact unlearning.
#   bash bash/retrain.sh [CONFIG ...] [--jobs N] [--options run.df_size=N ...]     default: SALMU-mini
set -euo pipefail
exec bash "$(dirname "${BASH_SOURCE[0]}")/ori.sh" "$@" --references retrained
