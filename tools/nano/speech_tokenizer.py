"""The speech tokenizer: log-mel at 100 Hz to one of 6561 codes, 25 a second. Transformer with FSMN memory, then eight ternary digits."""
import torch
import torch.nn as nn
import torch.nn.functional as F

SCALE = 0.9990000128746033


def rotate(x):
    """Rotary positions of [B, heads, T, 64], halves paired, base 10000."""
    angle = torch.arange(x.shape[2])[:, None] * 10000.0 ** (-torch.arange(32) / 32)
    a, b = x[..., :32], x[..., 32:]
    return torch.cat([a * angle.cos() - b * angle.sin(), b * angle.cos() + a * angle.sin()], -1)


class Attention(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.heads = heads
        self.query, self.value, self.out = nn.Linear(width, width), nn.Linear(width, width), nn.Linear(width, width)
        self.key = nn.Linear(width, width, bias=False)
        self.fsmn_block = nn.Conv1d(width, width, 31, groups=width, bias=False)

    def forward(self, x, valid):
        """valid [B, T]: 1 where there is sound."""
        split = lambda y: y.unflatten(-1, (self.heads, 64)).transpose(1, 2)
        v = self.value(x)
        seen = (v * valid[..., None]).transpose(1, 2)
        memory = (self.fsmn_block(F.pad(seen, (15, 15))) + seen).transpose(1, 2)
        attended = F.scaled_dot_product_attention(rotate(split(self.query(x))), rotate(split(self.key(x))), split(v),
                                                  attn_mask=valid[:, None, None].bool())
        return self.out(attended.transpose(1, 2).flatten(2)) + memory


class Block(nn.Module):
    def __init__(self, width, heads, ffn):
        super().__init__()
        self.attn, self.attn_ln, self.mlp_ln = Attention(width, heads), nn.LayerNorm(width, eps=1e-6), nn.LayerNorm(width, eps=1e-5)
        self.mlp = nn.Sequential(nn.Linear(width, ffn), nn.GELU(), nn.Linear(ffn, width))

    def forward(self, x, valid):
        x = x + self.attn(self.attn_ln(x), valid)
        return x + self.mlp(self.mlp_ln(x))


class Encoder(nn.Module):
    def __init__(self, width, heads, ffn, blocks):
        super().__init__()
        self.conv1, self.conv2 = nn.Conv1d(128, width, 3, 2, 1), nn.Conv1d(width, width, 3, 2, 1)
        self.blocks = nn.ModuleList(Block(width, heads, ffn) for _ in range(blocks))

    def forward(self, mel, length):
        """[B, 128, M] whose rows beyond their length are 0 -> [B, N, width], [B] valid N."""
        half = (length + 1) // 2
        count = (half + 1) // 2
        x = F.gelu(self.conv1(mel))
        x = x * (torch.arange(x.shape[2]) < half[:, None])[:, None]
        x = F.gelu(self.conv2(x)).transpose(1, 2)
        valid = (torch.arange(x.shape[1]) < count[:, None]).float()
        for block in self.blocks:
            x = block(x, valid)
        return x, count


class SpeechTokenizer(nn.Module):
    def __init__(self, width, heads, ffn, blocks):
        super().__init__()
        self.encoder = Encoder(width, heads, ffn, blocks)
        self.quantizer = nn.Module()
        self.quantizer._codebook = nn.Module()
        self.quantizer._codebook.project_down = nn.Linear(width, 8)

    def squashed(self, mel, length):
        """Digits before rounding, in (-1, 1) [B, N, 8]; their valid count."""
        hidden, count = self.encoder(mel, length)
        return torch.tanh(self.quantizer._codebook.project_down(hidden)) * SCALE, count

    @torch.no_grad()
    def codes(self, mel):
        """[128, M] -> [N] codes."""
        digits, _ = self.squashed(mel[None].float(), torch.tensor([mel.shape[1]]))
        return ((digits[0].round() + 1) * 3.0 ** torch.arange(8)).sum(-1).long()

    @torch.no_grad()
    def spread(self, mel, length):
        """Makes the digits vary before training: else every code is the same one and nothing is learnt."""
        down = self.quantizer._codebook.project_down
        z = down(self.encoder(mel, length)[0]).reshape(-1, 8)
        down.weight /= z.std(0)[:, None]
        down.bias.copy_((down.bias - z.mean(0)) / z.std(0))
