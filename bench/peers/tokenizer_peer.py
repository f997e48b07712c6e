#!/usr/bin/env python3
"""Seconds and bytes of one encode by the Hugging Face tokenizers library, on one thread.

tokenizer_peer.py TOKENIZER.json
"""
import os
import sys
import time

os.environ["TOKENIZERS_PARALLELISM"] = "false"
from tokenizers import Tokenizer  # noqa: E402: reads the variable when it is imported

# As in bench_tokenizer() of bench/bench_parts.c.
LINE = ("The quick brown fox, aged 7, doesn't jump over 12 lazy dogs; it sleeps in the sun. "
        "Sprache ist Macht, und l'été arrive. 你好，世界。\n")
REPEATS = 8000

tokenizer = Tokenizer.from_file(sys.argv[1])
text = LINE * REPEATS
tokenizer.encode(LINE, add_special_tokens=False)
start = time.perf_counter()
tokenizer.encode(text, add_special_tokens=False)
print(time.perf_counter() - start, len(text.encode()))
