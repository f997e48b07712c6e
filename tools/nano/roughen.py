"""Makes a clean recording sound like one of somebody else's, in a room: pitch and resonances, level, silence around, a filter, an echo, noise. Drawn from
a generator."""
import torch
import torchaudio.functional as audio


def noise(rng, count):
    """White, or with less of its high part."""
    x = torch.randn(count)
    if rng.random() < 0.5:
        x = audio.lfilter(x, torch.tensor([1.0, -rng.uniform(0.5, 0.95)]), torch.tensor([0.3, 0.0]), clamp=False)
    return x / x.std()


def echo(x, rng):
    """A direct sound and a decaying tail of 40 to 150 ms."""
    count = rng.randrange(640, 2400)
    tail = torch.randn(count) * torch.exp(-torch.arange(count) * (5.0 / count)) * rng.uniform(0.02, 0.08)
    tail[0] = 1.0
    return audio.fftconvolve(x, tail)


def another_voice(x, rng):
    """Played up to a ninth faster or slower: pitch and resonances move with it."""
    return audio.resample(x, 36, rng.choice((32, 33, 34, 35, 37, 38, 39, 40)))


def roughen(x, rng):
    """16 kHz in and out."""
    if rng.random() < 0.5:
        x = another_voice(x, rng)
    x = torch.nn.functional.pad(x, (rng.randrange(400, 4000), rng.randrange(400, 3000)))
    if rng.random() < 0.25:
        x = echo(x, rng)
    if rng.random() < 0.3:
        x = audio.equalizer_biquad(x, 16000, rng.uniform(300, 5000), rng.uniform(-8, 8), 0.7)
    if rng.random() < 0.15:
        x = audio.lowpass_biquad(audio.highpass_biquad(x, 16000, 250.0), 16000, 3600.0)
    x = x * 10 ** rng.uniform(-0.7, 0.2)
    return (x + 10 ** rng.uniform(-4, -2.1) * noise(rng, len(x))).clamp(-1, 1)


def only_noise(rng):
    """What nobody can understand: silence, hiss, hum."""
    count = rng.randrange(8000, 40000)
    x = noise(rng, count) * 10 ** rng.uniform(-4, -0.8)
    if rng.random() < 0.3:
        x = x + rng.uniform(0.01, 0.3) * torch.sin(2 * torch.pi * rng.uniform(50, 2000) * torch.arange(count) / 16000)
    return x.clamp(-1, 1)
