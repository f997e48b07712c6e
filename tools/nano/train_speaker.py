"""Trains the speaker encoder to tell voices apart: python train_speaker.py STEPS. Its classifier is thrown away."""
import sys

import torch
import torch.nn as nn
import torch.nn.functional as F
import torchaudio.functional as audio

import speech
import training
from sizes import SPEAKER
from speaker import SpeakerEncoder

BATCH, FRAMES = 32, 100


def output_features(item):
    return speech.fbank(audio.resample(speech.floats(item["wave"]), 24000, 16000))


def voices():
    """{voice: [features [T, 80], ...]} of the output voices and of the input ones."""
    found = {}
    for item in training.load("outputs.pt")[:1200]:
        found.setdefault(item["voice"], []).append(output_features(item))
    for item in training.load("inputs.pt")[:3000]:
        if item["split"] == "train":
            found.setdefault(item["voice"], []).append(speech.fbank(speech.floats(item["wave"])))
    return {voice: [f for f in items if len(f) > FRAMES] for voice, items in found.items() if len(items) > 5}


def main(steps):
    torch.set_num_threads(1)
    items = list(voices().values())
    torch.manual_seed(4)
    both = nn.ModuleDict(dict(encoder=SpeakerEncoder(**SPEAKER), head=nn.Linear(192, len(items))))
    run = training.Run("speaker", both, steps, 1e-3, seed=4)
    for rng in run:
        labels = [rng.randrange(3) if rng.random() < 0.3 else rng.randrange(len(items)) for _ in range(BATCH)]
        rows = []
        for label in labels:
            chosen = rng.choice(items[label])
            at = rng.randrange(len(chosen) - FRAMES)
            rows.append(chosen[at:at + FRAMES])
        scores = both["head"](both["encoder"](torch.stack(rows)))
        wanted = torch.tensor(labels)
        loss = F.cross_entropy(scores, wanted)
        run.step(loss, loss, (scores.argmax(1) == wanted).float().mean())


def trained():
    encoder = SpeakerEncoder(**SPEAKER)
    encoder.load_state_dict(training.part("speaker", "encoder."))
    return encoder.eval()


if __name__ == "__main__":
    main(int(sys.argv[1]))
