"""Trains the speech tokenizer: python train_speech_tokenizer.py STEPS, then ... codes (codes.pt and answers.pt)

CTC on phonemes makes the codes carry what is said; a decoder back to the mel, which is told the recording's mean spectrum, makes
them keep the timing and not the voice. Both heads are thrown away. Rounding is phased in over the first quarter.
"""
import sys
from concurrent.futures import ThreadPoolExecutor

import torch
import torch.nn as nn
import torch.nn.functional as F

import speech
import training
from sizes import SPEECH_TOKENIZER
from speech_tokenizer import SpeechTokenizer
from synthesise import output

BATCH = 24


class Heads(nn.Module):
    def __init__(self, symbols, width=160):
        super().__init__()
        conv = lambda i, o, k=5: nn.Conv1d(i, o, k, padding=k // 2)
        self.ctc = nn.Sequential(conv(8, width), nn.GELU(), conv(width, width), nn.GELU(), conv(width, symbols, 1))
        self.mel = nn.Sequential(conv(8 + 128, width), nn.GELU(), conv(width, width), nn.GELU(), conv(width, width), nn.GELU(),
                                 conv(width, 4 * 128, 1))

    def back(self, z, mean):
        """[B, N, 8], [B, 128] -> [B, 128, 4 N]"""
        n = z.shape[1]
        made = self.mel(torch.cat([z.transpose(1, 2), mean[..., None].expand(-1, -1, n)], 1))
        return made.unflatten(1, (4, 128)).permute(0, 2, 3, 1).reshape(len(z), 128, 4 * n)


def batch_of(items, table):
    length = torch.tensor([item["heard"].shape[1] // 4 * 4 for item in items])
    mel = torch.zeros(len(items), 128, int(length.max()))
    for row, item, n in zip(mel, items, length):
        row[:, :n] = item["heard"][:, :n].float()
    target = [torch.tensor([table[p] for p in item["phonemes"]]) for item in items]
    return mel, length, torch.cat(target), torch.tensor([len(t) for t in target])


def losses(tokenizer, heads, batch, rounded):
    mel, length, target, target_length = batch
    squashed, count = tokenizer.squashed(mel + 0.05 * torch.randn_like(mel), length)
    chosen = (torch.rand(len(mel), 1, 1) < rounded).float()
    z = squashed + chosen * (squashed.round() - squashed).detach()
    ctc = F.ctc_loss(heads.ctc(z.transpose(1, 2)).permute(2, 0, 1).log_softmax(-1), target, count, target_length, zero_infinity=True)
    valid = (torch.arange(mel.shape[2]) < length[:, None]).float()[:, None]
    mean = (mel * valid).sum(2) / valid.sum(2)
    back = ((heads.back(z, mean) - mel).abs() * valid).sum() / valid.sum() / 128
    used = F.relu(0.5 - squashed.pow(2).mean((0, 1))).pow(2).sum() + squashed.mean((0, 1)).pow(2).sum()     # three values of each digit
    return ctc, back, used


def training_items():
    items = [dict(heard=i["heard"], phonemes=i["phonemes"], output=True) for i in training.load("outputs.pt")[60:]]
    for item in training.load("inputs.pt"):
        if item["split"] == "train":
            items.append(dict(heard=speech.tokenizer_mel(speech.floats(item["wave"])).half(), phonemes=item["phonemes"], output=False))
    return sorted(items, key=lambda i: i["heard"].shape[1])


def main(steps):
    torch.set_num_threads(1)
    items = training_items()
    table = {p: k + 1 for k, p in enumerate(sorted({p for i in items for p in i["phonemes"]}))}
    outputs = [k for k, item in enumerate(items) if item["output"]]
    torch.manual_seed(2)
    tokenizer = SpeechTokenizer(**SPEECH_TOKENIZER)
    both = nn.ModuleDict(dict(tokenizer=tokenizer, heads=Heads(len(table) + 1)))
    run = training.Run("speech_tokenizer", both, steps, 1.5e-3, clip=2.0, warm=50, seed=2)
    for rng in run:
        at = rng.choice(outputs) if rng.random() < 0.4 else rng.randrange(len(items))
        at = min(max(0, at - BATCH), len(items) - 2 * BATCH)
        batch = batch_of([items[k] for k in rng.sample(range(at, at + 2 * BATCH), BATCH)], table)
        if run.at == 0:
            tokenizer.spread(batch[0], batch[1])
        ctc, back, used = losses(tokenizer, both["heads"], batch, min(1.0, 0.2 + 3 * run.fraction))
        run.step(ctc + 5 * back + used, ctc, back, used)


def trained():
    tokenizer = SpeechTokenizer(**SPEECH_TOKENIZER)
    tokenizer.load_state_dict(training.part("speech_tokenizer", "tokenizer."))
    return tokenizer.eval()


def codes():
    """Every output's codes, in order, and those of every answer in the first voice."""
    tokenizer, outputs = trained(), training.load("outputs.pt")
    found = [tokenizer.codes(item["heard"]) for item in outputs]
    training.save(found, "codes.pt")
    answers = {item["text"]: c for item, c in zip(outputs, found) if item["voice"] == 0}
    missing = sorted({item["answer"] for item in training.load("inputs.pt")} - set(answers))
    with ThreadPoolExecutor(2) as pool:
        for text, item in zip(missing, pool.map(output, [(text, 0) for text in missing])):
            answers[text] = tokenizer.codes(item["heard"])
    training.save(answers, "answers.pt")
    counts = torch.bincount(torch.cat(found)).float()
    share = counts[counts > 0] / counts.sum()
    training.log("speech_tokenizer", f"{int(counts.sum())} codes, {len(share)} different, {-(share * share.log2()).sum():.2f} bits a code")


if __name__ == "__main__":
    codes() if sys.argv[1] == "codes" else main(int(sys.argv[1]))
