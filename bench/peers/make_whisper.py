#!/usr/bin/env python3
"""Writes a whisper.cpp model with the encoder of large-v3, random f16 weights, and the smallest decoder that loads.

make_whisper.py OUT.bin
"""
import struct
import sys

import numpy as np

WIDTH, HEADS, BLOCKS, FRAMES, MELS, BINS = 1280, 20, 32, 1500, 128, 201
VOCAB, TEXT_POSITIONS, TEXT_BLOCKS, F16_FILE = 51866, 448, 1, 1
WORDS = 50257  # listed in the file; the program adds the special ones
RNG = np.random.default_rng(1)


def integers(file, *values):
    file.write(struct.pack(f"<{len(values)}i", *values))


def tensors():
    """(name, shape, whether f16) of each; matrices are f16, the rest is f32."""

    def linear(name, out, columns, bias=True):
        yield name + ".weight", (out, columns), True
        if bias:
            yield name + ".bias", (out,), False

    def norm(name):
        yield name + ".weight", (WIDTH,), False
        yield name + ".bias", (WIDTH,), False

    def attention(name):
        yield from norm(name + "_ln")
        for part in ("query", "key", "value", "out"):
            yield from linear(f"{name}.{part}", WIDTH, WIDTH, bias=part != "key")

    def block(name, attentions):
        for part in attentions:
            yield from attention(f"{name}.{part}")
        yield from norm(name + ".mlp_ln")
        yield from linear(name + ".mlp.0", 4 * WIDTH, WIDTH)
        yield from linear(name + ".mlp.2", WIDTH, 4 * WIDTH)

    yield "encoder.positional_embedding", (FRAMES, WIDTH), False
    for i, channels in ((1, MELS), (2, WIDTH)):
        yield f"encoder.conv{i}.weight", (WIDTH, channels, 3), True
        yield f"encoder.conv{i}.bias", (WIDTH, 1), False
    for i in range(BLOCKS):
        yield from block(f"encoder.blocks.{i}", ["attn"])
    yield from norm("encoder.ln_post")
    yield "decoder.positional_embedding", (TEXT_POSITIONS, WIDTH), False
    yield "decoder.token_embedding.weight", (VOCAB, WIDTH), True
    for i in range(TEXT_BLOCKS):
        yield from block(f"decoder.blocks.{i}", ["attn", "cross_attn"])
    yield from norm("decoder.ln")


def write(path):
    with open(path, "wb") as file:
        file.write(struct.pack("<I", 0x67676D6C))
        integers(file, VOCAB, FRAMES, WIDTH, HEADS, BLOCKS)
        integers(file, TEXT_POSITIONS, WIDTH, HEADS, TEXT_BLOCKS, MELS, F16_FILE)
        integers(file, MELS, BINS)
        file.write(np.full(MELS * BINS, 1 / BINS, np.float32).tobytes())
        integers(file, WORDS)
        for i in range(WORDS):
            word = b"w%d" % i
            integers(file, len(word))
            file.write(word)
        for name, shape, half in tensors():
            values = RNG.standard_normal(shape, dtype=np.float32) * np.float32(0.02)
            if "ln" in name and name.endswith("weight"):
                values += 1
            integers(file, len(shape), len(name), int(half), *reversed(shape))
            file.write(name.encode())
            file.write(values.astype(np.float16 if half else np.float32).tobytes())


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    write(sys.argv[1])
