#!/usr/bin/env python3
"""Writes the decoder at the release's shape as GGUF, with random weights.

make_gguf.py OUT.gguf --type bf16|q8_0|q4_0 [--layers 28]

A few hundred random rows are drawn for each width and type and repeated down a matrix: the peer
multiplies them all the same, and 15 GB are written in the time that the disk needs.
"""
import argparse
from functools import cache

import gguf
import numpy as np

HIDDEN, HEADS, KV_HEADS, HEAD_DIM, FFN, VOCAB = 3584, 28, 4, 128, 18944, 158720
DRAWN_ROWS = 256
TYPES = gguf.GGMLQuantizationType
RNG = np.random.default_rng(1)


@cache
def drawn(columns, kind):
    """[DRAWN_ROWS, bytes of a row] of random weights, about normal with deviation 0.02."""
    if kind == TYPES.Q6_K:  # the package cannot quantise to it: random bytes, and a small scale
        size, length = gguf.GGML_QUANT_SIZES[kind]
        blocks = RNG.integers(0, 256, (DRAWN_ROWS * columns // size, length), dtype=np.uint8)
        blocks[:, -2:] = np.frombuffer(np.float16(1e-5).tobytes(), np.uint8)
        return blocks.reshape(DRAWN_ROWS, -1)
    values = RNG.standard_normal((DRAWN_ROWS, columns), dtype=np.float32) * np.float32(0.02)
    return gguf.quants.quantize(values, kind)


class Decoder:
    """The tensors in file order: header first, bytes after, so that only one is in memory."""

    def __init__(self, path, layers, kind):
        self.writer = gguf.GGUFWriter(path, "qwen2")
        self.layers, self.kind = layers, kind
        # q4_0 files have this output matrix when the peer's own tool makes them.
        self.output_kind = TYPES.Q6_K if kind == TYPES.Q4_0 else kind

    def tensors(self):
        """(name, rows or 0 for a vector, columns, type) of each."""
        yield "token_embd.weight", VOCAB, HIDDEN, self.kind
        for i in range(self.layers):
            block = f"blk.{i}"
            for norm in ("attn_norm", "ffn_norm"):
                yield f"{block}.{norm}.weight", 0, HIDDEN, TYPES.F32
            for name, heads in (("attn_q", HEADS), ("attn_k", KV_HEADS), ("attn_v", KV_HEADS)):
                yield f"{block}.{name}.weight", heads * HEAD_DIM, HIDDEN, self.kind
                yield f"{block}.{name}.bias", 0, heads * HEAD_DIM, TYPES.F32
            yield f"{block}.attn_output.weight", HIDDEN, HEADS * HEAD_DIM, self.kind
            yield f"{block}.ffn_gate.weight", FFN, HIDDEN, self.kind
            yield f"{block}.ffn_up.weight", FFN, HIDDEN, self.kind
            yield f"{block}.ffn_down.weight", HIDDEN, FFN, self.kind
        yield "output_norm.weight", 0, HIDDEN, TYPES.F32
        yield "output.weight", VOCAB, HIDDEN, self.output_kind

    def write_header(self):
        w = self.writer
        w.add_name("random weights")
        w.add_block_count(self.layers)
        w.add_context_length(16384)
        w.add_embedding_length(HIDDEN)
        w.add_feed_forward_length(FFN)
        w.add_head_count(HEADS)
        w.add_head_count_kv(KV_HEADS)
        w.add_rope_freq_base(1e6)
        w.add_layer_norm_rms_eps(1e-6)
        w.add_vocab_size(VOCAB)
        w.add_tokenizer_model("no_vocab")
        for name, rows, columns, kind in self.tensors():
            if rows == 0:
                w.add_tensor_info(name, (columns,), np.dtype(np.float32), 4 * columns)
            else:
                width = drawn(columns, kind).shape[1]
                w.add_tensor_info(name, (rows, width), np.dtype(np.uint8), rows * width, raw_dtype=kind)
        w.write_header_to_file()
        w.write_kv_data_to_file()
        w.write_ti_data_to_file()

    def write(self):
        self.write_header()
        for name, rows, columns, kind in self.tensors():
            if rows == 0:
                self.writer.write_tensor_data(np.full(columns, "norm" in name, np.float32))
            else:
                rows_drawn = drawn(columns, kind)
                self.writer.write_tensor_data(np.resize(rows_drawn, (rows, rows_drawn.shape[1])))
        self.writer.close()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out")
    parser.add_argument("--type", choices=["bf16", "q8_0", "q4_0"], default="bf16")
    parser.add_argument("--layers", type=int, default=28)
    args = parser.parse_args()
    Decoder(args.out, args.layers, TYPES[args.type.upper()]).write()
