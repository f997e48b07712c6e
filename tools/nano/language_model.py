"""What hears and answers: audio encoder, adaptor, and a Qwen2 decoder over text, control and speech tokens.

Parameter names are those of the release's safetensors.
"""
import torch
import torch.nn as nn
import torch.nn.functional as F

from sizes import ADAPTOR, AUDIO_PATCH, DECODER, ENCODER


class EncoderAttention(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.heads = heads
        self.query, self.value, self.out = nn.Linear(width, width), nn.Linear(width, width), nn.Linear(width, width)
        self.key = nn.Linear(width, width, bias=False)

    def forward(self, x, keys):
        split = lambda y: y.unflatten(-1, (self.heads, -1)).transpose(1, 2)
        found = F.scaled_dot_product_attention(split(self.query(x)), split(self.key(x)), split(self.value(x)), attn_mask=keys[:, None, None])
        return self.out(found.transpose(1, 2).flatten(2))


class EncoderBlock(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.attn, self.attn_ln, self.mlp_ln = EncoderAttention(width, heads), nn.LayerNorm(width), nn.LayerNorm(width)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

    def forward(self, x, keys):
        x = x + self.attn(self.attn_ln(x), keys)
        return x + self.mlp(self.mlp_ln(x))


def inside(x, length):
    """1 for the rows of [B, T, ...] that are within the length."""
    return (torch.arange(x.shape[1]) < length[:, None])[..., None]


class AudioEncoder(nn.Module):
    """Every clip of a batch gives what it gives alone: what lies beyond its end is zero to every convolution and no key."""

    def __init__(self, mel, context, width, heads, blocks):
        super().__init__()
        self.conv1, self.conv2 = nn.Conv1d(mel, width, 3, 1, 1), nn.Conv1d(width, width, 3, 2, 1)
        self.positional_embedding = nn.Embedding(context, width)
        rate = torch.exp(-torch.arange(width // 2) * (9.21034 / (width // 2 - 1)))
        angle = torch.arange(context)[:, None] * rate
        self.positional_embedding.weight = nn.Parameter(torch.cat([angle.sin(), angle.cos()], 1), requires_grad=False)
        self.blocks = nn.ModuleList(EncoderBlock(width, heads) for _ in range(blocks))
        self.after_norm = nn.LayerNorm(width)

    def forward(self, mel, frames):
        """[B, mel, T], [B] frames -> [B, P, width] at 25 Hz, zero beyond its rows; [B] rows that are counted"""
        half = (frames + 1) // 2
        x = F.gelu(self.conv1(mel)).transpose(1, 2)
        x = F.gelu(self.conv2((x * inside(x, frames)).transpose(1, 2))).transpose(1, 2)
        x = x + self.positional_embedding.weight[:x.shape[1]]
        keys = inside(x, half - 1)[..., 0]                    # the last frame of a clip is never a key
        for block in self.blocks:
            x = block(x, keys)
        x = F.avg_pool1d(x.transpose(1, 2), 2).transpose(1, 2)
        return self.after_norm(x) * inside(x, half // 2), (half - 1) // 2


class Adaptor(nn.Module):
    def __init__(self, width, kernel, stride, inner, hidden):
        super().__init__()
        self.conv = nn.Conv1d(width, width, kernel, stride, padding=1)
        self.linear1, self.linear2 = nn.Linear(width, inner), nn.Linear(inner, hidden)

    def forward(self, x):
        x = F.gelu(self.conv(x.transpose(1, 2))).transpose(1, 2)
        return self.linear2(F.relu(self.linear1(x)))


class RmsNorm(nn.Module):
    def __init__(self, width, eps):
        super().__init__()
        self.weight, self.eps = nn.Parameter(torch.ones(width)), eps

    def forward(self, x):
        return F.rms_norm(x.float(), x.shape[-1:], self.weight, self.eps)


def rotate(x, first, base):
    """[B, heads, T, d] at positions first, first + 1, ..."""
    half = x.shape[-1] // 2
    angle = (first + torch.arange(x.shape[2]))[:, None] * base ** (-torch.arange(half) / half)
    a, b = x[..., :half], x[..., half:]
    return torch.cat([a * angle.cos() - b * angle.sin(), b * angle.cos() + a * angle.sin()], -1)


class SelfAttention(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.heads, self.kv_heads, self.base, dim = c["heads"], c["kv_heads"], c["rope_base"], c["hidden"] // c["heads"]
        self.q_proj = nn.Linear(c["hidden"], self.heads * dim)
        self.k_proj, self.v_proj = nn.Linear(c["hidden"], self.kv_heads * dim), nn.Linear(c["hidden"], self.kv_heads * dim)
        self.o_proj = nn.Linear(self.heads * dim, c["hidden"], bias=False)

    def forward(self, x, past):
        """past: [keys, values] of earlier positions, or None; the pair is returned longer"""
        split = lambda y, n: y.unflatten(-1, (n, -1)).transpose(1, 2)
        first = past[0].shape[2] if past else 0
        q, k = rotate(split(self.q_proj(x), self.heads), first, self.base), rotate(split(self.k_proj(x), self.kv_heads), first, self.base)
        v = split(self.v_proj(x), self.kv_heads)
        k, v = k.to(v.dtype), v
        if past:
            k, v = torch.cat([past[0], k], 2), torch.cat([past[1], v], 2)
        group = self.heads // self.kv_heads
        found = F.scaled_dot_product_attention(q.to(v.dtype), k.repeat_interleave(group, 1), v.repeat_interleave(group, 1), is_causal=not past)
        return self.o_proj(found.transpose(1, 2).flatten(2)), (k, v)


class Mlp(nn.Module):
    def __init__(self, hidden, ffn):
        super().__init__()
        self.gate_proj, self.up_proj = nn.Linear(hidden, ffn, bias=False), nn.Linear(hidden, ffn, bias=False)
        self.down_proj = nn.Linear(ffn, hidden, bias=False)

    def forward(self, x):
        return self.down_proj(F.silu(self.gate_proj(x)) * self.up_proj(x))


class Layer(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.self_attn, self.mlp = SelfAttention(c), Mlp(c["hidden"], c["ffn"])
        self.input_layernorm, self.post_attention_layernorm = (RmsNorm(c["hidden"], c["rms_eps"]) for _ in range(2))

    def forward(self, x, past):
        found, past = self.self_attn(self.input_layernorm(x), past)
        x = x + found
        return x + self.mlp(self.post_attention_layernorm(x)), past


class Decoder(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.embed_tokens = nn.Embedding(c["rows"], c["hidden"])
        self.embed_tokens.weight.data.normal_(0, 0.02)
        self.layers = nn.ModuleList(Layer(c) for _ in range(c["layers"]))
        self.norm = RmsNorm(c["hidden"], c["rms_eps"])

    def forward(self, x, past=None):
        kept = []
        for k, layer in enumerate(self.layers):
            x, pair = layer(x, past[k] if past else None)
            kept.append(pair)
        return self.norm(x), kept


class LanguageModel(nn.Module):
    def __init__(self):
        super().__init__()
        self.encoder = AudioEncoder(**ENCODER)
        self.adapter = Adaptor(ENCODER["width"], **ADAPTOR, hidden=DECODER["hidden"])
        self.model = Decoder(DECODER)
        self.lm_head = nn.Linear(DECODER["hidden"], DECODER["rows"], bias=False)
        self.lm_head.weight.data.normal_(0, 0.02)

    def hear(self, mels):
        """mels: [mel, T] each -> adaptor rows and how many count, encoder rows and how many count"""
        frames = torch.tensor([m.shape[1] for m in mels])
        batch = torch.zeros(len(mels), mels[0].shape[0], int(frames.max()))
        for row, mel in zip(batch, mels):
            row[:, :mel.shape[1]] = mel
        encoded, count = self.encoder(batch, frames)
        return self.adapter(encoded), (count + 1) // 2, encoded, count

    def embed(self, ids, heard):
        """[B, T] ids, their <audio_patch> replaced by the rows of heard, one [n, hidden] after the other."""
        x = self.model.embed_tokens(ids)
        if heard:
            x = x.masked_scatter((ids == AUDIO_PATCH)[..., None], torch.cat(heard).to(x.dtype))
        return x

    @torch.no_grad()
    def generate(self, ids, mels, stops, limit=200):
        """Greedy."""
        heard = []
        if mels:
            rows, counts, _, _ = self.hear(mels)
            heard = [r[:n] for r, n in zip(rows, counts)]
        x, past, out = self.embed(torch.tensor([ids]), heard), None, []
        while len(out) < limit:
            hidden, past = self.model(x, past)
            best = int(self.lm_head(hidden[0, -1]).argmax())
            if best in stops:
                break
            out.append(best)
            x = self.model.embed_tokens(torch.tensor([[best]]))
        return out
