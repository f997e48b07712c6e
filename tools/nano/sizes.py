"""Sizes of the nano model, its token ids, and where its work files lie.

Widths go in steps of 64: every head of the architecture is 64 wide.
"""
import os
from pathlib import Path

WORK = Path(os.environ.get("NANO_WORK", Path.home() / ".cache" / "sa2-nano"))

DECODER = dict(hidden=192, layers=4, heads=3, kv_heads=1, ffn=512, rows=7168, positions=2048, rms_eps=1e-6, rope_base=1e6)
ENCODER = dict(mel=128, context=1500, width=128, heads=2, blocks=4)
ADAPTOR = dict(kernel=3, stride=2, inner=256)
FLOW = dict(width=128, heads=2, ffn=256, layers=2, up_layers=2, dit_width=128, dit_heads=2, dit_ffn=512, dit_blocks=3, guidance=0.7)
VOCODER = dict(channels=128, f0_channels=64)
SPEECH_TOKENIZER = dict(width=128, heads=2, ffn=512, blocks=2)
SPEAKER = dict(growth=8, bottleneck=32, initial=32, gate=16, layers=(12, 24, 16), dilations=(1, 2, 2))

CODES = 6561                    # 3^8 speech codes
TEXT_ENTRIES = 512              # byte-level BPE; the 22 + 31 control tokens and <audio_0> ... <audio_6561> follow
TEXT_CONTROLS = 22
END = TEXT_ENTRIES              # <|endoftext|>
TOOL_CALL, TOOL_CALL_END = END + 14, END + 15
EOT, BOT = END + 22, END + 23
AUDIO_START, AUDIO_END, AUDIO_PATCH = END + 45, END + 46, END + 47
TTS_START, TTS_END, TTS_PAD = END + 50, END + 51, END + 52
CODE0 = END + 53
CODE_PAD = CODE0 + CODES
