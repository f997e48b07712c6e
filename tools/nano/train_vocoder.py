"""Trains the vocoder on the output voices: python train_vocoder.py STEPS

Spectral losses only: log-mel at three resolutions, and short-time spectra at four. In training the source follows the F0 that was
measured (at run time the predicted one), and the output is not clipped: a clipped sample has no gradient.
"""
import sys

import torch
import torch.nn.functional as F

import speech
import training
from sizes import VOCODER
from vocoder import HOP, Vocoder

FRAMES, BATCH = 24, 8
RESOLUTIONS = ((256, 64), (512, 128), (1024, 256), (2048, 512))
WINDOWS = {points: torch.hann_window(points) for points, _ in RESOLUTIONS}
BANKS = {points: speech.slaney(24000, points, 80 if points > 512 else 40, 12000) for points in (512, 1024, 2048)}


def spectral_loss(made, wanted):
    total = 0.0
    for points, hop in RESOLUTIONS:
        a, b = (torch.stft(x, points, hop, window=WINDOWS[points], return_complex=True).abs().clamp(min=1e-5) for x in (made, wanted))
        total = total + 0.5 * torch.linalg.norm(b - a) / torch.linalg.norm(b) + 0.5 * F.l1_loss(a.log(), b.log())
        if points in BANKS:
            total = total + 3 * F.l1_loss(*((BANKS[points] @ x).clamp(min=1e-5).log() for x in (a, b)))
    return total / len(RESOLUTIONS)


def pieces(items, rng):
    rows = []
    for item in rng.sample(items, BATCH):
        at = rng.randrange(item["mel"].shape[1] - FRAMES)
        rows.append((item["mel"][:, at:at + FRAMES].float(), speech.floats(item["wave"][at * HOP:(at + FRAMES) * HOP]),
                     item["f0"][at:at + FRAMES]))
    return [torch.stack(column) for column in zip(*rows)]


def main(steps):
    items = [item for item in training.load("outputs.pt")[60:] if item["mel"].shape[1] > FRAMES]
    torch.manual_seed(1)
    vocoder = Vocoder(**VOCODER)
    run = training.Run("vocoder", vocoder, steps, 8e-4, betas=(0.9, 0.99), decay=0.0, average=0.999)
    for rng in run:
        mel, wave, f0 = pieces(items, rng)
        made = vocoder.decode(mel + 0.02 * torch.randn_like(mel), vocoder.m_source(f0))
        spectral, f0_loss = spectral_loss(made, wave), F.l1_loss(vocoder.f0_predictor(mel), f0)
        run.step(spectral + f0_loss / 50, spectral, f0_loss)


if __name__ == "__main__":
    main(int(sys.argv[1]))
