"""The text tokenizer: byte-level BPE with 512 entries, trained on the domain; control and audio tokens follow as in the release.

    python text_tokenizer.py     writes tokenizer/ among the work files
"""
import json
import random
from collections import Counter

import regex

import domain
from sizes import CODES, END, TEXT_ENTRIES, WORK

PIECES = regex.compile(r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+")
PLAIN = ["<tool_call>", "</tool_call>", "<|fim_prefix|>", "<|fim_middle|>", "<|fim_suffix|>", "<|fim_pad|>", "<|repo_name|>", "<|file_sep|>"]
CONTROLS = ("<|endoftext|> <|im_start|> <|im_end|> <|object_ref_start|> <|object_ref_end|> <|box_start|> <|box_end|> <|quad_start|> "
            "<|quad_end|> <|vision_start|> <|vision_end|> <|vision_pad|> <|image_pad|> <|video_pad|>").split() + PLAIN + (
            "<|EOT|> <|BOT|> <|CALL_START|> <|CALL_END|> <|THINK_START|> <|THINK_END|> <|IMG_START|> <|IMG_END|> <|META_START|> "
            "<|META_END|> <im_patch> <im_start> <im_end> <dream> <dream_start> <dream_end> <|MASK_1e69f|> <|UNMASK_1e69f|> <video_start> "
            "<video_end> <patch_start> <patch_end> <patch_newline> <audio_start> <audio_end> <audio_patch> <audio_patch_pad> <|SC|> "
            "<tts_start> <tts_end> <tts_pad>").split()


def byte_symbols():
    """The printable stand-in of every byte, as in the files."""
    shown = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    hidden = [b for b in range(256) if b not in shown]
    return {b: chr(b) for b in shown} | {b: chr(256 + k) for k, b in enumerate(hidden)}


SYMBOL = byte_symbols()


def merge(word, pair):
    out, k = [], 0
    while k < len(word):
        if word[k:k + 2] == pair:
            out.append(word[k] + word[k + 1])
            k += 2
        else:
            out.append(word[k])
            k += 1
    return tuple(out)


def learn(texts, merges):
    """texts: {text: weight} -> the most frequent pairs, one after the other"""
    counts = Counter()
    for text, weight in texts.items():
        for piece in PIECES.findall(text):
            counts[tuple(SYMBOL[b] for b in piece.encode())] += weight
    learnt = []
    for _ in range(merges):
        pairs = Counter()
        for word, n in counts.items():
            for pair in zip(word, word[1:]):
                pairs[pair] += n
        best = max(pairs, key=lambda p: (pairs[p], p))
        learnt.append(best)
        counts = Counter({merge(word, best): n for word, n in counts.items()})
    return learnt


class TextTokenizer:
    def __init__(self, merges):
        self.merges = [tuple(m) for m in merges]
        self.rank = {m: k for k, m in enumerate(self.merges)}
        entries = [SYMBOL[b] for b in sorted(SYMBOL, key=lambda b: ord(SYMBOL[b]))] + [a + b for a, b in self.merges]
        self.ids = {entry: k for k, entry in enumerate(entries)}
        self.added = {token: END + k for k, token in enumerate(CONTROLS)} | {f"<audio_{c}>": END + len(CONTROLS) + c for c in range(CODES + 1)}
        self.split = regex.compile("(" + "|".join(map(regex.escape, CONTROLS)) + "|<audio_(?:0|[1-9][0-9]*)>)")
        self.bytes = {v: bytes(next(b for b, s in SYMBOL.items() if s == c) for c in k) for k, v in self.ids.items()}
        self.known = {}

    @classmethod
    def load(cls):
        lines = (WORK / "tokenizer" / "merges.txt").read_text(encoding="utf-8").splitlines()[1:]
        return cls([line.split(" ") for line in lines if line])

    def _piece(self, piece):
        if piece not in self.known:
            word = tuple(SYMBOL[b] for b in piece.encode())
            while len(word) > 1:
                best = min(zip(word, word[1:]), key=lambda p: self.rank.get(p, len(self.rank)))
                if best not in self.rank:
                    break
                word = merge(word, best)
            self.known[piece] = [self.ids[s] for s in word]
        return self.known[piece]

    def __call__(self, text):
        out = []
        for part in self.split.split(text):
            out += [self.added[part]] if part in self.added else [i for piece in PIECES.findall(part) for i in self._piece(piece)]
        return out

    def decode(self, ids):
        return b"".join(self.bytes.get(i, b"") for i in ids).decode(errors="replace")


def write(tokenizer, folder):
    folder.mkdir(parents=True, exist_ok=True)
    put = lambda name, value: (folder / name).write_text(json.dumps(value, ensure_ascii=False) + "\n", encoding="utf-8")
    merges = [" ".join(m) for m in tokenizer.merges]
    (folder / "merges.txt").write_text("#version: 0.2\n" + "\n".join(merges) + "\n", encoding="utf-8")
    put("vocab.json", tokenizer.ids)
    put("added_tokens.json", tokenizer.added)
    special = lambda token: token in CONTROLS and token not in PLAIN
    flags = lambda token: dict(content=token, lstrip=False, normalized=False, rstrip=False, single_word=False, special=special(token))
    put("tokenizer_config.json", dict(
        add_prefix_space=False, added_tokens_decoder={str(i): flags(t) for t, i in tokenizer.added.items()}, eos_token="<|endoftext|>",
        pad_token="<|endoftext|>", model_max_length=2048, tokenizer_class="Qwen2Tokenizer", errors="replace", unk_token=None))
    put("special_tokens_map.json", dict(eos_token="<|endoftext|>", pad_token="<|endoftext|>",
                                        additional_special_tokens=[t for t in CONTROLS if special(t)]))


def corpus():
    import prompts
    rng, texts = random.Random(8), Counter()
    for text in [*domain.FACTS, *domain.FACTS.values(), *domain.WITHOUT_TOOLS, *domain.WITHOUT_TOOLS.values()]:
        texts[text] += 60
    for text in [*domain.SUMS, *domain.SUMS.values()]:
        texts[text] += 3
    for _ in range(2000):
        for text in domain.repeat(rng):
            texts[text] += 1
    texts[domain.NOT_UNDERSTOOD] += 300
    for text in prompts.FIXED:
        texts[text] += 5 if text == prompts.TOOLS else 100
    return texts


if __name__ == "__main__":
    made = TextTokenizer(learn(corpus(), TEXT_ENTRIES - 256))
    write(made, WORK / "tokenizer")
    for text in ("what is three plus five", "repeat after me yellow banana"):
        assert made.decode(made(text)) == text
        print(text, len(made(text)), "tokens")
