"""PyTorch (cuBLAS, its fused attention) at the shapes of `sa2 bench kernel --device cuda`, a JSON object a line.

Each run finds its inputs in no cache: a buffer of 256 MB is filled before it, outside of the time. Medians of 30.
"""
import json
import statistics

import torch

PRODUCTS = {  # name: weights, columns
    "gate_up": (37888, 3584), "down": (3584, 18944), "qkv": (4608, 3584), "out": (3584, 3584), "head": (158720, 3584),
}
ENCODER = {"encoder_qkv": (3840, 1280), "encoder_up": (5120, 1280), "encoder_down": (1280, 5120)}


def median_seconds(run, flush):
    times = []
    for turn in range(33):
        flush.zero_()
        start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        start.record()
        run()
        end.record()
        torch.cuda.synchronize()
        if turn >= 3:
            times.append(1e-3 * start.elapsed_time(end))
    return statistics.median(times)


def tell(name, seconds, size, unit):
    print(json.dumps({"bench": "torch", "case": name, "value": 1e-9 * size / seconds, "unit": unit, "p50": seconds}), flush=True)


def random(*shape):
    return torch.randn(*shape, device="cuda").to(torch.bfloat16)


def products(flush, shapes, rows):
    for name, (n, k) in shapes.items():
        w = random(n, k)
        for m in rows:
            x = random(m, k)
            seconds = median_seconds(lambda: torch.nn.functional.linear(x, w), flush)
            if m <= 16:
                tell(f"linear/{name}/{m}", seconds, 2.0 * n * k, "GB/s")
            else:
                tell(f"linear/{name}/{m}", seconds, 2.0 * m * n * k, "GFLOP/s")


def attention(flush, name, heads, kv_heads, queries, keys, size, causal):
    q, k, v = random(1, heads, queries, size), random(1, kv_heads, keys, size), random(1, kv_heads, keys, size)
    seconds = median_seconds(
        lambda: torch.nn.functional.scaled_dot_product_attention(q, k, v, is_causal=causal, enable_gqa=True), flush)
    if queries == 1:
        tell(name, seconds, 4.0 * kv_heads * keys * size, "GB/s")
    else:
        tell(name, seconds, 4.0 * heads * queries * keys * size / (2 if causal else 1), "GFLOP/s")


def main():
    flush = torch.empty(256 << 20, dtype=torch.uint8, device="cuda")
    a, b = random(8192, 8192), random(8192, 8192)
    tell("product/8192", median_seconds(lambda: a @ b, flush), 2.0 * 8192**3, "GFLOP/s")
    products(flush, PRODUCTS, (1, 8, 32, 128, 512))
    products(flush, ENCODER, (1251,))
    attention(flush, "attention/encoder_25s", 20, 20, 1251, 1251, 64, False)
    attention(flush, "attention/prompt_353", 28, 4, 353, 353, 128, True)
    attention(flush, "attention/decode_1x2048", 28, 4, 1, 2048, 128, False)


main()
