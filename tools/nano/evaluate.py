"""What an exported model can do, through the engine: python evaluate.py SA2 MODEL [COUNT]

On COUNT test recordings of known and of unheard voices each: word error of transcripts, right answers in text, greedy and sampled, and,
in each output voice, offline and streamed, what the judge understands of the spoken answers beside what it understands of espeak-ng's own.
Fails where a figure is further from README.md's than chance takes it on 40 recordings.
"""
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import soundfile
import torch

import judge
import speech
import training
from sizes import CODE0, CODE_PAD, WORK

VOICES = ("anna", "ben", "cora")
GREEDY = ("--temperature", 0)
MOST_ERROR, LEAST_RIGHT, LEAST_UNDERSTOOD = 0.04, 0.85, 0.7   # the last as a share of what the judge understands of espeak-ng
SAMPLED = ("--temperature", 0.7, "--top-p", 0.9, "--repetition-penalty", 1.05, "--seed", 1)


def sa2(program, command, model, *arguments):
    done = subprocess.run([program, command, "-m", model, *map(str, arguments)], check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                          text=True)
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]


def heard(program, model, items, files):
    found = sa2(program, "transcribe", model, "--json", *files)
    return judge.error_rate([(item["question"], answer["text"].strip() or "-") for item, answer in zip(items, found)])


def answered(program, model, items, files, decoding):
    right = 0
    for item, file in zip(items, files):
        answer, = sa2(program, "chat", model, "--audio", file, "--json", *decoding)
        right += answer["text"].strip() == item["answer"]
    return right / len(items)


def spoken_codes(program, model, files):
    """The speech codes of every answer, as text files of numbers."""
    for file in files:
        answer, = sa2(program, "chat", model, "--audio", file, "--speak", "--json", *GREEDY)
        codes = [i - CODE0 for i in answer["ids"] if CODE0 <= i < CODE_PAD]
        file.with_suffix(".txt").write_text(" ".join(map(str, codes)))


def understood(program, model, listener, items, files, voice, streamed):
    """The share of words that the judge understands of the engine's spoken answers."""
    pairs = []
    for item, file in zip(items, files):
        codes, out = file.with_suffix(".txt"), file.with_suffix(".reply.wav")
        if not codes.read_text():
            pairs.append((item["answer"], "-"))
            continue
        sa2(program, "vocode", model, "--voice", Path(model) / "assets" / f"{VOICES[voice]}.wav", "-o", out, codes, *["--stream"] * streamed)
        wave, rate = soundfile.read(out, dtype="float32")
        pairs.append((item["answer"], listener.hear(torch.from_numpy(wave), rate)))
    return 1 - judge.error_rate(pairs)


def understood_of_espeak(listener, items, voice):
    return 1 - judge.error_rate([(i["answer"], listener.hear(speech.espeak(i["answer"], *speech.OUTPUT_VOICES[voice]), 22050)) for i in items])


def judged(program, model, listener, split, count):
    """The figures of one split, logged; whether they are within the limits."""
    items = [i for i in training.load("inputs.pt") if i["split"] == split][:count]
    folder = Path(tempfile.mkdtemp(dir=WORK))
    files = []
    for k, item in enumerate(items):
        files.append(folder / f"{k}.wav")
        soundfile.write(files[-1], item["wave"].numpy(), 16000)
    error = heard(program, model, items, files)
    right = [answered(program, model, items, files, decoding) for decoding in (GREEDY, SAMPLED)]
    training.log("evaluate", f"{split}: {len(items)} recordings, word error {error:.3f}, "
                 f"right answers in text {right[0]:.3f} greedy, {right[1]:.3f} sampled")
    good = error <= MOST_ERROR and min(right) >= LEAST_RIGHT
    spoken_codes(program, model, files)
    for voice, name in enumerate(VOICES):
        offline, streamed = (understood(program, model, listener, items, files, voice, how) for how in (False, True))
        by_espeak = understood_of_espeak(listener, items, voice)
        training.log("evaluate", f"{split}, {name}: of the words of the right answers the judge understands {offline:.3f} offline, "
                     f"{streamed:.3f} streamed, {by_espeak:.3f} said by espeak-ng")
        good = good and min(offline, streamed) >= LEAST_UNDERSTOOD * by_espeak
    return good


def main(program, model, count):
    listener = judge.Judge()
    return all([judged(program, model, listener, split, count) for split in ("test", "test_voice")])


if __name__ == "__main__":
    sys.exit(0 if main(sys.argv[1], sys.argv[2], int(sys.argv[3]) if len(sys.argv) > 3 else 100) else "a figure is out of its limits")
