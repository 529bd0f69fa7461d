#!/usr/bin/env bash
# The voice in the box on a GPU: speech by Kokoro, and a model trained on it while it is made.
#
#     bash benchmarks/voice/run.sh OUT SECONDS PACK…      PACK…: folders with sentences.npz, kokoro-*.npz.xz and real.npz
#
# OUT gets at most eight files, none above 16 MiB: weights (ar-0, ar-1, nar-0, nar-1), log.txt, speak.txt and samples.tar. The
# machine needs torch for CUDA, numpy, safetensors; voxbeam is imported from this clone. It ends after SECONDS, of which the last
# fifteen are for saving. Exit status 0 if weights were saved.
set -uo pipefail
cd "$(dirname "$0")/../.." || exit 2
out=$1 seconds=$2
shift 2
mkdir -p "$out"
out=$(realpath "$out")
work=$(mktemp -d)
rounds=${ROUNDS:-/tmp/voice-rounds} # speech of an earlier run on the same machine is used again
mkdir -p "$work/pack" "$work/import" "$rounds"
rm -f "$rounds/done"
for folder in "$@"; do
  for file in "$folder"/*; do ln -sf "$(realpath "$file")" "$work/pack/"; done
done
ln -s "$PWD" "$work/import/voxbeam"
ln -s "$PWD/benchmarks" "$work/import/benchmarks"
export PYTHONPATH=$work/import PYTHONUNBUFFERED=1 OMP_NUM_THREADS=4 TORCHINDUCTOR_CACHE_DIR=/tmp/voice-inductor
export PYTORCH_CUDA_ALLOC_CONF=expandable_segments:True
python=${PYTHON:-python3}
cd "$work" || exit 2 # the clone's folders have common names

speech() {
  local limit=${SPEAK_SECONDS:-$((seconds * 45 / 100))}
  timeout "$seconds" "$python" -P -m benchmarks.voice.speak "$work/pack" "$rounds" --seconds "$limit" ${SPEAK_OPTIONS:-} && return
  [[ $SECONDS -gt $((seconds / 2)) ]] ||
    timeout "$seconds" "$python" -P -m benchmarks.voice.speak "$work/pack" "$rounds" --seconds "$limit" ${SPEAK_OPTIONS:-} --safe
}
(cd "$work" && speech 2>&1 | tee "$work/speak.txt") &
speaker=$!
timeout $((seconds + 20)) "$python" -P -m benchmarks.voice.learn "$work/pack" "$rounds" "$out" --seconds $((seconds - 22)) ${LEARN_OPTIONS:-} 2>"$work/errors.txt"
tail -c 6000 "$work/errors.txt" >&2
pkill -P "$speaker" 2>/dev/null
{
  tail -c 20000 "$work/speak.txt"
  tail -c 6000 "$work/errors.txt"
} >"$out/speak.txt"
ls -l "$out" "$rounds"
[[ -s $out/ar-0.safetensors && -s $out/nar-1.safetensors ]]
