"""HiFT: log-mel to a wave at 24 kHz. F0 drives a source of harmonics and noise; a convolution stack shapes it into a spectrum."""
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.nn.utils.parametrizations import weight_norm

HOP, HARMONICS, RATE = 480, 9, 24000
UPS = ((8, 16, 4), (5, 11, 3), (3, 7, 2))                       # stride, kernel, padding
DOWNS = ((15, 30, 7), (3, 6, 1), (1, 1, 0))
KERNELS, SOURCE_KERNELS, DILATIONS = (3, 7, 11), (7, 7, 11), (1, 3, 5)


class Snake(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.alpha = nn.Parameter(torch.ones(channels))

    def forward(self, x):
        alpha = self.alpha[:, None]
        return x + torch.sin(alpha * x) ** 2 / (alpha + 1e-9)


def conv(channels, kernel, dilation=1):
    made = nn.Conv1d(channels, channels, kernel, dilation=dilation, padding=dilation * (kernel - 1) // 2)
    nn.init.normal_(made.weight, 0, 0.01)
    return weight_norm(made)


class ResBlock(nn.Module):
    def __init__(self, channels, kernel):
        super().__init__()
        self.convs1 = nn.ModuleList(conv(channels, kernel, d) for d in DILATIONS)
        self.convs2 = nn.ModuleList(conv(channels, kernel) for _ in DILATIONS)
        self.activations1 = nn.ModuleList(Snake(channels) for _ in DILATIONS)
        self.activations2 = nn.ModuleList(Snake(channels) for _ in DILATIONS)

    def forward(self, x):
        for a, one, b, two in zip(self.activations1, self.convs1, self.activations2, self.convs2):
            x = x + two(b(one(a(x))))
        return x


class F0Predictor(nn.Module):
    def __init__(self, channels):
        super().__init__()
        layers = []
        for k in range(5):
            layers += [weight_norm(nn.Conv1d(80 if k == 0 else channels, channels, 3, padding=1)), nn.ELU()]
        self.condnet = nn.Sequential(*layers)
        self.classifier = nn.Linear(channels, 1)
        self.classifier.bias.data.fill_(100.0)
        self.classifier.weight.data.mul_(50.0)

    def forward(self, mel):
        return self.classifier(self.condnet(mel).transpose(1, 2))[..., 0].abs()


class Source(nn.Module):
    def __init__(self):
        super().__init__()
        self.l_linear = nn.Linear(HARMONICS, 1)

    def waves(self, f0, noise=None):
        """[B, samples, 9] from F0 [B, frames]. noise: standard normal of that shape, drawn here if None."""
        count = HOP * f0.shape[1]
        step = (f0.double()[..., None] * torch.arange(1, HARMONICS + 1) / RATE) % 1.0
        turns = HOP * step.cumsum(1)
        at = ((torch.arange(count, dtype=torch.float64) + 0.5) / HOP - 0.5).clamp(min=0)
        before = at.long()
        after = (before + 1).clamp(max=f0.shape[1] - 1)
        part = (at - before)[:, None]
        turns = (1 - part) * turns[:, before] + part * turns[:, after]
        sines = 0.1 * torch.sin(2 * torch.pi * (turns % 1.0)).float()
        voiced = (f0.repeat_interleave(HOP, 1)[..., None] > 10).float()
        noise = torch.randn_like(sines) if noise is None else noise
        return sines * voiced + (voiced * 0.003 + (1 - voiced) * 0.1 / 3) * noise

    def forward(self, f0, noise=None):
        with torch.no_grad():
            waves = self.waves(f0, noise)
        return torch.tanh(self.l_linear(waves))[..., 0]


class Vocoder(nn.Module):
    def __init__(self, channels, f0_channels):
        super().__init__()
        self.f0_predictor, self.m_source = F0Predictor(f0_channels), Source()
        self.conv_pre = weight_norm(nn.Conv1d(80, channels, 7, padding=3))
        width = [channels >> k for k in range(4)]
        self.ups = nn.ModuleList(weight_norm(nn.ConvTranspose1d(width[k], width[k + 1], kernel, stride, padding))
                                 for k, (stride, kernel, padding) in enumerate(UPS))
        self.source_downs = nn.ModuleList(nn.Conv1d(18, width[k + 1], kernel, stride, padding)
                                          for k, (stride, kernel, padding) in enumerate(DOWNS))
        self.source_resblocks = nn.ModuleList(ResBlock(width[k + 1], kernel) for k, kernel in enumerate(SOURCE_KERNELS))
        self.resblocks = nn.ModuleList(ResBlock(width[k + 1], kernel) for k in range(3) for kernel in KERNELS)
        self.conv_post = weight_norm(nn.Conv1d(width[3], 18, 7, padding=3))
        self.register_buffer("window", torch.hann_window(16), persistent=False)

    def decode(self, mel, source):
        """[B, 80, T], [B, 480 T] -> [B, 480 T], not yet clipped."""
        spectrum = torch.stft(source, 16, 4, window=self.window, return_complex=True)
        driven = torch.cat([spectrum.real, spectrum.imag], 1)
        x = self.conv_pre(mel)
        for k, up in enumerate(self.ups):
            x = up(F.leaky_relu(x, 0.1))
            if k == 2:
                x = F.pad(x, (1, 0), mode="reflect")
            x = x + self.source_resblocks[k](self.source_downs[k](driven))
            x = sum(block(x) for block in self.resblocks[3 * k:3 * k + 3]) / 3
        z = self.conv_post(F.leaky_relu(x, 0.01))
        size, phase = z[:, :9].exp().clamp(max=100), torch.sin(z[:, 9:])
        return torch.istft(torch.complex(size * phase.cos(), size * phase.sin()), 16, 4, window=self.window)

    @torch.no_grad()
    def forward(self, mel, noise=None):
        """As at run time: [80, T] -> [480 T]."""
        mel = mel[None].float()
        return self.decode(mel, self.m_source(self.f0_predictor(mel), noise))[0].clamp(-0.99, 0.99)
