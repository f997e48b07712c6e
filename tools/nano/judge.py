"""An independent listener: pocketsphinx with its own English acoustic model and a bigram of the domain's words."""
import math
import random
import tempfile
from collections import Counter
from pathlib import Path

import torch
import torchaudio.functional as audio
from pocketsphinx import Decoder, get_model_path

import domain


def write_bigram(path, texts, words):
    """ARPA: absolute discounting by a half, backed by word counts plus one."""
    one, two = Counter(), Counter()
    for text in texts:
        sequence = ["<s>", *text.split(), "</s>"]
        one.update(sequence)
        two.update(zip(sequence, sequence[1:]))
    total = sum(one[w] + 1 for w in words) + one["</s>"]
    followers, mass = Counter(a for a, _ in two), Counter()
    for (a, _), n in two.items():
        mass[a] += n
    alone = {w: (one[w] + 1) / total for w in words} | {"</s>": one["</s>"] / total, "<s>": 1e-9}
    with open(path, "w") as file:
        file.write(f"\\data\\\nngram 1={len(alone)}\nngram 2={len(two)}\n\n\\1-grams:\n")
        for word, p in sorted(alone.items()):
            back = 0.5 * followers[word] / mass[word] if mass[word] else 1.0
            file.write(f"{math.log10(p):.5f} {word} {math.log10(back):.5f}\n")
        file.write("\n\\2-grams:\n")
        for (a, b), n in sorted(two.items()):
            p = (n - 0.5) / mass[a] + 0.5 * followers[a] / mass[a] * alone[b]
            file.write(f"{math.log10(p):.5f} {a} {b}\n")
        file.write("\n\\end\\\n")


def errors(said, heard):
    """Word errors of a transcript: the least number of words to change, add and leave out."""
    a, b = said.split(), heard.split()
    row = list(range(len(b) + 1))
    for i, x in enumerate(a, 1):
        last, row[0] = row[0], i
        for j, y in enumerate(b, 1):
            last, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, last + (x != y))
    return row[-1]


def error_rate(pairs):
    """Of pairs (said, heard)."""
    return sum(errors(said, heard) for said, heard in pairs) / sum(len(said.split()) for said, _ in pairs)


class Judge:
    def __init__(self):
        rng, path = random.Random(3), Path(tempfile.mkdtemp()) / "bigram.arpa"
        fixed, repeated = domain.answers(rng, 3000)
        write_bigram(path, fixed * 2 + repeated, domain.vocabulary())
        self.decoder = Decoder(lm=str(path), hmm=get_model_path("en-us/en-us"), dict=get_model_path("en-us/cmudict-en-us.dict"),
                               loglevel="FATAL", samprate=16000)

    def hear(self, wave, rate=24000):
        x = audio.resample(wave.float(), rate, 16000)
        x = torch.nn.functional.pad(x / x.abs().max().clamp(min=1e-4) * 0.5, (3200, 3200))
        x = x + 2e-4 * torch.randn(len(x), generator=torch.Generator().manual_seed(0))
        self.decoder.start_utt()
        self.decoder.process_raw((x * 32767).short().numpy().tobytes(), full_utt=True)
        self.decoder.end_utt()
        found = self.decoder.hyp()
        return found.hypstr if found else ""
