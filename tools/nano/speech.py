"""Sound: espeak-ng, the three mel front ends of the model (token by token as the engine computes them), and F0."""
import io
import subprocess

import numpy as np
import soundfile
import torch
import torchaudio.functional as audio

OUTPUT_VOICES = [("en-us+f2", 50, 150), ("en-us+m3", 45, 150), ("en-gb+f4", 60, 150)]      # voice, pitch, words a minute


def espeak(text, voice, pitch, speed):
    """Mono float32 at 22.05 kHz."""
    sound = subprocess.run(["espeak-ng", "-v", voice, "-p", str(pitch), "-s", str(speed), "--stdout", text],
                           capture_output=True, check=True).stdout
    samples, rate = soundfile.read(io.BytesIO(sound), dtype="float32")
    assert rate == 22050, rate
    return torch.from_numpy(samples)


def stored(samples):
    """Samples as they are kept, in 16 bits."""
    return (samples * 32767).round().short()


def floats(kept):
    return kept.float() / 32767


def phonemes(text):
    found = subprocess.run(["espeak-ng", "-v", "en-us", "-q", "-x", "--sep=_", text], capture_output=True, text=True, check=True).stdout
    pieces = (piece.strip("',%=") for piece in "_".join(found.split()).split("_"))
    return [piece for piece in pieces if piece]


def at_24k(samples):
    """A whole number of tokens (960 samples), with a little silence around."""
    y = torch.nn.functional.pad(audio.resample(samples, 22050, 24000), (960, 960))
    return torch.nn.functional.pad(y, (0, -len(y) % 960))


def slaney(rate, points, bands, top):
    """[bands, points / 2 + 1] triangles of equal area on the Slaney scale, from 0 Hz to top."""
    log_step = np.log(6.4) / 27
    to_mel = lambda f: np.where(f < 1000, f * 3 / 200, 15 + np.log(np.maximum(f, 1) / 1000) / log_step)
    to_hz = lambda m: np.where(m < 15, m * 200 / 3, 1000 * np.exp((m - 15) * log_step))
    edge = to_hz(np.linspace(0, to_mel(np.float64(top)), bands + 2))
    bins = np.arange(points // 2 + 1) * rate / points
    rise = (bins - edge[:-2, None]) / (edge[1:-1] - edge[:-2])[:, None]
    fall = (edge[2:, None] - bins) / (edge[2:] - edge[1:-1])[:, None]
    return torch.from_numpy(np.maximum(0, np.minimum(rise, fall)) * (2 / (edge[2:] - edge[:-2]))[:, None]).float()


HEARD, SPOKEN = slaney(16000, 400, 128, 8000), slaney(24000, 1920, 80, 8000)


def tokenizer_mel(wave16):
    """[128, M] at 100 Hz: what the speech tokenizer reads."""
    power = torch.stft(wave16, 400, 160, window=torch.hann_window(400), return_complex=True)[..., :-1].abs() ** 2
    mel = (HEARD @ power).clamp(min=1e-10).log10()
    return (torch.maximum(mel, mel.max() - 8) + 4) / 4


def encoder_mel(wave16):
    """[128, M + 2] or so at 100 Hz: what the audio encoder reads, the same with 479 zeros appended."""
    return tokenizer_mel(torch.nn.functional.pad(wave16, (0, 479)))


def prompt_mel(wave24):
    """[..., 80, T] at 50 Hz: what the flow makes and the vocoder reads. Differentiable."""
    x = torch.nn.functional.pad(wave24.reshape(-1, 1, wave24.shape[-1]), (720, 720), mode="reflect")[:, 0]
    spectrum = torch.stft(x, 1920, 480, window=torch.hann_window(1920), center=False, return_complex=True)
    magnitude = torch.sqrt(spectrum.real ** 2 + spectrum.imag ** 2 + 1e-9)
    return (SPOKEN @ magnitude).clamp(min=1e-5).log().reshape(*wave24.shape[:-1], 80, -1)


def fbank(wave16):
    """[frames, 80] of the speaker encoder: Kaldi's, without dither, its mean over time taken away."""
    frame = wave16.unfold(0, 400, 160)
    frame = frame - frame.mean(1, keepdim=True)
    frame = frame - 0.97 * torch.cat([frame[:, :1], frame[:, :-1]], 1)
    window = torch.hann_window(400, periodic=False) ** 0.85
    power = torch.fft.rfft(frame * window, 512).abs()[:, :256] ** 2
    mel = lambda f: 1127 * np.log1p(f / 700)
    low, step = mel(20), (mel(8000) - mel(20)) / 81
    place = (mel(np.arange(256) * 31.25)[None] - low) / step - np.arange(80)[:, None]
    bank = torch.from_numpy(np.maximum(0, np.minimum(place, 2 - place))).float()
    found = (power @ bank.T).clamp(min=1.1920929e-7).log()
    return found - found.mean(0)


def pitch(wave24, frames):
    """F0 in Hz, one a frame of 20 ms; 0 where there is no voice."""
    import pyworld
    x = wave24.double().numpy()
    f0, at = pyworld.dio(x, 24000, f0_floor=60, f0_ceil=500, frame_period=20.0)
    f0 = pyworld.stonemask(x, f0, at, 24000)
    return torch.from_numpy(np.pad(f0, (0, max(0, frames - len(f0))))[:frames].astype(np.float32))
