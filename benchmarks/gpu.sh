#!/usr/bin/env bash
# Prove and time every path of a GPU, in nine minutes: bash benchmarks/gpu.sh [OUT]
# PYTHON names the interpreter, python3 otherwise. Wheels in the folder wheels/ are installed first, for a machine
# without a network. A second call goes on where the first one stopped. The figures are left in OUT/gpu.json.
set -euo pipefail
cd "$(dirname "$0")/.."
out=${1:-runs/gpu}
python=${PYTHON:-python3}
mkdir -p "$out"
if [ -d wheels ]; then
    "$python" -m pip install --quiet --no-index --no-deps wheels/*.whl
fi
export PYTHONPATH="$PWD"
exec timeout 560 "$python" -m benchmarks.gpu --out "$out" --seconds "${SECONDS_LIMIT:-530}"
