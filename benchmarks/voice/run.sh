#!/usr/bin/env bash
# The voice in the box on a GPU: speech by Kokoro, and a model trained on it while it is made.
#
#     bash benchmarks/voice/run.sh OUT SECONDS PACK…
#
# PACK…: folders with sentences.npz, kokoro-*.npz.xz, real-*.npz and requests.npz, of which the last two may be absent.
# OUT gets at most eight files, none above 16 MiB: weights (ar-0, ar-1, nar-0, nar-1), log.txt, speak.txt and spoken.npz. The
# machine needs torch for CUDA, numpy, safetensors; voxbeam is imported from this clone. It ends after SECONDS, of which the last
# are for saving. Exit status 0 if weights were saved.
set -uo pipefail
cd "$(dirname "$0")/../.." || exit 2
out=$1 seconds=$2
shift 2
mkdir -p "$out"
out=$(realpath "$out")
work=$(mktemp -d)
rounds=${ROUNDS:-/tmp/voice-rounds} # speech of an earlier run on the same machine is used again
mkdir -p "$work/pack" "$work/import" "$rounds"
for folder in "$@"; do
  for file in "$folder"/*; do ln -sf "$(realpath "$file")" "$work/pack/"; done
done
ln -s "$PWD" "$work/import/voxbeam"
ln -s "$PWD/benchmarks" "$work/import/benchmarks"
export PYTHONPATH=$work/import PYTHONUNBUFFERED=1 OMP_NUM_THREADS=4 TORCHINDUCTOR_CACHE_DIR=/tmp/voice-inductor

python=${PYTHON:-python3}
cd "$work" || exit 2 # the clone's folders have common names

limit=${SPEAK_SECONDS:-$((seconds * 6 / 10))}
makers=${MAKERS:-2}
pids=()
for ((part = 0; part < makers; part++)); do
  PYTORCH_CUDA_ALLOC_CONF=expandable_segments:True timeout "$seconds" "$python" -P -m benchmarks.voice.speak "$work/pack" "$rounds" --seconds "$limit" \
    --part "$part/$makers" ${SPEAK_OPTIONS:-} >"$work/speak-$part.txt" 2>&1 &
  pids+=($!)
done
timeout $((seconds + 20)) "$python" -P -m benchmarks.voice.learn "$work/pack" "$rounds" "$out" --seconds $((seconds - 30)) \
  ${LEARN_OPTIONS:-} 2>"$work/errors.txt"
for pid in "${pids[@]}"; do pkill -P "$pid" 2>/dev/null; done
{
  tail -c 8000 "$work"/speak-*.txt
  tail -c 8000 "$work/errors.txt"
} | tee "$out/speak.txt" | tail -n 40
ls -l "$out" "$rounds"
[[ -s $out/ar-0.safetensors && -s $out/nar-1.safetensors ]]
