"""The flow: speech codes and a voice prompt to log-mel. An encoder with relative attention, then a DiT that solves ten Euler steps."""
import math

import torch
import torch.nn as nn
import torch.nn.functional as F

from sizes import CODES

STEPS = [1 - math.cos(k / 10 * math.pi / 2) for k in range(11)]
HEAD = 64


def split(x, heads):
    return x.unflatten(-1, (heads, HEAD)).transpose(1, 2)


class Embed(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.out = nn.Sequential(nn.Linear(width, width), nn.LayerNorm(width))

    def forward(self, x):
        return self.out(x) * math.sqrt(x.shape[-1])


class LookAhead(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.conv1, self.conv2 = nn.Conv1d(width, width, 4), nn.Conv1d(width, width, 3)

    def forward(self, x, valid):
        """valid [B, T, 1]: rows beyond the end are zero to both convolutions."""
        y = F.leaky_relu(self.conv1(F.pad((x * valid).transpose(1, 2), (0, 3))), 0.01)
        return x + self.conv2(F.pad(y, (2, 0))).transpose(1, 2)


def positions(count, width):
    """[2 count - 1, width]: sine and cosine by turns for the distances count - 1 down to 1 - count."""
    distance = torch.arange(count - 1, -count, -1)[:, None]
    angle = distance * 10000.0 ** (-torch.arange(0, width, 2) / width)
    return torch.stack([angle.sin(), angle.cos()], -1).flatten(1)


class RelativeAttention(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.heads = heads
        self.linear_q, self.linear_k, self.linear_v, self.linear_out = (nn.Linear(width, width) for _ in range(4))
        self.linear_pos = nn.Linear(width, width, bias=False)
        self.pos_bias_u, self.pos_bias_v = (nn.Parameter(torch.zeros(heads, HEAD)) for _ in range(2))

    def forward(self, x, table, allowed):
        q = self.linear_q(x).unflatten(-1, (self.heads, HEAD))
        p = split(self.linear_pos(table)[None], self.heads)
        far = (q + self.pos_bias_v).transpose(1, 2) @ p.transpose(2, 3)                  # [B, heads, T, 2 T - 1]
        count = x.shape[1]
        index = (count - 1 - torch.arange(count)[:, None]) + torch.arange(count)[None]   # distance i - j is row T - 1 - (i - j)
        far = far.gather(3, index.expand(*far.shape[:2], -1, -1))
        bias = (far / math.sqrt(HEAD)).masked_fill(~allowed[:, None], float("-inf"))
        q = (q + self.pos_bias_u).transpose(1, 2)
        k, v = split(self.linear_k(x), self.heads), split(self.linear_v(x), self.heads)
        found = F.scaled_dot_product_attention(q.to(v.dtype), k, v, attn_mask=bias.to(v.dtype))
        return self.linear_out(found.transpose(1, 2).flatten(2))


class FeedForward(nn.Module):
    def __init__(self, width, ffn):
        super().__init__()
        self.w_1, self.w_2 = nn.Linear(width, ffn), nn.Linear(ffn, width)

    def forward(self, x):
        return self.w_2(F.silu(self.w_1(x)))


class EncoderLayer(nn.Module):
    def __init__(self, width, heads, ffn):
        super().__init__()
        self.self_attn, self.feed_forward = RelativeAttention(width, heads), FeedForward(width, ffn)
        self.norm_mha, self.norm_ff = nn.LayerNorm(width, eps=1e-12), nn.LayerNorm(width, eps=1e-12)

    def forward(self, x, table, allowed):
        x = x + self.self_attn(self.norm_mha(x), table, allowed)
        return x + self.feed_forward(self.norm_ff(x))


class UpSample(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.conv = nn.Conv1d(width, width, 5)

    def forward(self, x):
        return self.conv(F.pad(x.repeat_interleave(2, 1).transpose(1, 2), (4, 0))).transpose(1, 2)


class FlowEncoder(nn.Module):
    def __init__(self, width, heads, ffn, layers, up_layers):
        super().__init__()
        self.embed, self.up_embed, self.after_norm = Embed(width), Embed(width), nn.LayerNorm(width)
        self.pre_lookahead_layer, self.up_layer = LookAhead(width), UpSample(width)
        self.encoders = nn.ModuleList(EncoderLayer(width, heads, ffn) for _ in range(layers))
        self.up_encoders = nn.ModuleList(EncoderLayer(width, heads, ffn) for _ in range(up_layers))

    def forward(self, x, length, allowed):
        """[B, L, width], [B], allowed [B, L, L] pairs of query and key -> [B, 2 L, width], the pairs at twice the rate"""
        valid = (torch.arange(x.shape[1]) < length[:, None])[..., None]
        allowed = allowed & valid.transpose(1, 2)
        x = self.pre_lookahead_layer(self.embed(x), valid)
        table = positions(x.shape[1], x.shape[2])
        for layer in self.encoders:
            x = layer(x, table, allowed)
        x = self.up_embed(self.up_layer(x))
        table, allowed = positions(x.shape[1], x.shape[2]), allowed.repeat_interleave(2, 1).repeat_interleave(2, 2)
        for layer in self.up_encoders:
            x = layer(x, table, allowed)
        return self.after_norm(x), allowed


class TimeEmbedder(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.mlp = nn.Sequential(nn.Linear(256, width), nn.SiLU(), nn.Linear(width, width))

    def forward(self, t):
        angle = 1000 * t[:, None] * torch.exp(-math.log(10000) * torch.arange(128) / 128)
        return self.mlp(torch.cat([angle.cos(), angle.sin()], 1))


class DitAttention(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.heads = heads
        self.to_q, self.to_k, self.to_v, self.proj = (nn.Linear(width, width) for _ in range(4))
        self.q_norm, self.k_norm = nn.LayerNorm(HEAD), nn.LayerNorm(HEAD)

    def forward(self, x, allowed):
        q, k, v = (split(to(x), self.heads) for to in (self.to_q, self.to_k, self.to_v))
        found = F.scaled_dot_product_attention(self.q_norm(q).to(v.dtype), self.k_norm(k).to(v.dtype), v, attn_mask=allowed[:, None])
        return self.proj(found.transpose(1, 2).flatten(2))


class DitMlp(nn.Module):
    def __init__(self, width, ffn):
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(width, ffn), nn.Linear(ffn, width)

    def forward(self, x):
        return self.fc2(F.gelu(self.fc1(x), approximate="tanh"))


class Turn(nn.Module):
    def forward(self, x):
        return x.transpose(1, 2)


class DitConv(nn.Module):
    """Two causal convolutions; the places of the parameters in the sequence are those of the release."""

    def __init__(self, width):
        super().__init__()
        self.block = nn.Sequential(Turn(), nn.Conv1d(width, width, 3), Turn(), nn.LayerNorm(width), nn.Mish(), Turn(),
                                   nn.Conv1d(width, width, 3), Turn())

    def forward(self, x):
        for part in self.block:
            x = part(F.pad(x, (2, 0))) if isinstance(part, nn.Conv1d) else part(x)
        return x


def modulated(x, shift, scale):
    return F.layer_norm(x, x.shape[-1:], eps=1e-6) * (1 + scale[:, None]) + shift[:, None]


class DitBlock(nn.Module):
    def __init__(self, width, heads, ffn):
        super().__init__()
        self.attn, self.mlp, self.conv = DitAttention(width, heads), DitMlp(width, ffn), DitConv(width)
        self.adaLN_modulation = nn.Sequential(nn.SiLU(), nn.Linear(width, 9 * width))

    def forward(self, x, time, allowed):
        attn, mlp, conv = (part.chunk(3, 1) for part in self.adaLN_modulation(time).chunk(3, 1))
        x = x + attn[2][:, None] * self.attn(modulated(x, *attn[:2]), allowed)
        x = x + conv[2][:, None] * self.conv(modulated(x, *conv[:2]))
        return x + mlp[2][:, None] * self.mlp(modulated(x, *mlp[:2]))


class FinalLayer(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.linear, self.adaLN_modulation = nn.Linear(width, 80), nn.Sequential(nn.SiLU(), nn.Linear(width, 2 * width))

    def forward(self, x, time):
        return self.linear(modulated(x, *self.adaLN_modulation(time).chunk(2, 1)))


class Dit(nn.Module):
    def __init__(self, width, heads, ffn, blocks):
        super().__init__()
        self.t_embedder, self.in_proj = TimeEmbedder(width), nn.Linear(320, width)
        self.blocks = nn.ModuleList(DitBlock(width, heads, ffn) for _ in range(blocks))
        self.final_layer = FinalLayer(width)
        for block in [*self.blocks, self.final_layer]:                    # every block begins as nothing
            nn.init.zeros_(block.adaLN_modulation[1].weight)
            nn.init.zeros_(block.adaLN_modulation[1].bias)
        nn.init.zeros_(self.final_layer.linear.weight)

    def forward(self, x, mu, speaker, cond, t, allowed):
        """[B, T, 80] three times, speaker [B, 80], t [B], allowed [B, T, T] -> the speed [B, T, 80]"""
        time = self.t_embedder(t)
        h = self.in_proj(torch.cat([x, mu, speaker[:, None].expand_as(x), cond], 2))
        for block in self.blocks:
            h = block(h, time, allowed)
        return self.final_layer(h, time)


class Flow(nn.Module):
    def __init__(self, width, heads, ffn, layers, up_layers, dit_width, dit_heads, dit_ffn, dit_blocks, guidance):
        super().__init__()
        self.guidance = guidance
        self.input_embedding, self.encoder_proj = nn.Embedding(CODES, width), nn.Linear(width, 80)
        self.spk_embed_affine_layer = nn.Linear(192, 80)
        self.encoder = FlowEncoder(width, heads, ffn, layers, up_layers)
        self.decoder = nn.Module()
        self.decoder.estimator = Dit(dit_width, dit_heads, dit_ffn, dit_blocks)

    def encode(self, codes, length, allowed):
        """mu [B, 2 L, 80] and the pairs of frames that see each other"""
        x, allowed = self.encoder(self.input_embedding(codes), length, allowed)
        return self.encoder_proj(x), allowed

    def speaker(self, vector):
        return self.spk_embed_affine_layer(F.normalize(vector, dim=1))

    @torch.no_grad()
    def forward(self, codes, prompt_codes, prompt_mel, vector, noise):
        """Offline: codes [N], prompt [Np] and [2 Np, 80], speaker vector [192], noise [80, 2 (Np + N)] -> [80, 2 N]"""
        every = torch.cat([prompt_codes, codes])[None]
        count = every.shape[1]
        mu, allowed = self.encode(every, torch.tensor([count]), torch.ones(1, count, count, dtype=torch.bool))
        cond = torch.zeros_like(mu)
        cond[0, :len(prompt_mel)] = prompt_mel
        given = [torch.cat([x, torch.zeros_like(x)]) for x in (mu, self.speaker(vector[None]), cond)]
        x, allowed = noise.T[None], allowed.expand(2, -1, -1)
        for now, then in zip(STEPS, STEPS[1:]):
            with_, without = self.decoder.estimator(x.expand(2, -1, -1), *given, torch.full((2,), now), allowed)
            x = x + (then - now) * ((1 + self.guidance) * with_ - self.guidance * without)
        return x[0, len(prompt_mel):].T
