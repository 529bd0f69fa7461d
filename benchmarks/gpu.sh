#!/usr/bin/env bash
# The one command of a run on a GPU: installs the wheels, sets the environment, measures everything in at most eight minutes.
#
#     bash benchmarks/gpu.sh OUT [WHEELS] [options of benchmarks/gpu.py]      WHEELS is .wheels by default
#
# Paths are relative to the clone. Every part has its own time limit, 450 seconds in all. A part that fails or is stopped keeps
# what it measured; the exit status is then 1. OUT gets at most eight files, none above 16 MiB.
#
# The machine needs Python 3.12, torch for CUDA, torchaudio, safetensors, pyarrow, tensorboard, tiktoken and numba, but no network,
# and voxbeam is not installed there. A part says what it lacks, if anything.
#
# The wheels (8 MB) are made beforehand, in the clone, where pip reaches an index. `encodec` and `openai-whisper` have no wheels on
# PyPI, so they are built:
#
#     python -m pip download --no-deps --only-binary=:all: --python-version 3.12 --implementation cp \
#         --platform manylinux_2_28_x86_64 --platform manylinux_2_17_x86_64 --platform manylinux2014_x86_64 \
#         -d .wheels obstore==0.12.1 soundfile==0.14.0 cffi pycparser more-itertools
#     python -m pip wheel --no-deps -w .wheels encodec==0.1.1 openai-whisper==20250625
#
# The part diarize also needs pyannote.audio==4.0.7 and what that imports (docs/gpu.md).
set -uo pipefail
cd "$(dirname "$0")/.." || exit 2

out=${1:?"usage: bash benchmarks/gpu.sh OUT [WHEELS] [options of benchmarks/gpu.py]"}
shift
wheels=.wheels
if [[ $# -gt 0 && $1 != -* ]]; then
  wheels=$1
  shift
fi

site=$(mktemp -d)
trap 'rm -rf "$site"' EXIT
if compgen -G "$wheels/*.whl" >/dev/null; then
  install=(python3 -m pip install --quiet --disable-pip-version-check --no-index --no-deps --no-compile --no-cache-dir --target "$site")
  if ! "${install[@]}" "$wheels"/*.whl; then
    rm -rf "${site:?}"/* # one by one, so that a wheel that does not fit does not stop the others
    for wheel in "$wheels"/*.whl; do
      "${install[@]}" "$wheel" || echo "not installed: $wheel; parts that need it say so"
    done
  fi
else
  echo "no wheels in $wheels; parts that need a missing package say so"
fi

# The wheels take precedence over what the machine has, so the folder should contain only what is missing there.
export PYTHONPATH=$site${PYTHONPATH:+:$PYTHONPATH} PYTHONUNBUFFERED=1
export HF_HUB_OFFLINE=1 TRANSFORMERS_OFFLINE=1 PYANNOTE_METRICS_ENABLED=false
export TOKENIZERS_PARALLELISM=false VOXBEAM_CACHE=$site/cache

python3 -P benchmarks/gpu.py --out "$out" "$@"
