"""Times of words by PocketSphinx, a recognizer of another family than those that are measured. Run by `benchmarks/peers.py`.

    python align_words.py FOLDER TRUTH.json OUT.ctm

TRUTH: turns with their texts; those with a word that is not in PocketSphinx's dictionary are left out.
"""

import json
import re
import sys
from pathlib import Path

import numpy as np
import soundfile as sf
from pocketsphinx import Decoder

FRAME_S = 0.01
SILENCE = ("<s>", "</s>", "<sil>", "[NOISE]", "[SPEECH]", "(NULL)")


def main() -> None:
    folder, truth, out = sys.argv[1:]
    decoder = Decoder(lm=None, loglevel="FATAL", samprate=16000)
    lines, failed = [], 0
    for name, turns in json.loads(Path(truth).read_text()).items():
        sound = sf.read(Path(folder, f"{name}.flac"), dtype="int16")[0]
        for _, start, end, text in (turn for turn in turns if len(turn) > 3 and turn[3]):
            words = re.findall(r"[a-z']+", text.lower().replace("-", " "))
            if not all(map(decoder.lookup_word, words)):
                failed += 1
                continue
            try:
                decoder.set_align_text(" ".join(words))
                decoder.start_utt()
                decoder.process_raw(
                    np.ascontiguousarray(sound[round(start * 16000) : round(end * 16000)]).tobytes(), full_utt=True
                )
                decoder.end_utt()
                found = [s for s in decoder.seg() if s.word not in SILENCE]
            except RuntimeError:
                found, failed = [], failed + 1
            for segment in found:
                first, length = start + segment.start_frame * FRAME_S, (segment.end_frame + 1 - segment.start_frame) * FRAME_S
                lines.append(f"{name} 1 {first:.3f} {length:.3f} {re.sub(r'[(][0-9]+[)]$', '', segment.word)}\n")
    Path(out).write_text("".join(lines))
    print(f"{len(lines)} words, {failed} turns not aligned", file=sys.stderr)


if __name__ == "__main__":
    main()
