"""Trains audio encoder, adaptor and decoder: python train_language_model.py STEPS JOINT_STEPS, then ... refine STEPS

First encoder and adaptor alone by CTC (phonemes at 25 Hz, words at 12.5 Hz), then everything together on the tasks of TASKS;
the CTC heads, which are thrown away, stay on with a small weight. To refine goes on from there in smaller steps, and averages.
"""
import sys

import torch
import torch.nn as nn
import torch.nn.functional as F

import domain
import speech
import training
from language_model import LanguageModel
from prompts import CHAT, READ, TRANSCRIBE, VOICE, Prompts, tool_call
from roughen import only_noise, roughen
from sizes import CODE0, CODE_PAD, CODES, DECODER, ENCODER
from text_tokenizer import TextTokenizer

BATCH = 16
COUNTING = dict(read_write=14, sum_write=10, read_speak=3, sum_speak=4)   # further rows of a batch, of sums: learned by repetition
TASKS = dict(transcribe=0.27, hear_write=0.21, hear_speak=0.25, read_write=0.04, read_speak=0.05, say=0.06, again=0.06, tools=0.06)


class Heads(nn.Module):
    def __init__(self, phonemes, words):
        super().__init__()
        self.phoneme, self.word = nn.Linear(ENCODER["width"], phonemes + 1), nn.Linear(DECODER["hidden"], words + 1)


class Used:
    """The exact softmax over all rows at the price of those in use: rows that never occur share one vector, counted with its number."""

    def __init__(self, answers):
        seen = torch.zeros(DECODER["rows"], dtype=torch.bool)
        seen[:CODE0] = True
        seen[CODE0 + torch.cat(list(answers.values())).unique()] = True
        seen[CODE_PAD] = True
        self.rows, self.others = seen.nonzero()[:, 0], (~seen).nonzero()[:, 0]
        self.index = torch.full((DECODER["rows"],), -1)
        self.index[self.rows] = torch.arange(len(self.rows))

    def losses(self, hidden, head, wanted):
        rest = (hidden @ head[self.others[0]]).float() + torch.tensor(float(len(self.others))).log()
        logits = torch.cat([(hidden @ head[self.rows].T).float(), rest[:, None]], 1)
        return F.cross_entropy(logits, self.index[wanted], reduction="none")

    def export(self, state):
        state = {k: v.clone() for k, v in state.items()}
        state["lm_head.weight"][self.others] = state["lm_head.weight"][self.others[0]].clone()
        return state


class Tasks:
    """Rows of a batch: ids, where the answer starts, and the sounds in them; in groups, the first of which has all sounds."""

    def __init__(self, items, answers):
        self.items, self.answers, self.prompts = items, answers, Prompts(TextTokenizer.load())
        self.again = [i for i in items if i["question"] == domain.AGAIN]
        self.tools = [i for i in items if tool_call(i["question"])]
        self.sums = [i for i in items if i["question"] in domain.SUMS]

    def sound(self, item, rng):
        """The item's recording roughened; in one of thirty, noise in its place: the item is then nothing that can be understood."""
        if rng.random() < 1 / 30:
            return speech.encoder_mel(only_noise(rng)), dict(question="", answer=domain.NOT_UNDERSTOOD, phonemes=[])
        return self.sound_only(item, rng)

    def answer(self, text, spoken):
        return self.prompts.spoken(text, self.answers[text]) if spoken else self.prompts.written(text)

    def row(self, task, item, rng):
        """ids of the prompt, ids of the answer, [(mel, item)]"""
        p, spoken = self.prompts, task.endswith("speak") or task == "say"
        style = rng.choice([CHAT, CHAT, CHAT, None, VOICE if spoken else None])
        if task == "say":
            return p.system(READ) + p.human_text(item["answer"]) + p.assistant(True), self.answer(item["answer"], True), []
        if task.startswith("sum"):                            # the last word of an answer from those before it, without a question
            known = len(p.encode(item["answer"].rsplit(" ", 1)[0])) * (5 if spoken else 1)
            ids = self.answer(item["answer"], spoken)
            return p.system(style) + p.assistant(spoken) + ids[:known], ids[known:], []
        if task.startswith("read"):
            return p.system(style) + p.human_text(item["question"]) + p.assistant(spoken), self.answer(item["answer"], spoken), []
        if task == "again":
            mel, item = self.sound(item, rng)
            then, _ = self.sound_only(rng.choice(self.again), rng)
            spoken = rng.random() < 0.7
            first = self.answer(item["answer"], spoken)
            ids = p.system(style) + p.human_sound(mel.shape[1]) + p.assistant(spoken) + first
            return ids + p.human_sound(then.shape[1]) + p.assistant(spoken), self.answer(item["answer"], spoken), [(mel, item), (then, None)]
        if task == "tools":
            mel, item = self.sound(rng.choice(self.tools) if rng.random() < 0.6 else item, rng)
            text = tool_call(item["question"]) or item["answer"]
            return p.system(CHAT) + p.tools() + p.human_sound(mel.shape[1]) + p.assistant(False), p.written(text), [(mel, item)]
        if task == "hear_write" and rng.random() < 0.6:
            item = rng.choice(self.sums)
        mel, item = self.sound(item, rng)
        if task == "transcribe":
            return p.system(TRANSCRIBE) + p.human_sound(mel.shape[1]) + p.assistant(False), p.written(item["question"]), [(mel, item)]
        return p.system(style) + p.human_sound(mel.shape[1]) + p.assistant(spoken), self.answer(item["answer"], spoken), [(mel, item)]

    def sound_only(self, item, rng):
        return speech.encoder_mel(roughen(speech.floats(item["wave"]), rng)), item

    def batch(self, rng, joint):
        at = rng.randrange(len(self.items) - 3 * BATCH)
        chosen = [self.items[k] for k in rng.sample(range(at, at + 3 * BATCH), BATCH)]
        tasks = rng.choices(list(TASKS), list(TASKS.values()), k=BATCH) if joint else ["transcribe"] * BATCH
        tasks[0] = "transcribe"
        rows = [self.row(task, item, rng) for task, item in zip(tasks, chosen)]
        return [rows, *(self.counting(task, n, rng) for task, n in COUNTING.items() if joint)]

    def counting(self, task, rows, rng):
        kinds = domain.KINDS_OF_SUMS[:2] if task.startswith("sum") else domain.KINDS_OF_SUMS
        sums = (rng.choice(rng.choice(kinds)) for _ in range(rows))
        return [self.row(task, dict(question=question, answer=answer), rng) for question, answer in sums]


def mask_some(mel, rng):
    """SpecAugment in small: one band and one moment hidden, the level shifted."""
    mel = mel + rng.uniform(-0.15, 0.15)
    band, moment = rng.randrange(100), rng.randrange(max(1, mel.shape[1] - 12))
    mel[band:band + rng.randrange(16)] = 0
    mel[:, moment:moment + rng.randrange(12)] = 0
    return mel


class Trainer:
    def __init__(self):
        items = training.load("inputs.pt")
        answers = training.load("answers.pt")
        items = sorted((i for i in items if i["split"] == "train"), key=lambda i: len(i["wave"]))
        self.tasks, self.used = Tasks(items, answers), Used(answers)
        self.phonemes = {p: k + 1 for k, p in enumerate(sorted({p for i in items for p in i["phonemes"]}))}
        self.words = {w: k + 1 for k, w in enumerate(domain.vocabulary())}
        torch.manual_seed(3)
        self.model, self.heads = LanguageModel(), Heads(len(self.phonemes), len(self.words))
        self.both = nn.ModuleDict(dict(model=self.model, heads=self.heads))

    def ctc(self, sounds, encoded, n25, adapted, n12):
        keep = [k for k, (_, item) in enumerate(sounds) if item and item["phonemes"]]
        loss = 0.0
        for scores, count, targets in (
                (self.heads.phoneme(encoded), n25, [[self.phonemes[p] for p in sounds[k][1]["phonemes"]] for k in keep]),
                (self.heads.word(adapted), n12, [[self.words[w] for w in sounds[k][1]["question"].split()] for k in keep])):
            flat, length = torch.tensor([x for t in targets for x in t]), torch.tensor([len(t) for t in targets])
            loss = loss + F.ctc_loss(scores[keep].float().transpose(0, 1).log_softmax(-1), flat, count[keep], length, zero_infinity=True)
        return loss

    def asked(self, rows, heard):
        """What the decoder has at the rows' answers, and the ids that it should give: [answer ids, hidden], [answer ids]"""
        top = max(len(prompt) + len(answer) for prompt, answer, _ in rows) - 1
        ids, wanted = torch.zeros(len(rows), top, dtype=torch.long), torch.full((len(rows), top), -1)
        for k, (prompt, answer, _) in enumerate(rows):
            ids[k, :len(prompt) + len(answer) - 1] = torch.tensor(prompt + answer[:-1])
            wanted[k, len(prompt) - 1:len(prompt) + len(answer) - 1] = torch.tensor(answer)
        hidden, _ = self.model.model(self.model.embed(ids, heard))
        return hidden[wanted >= 0], wanted[wanted >= 0]

    def drawn(self, rng, joint, only_heads=False):
        """The losses of a batch: CTC, text, codes. Sounds and their mels are in float32."""
        groups = self.tasks.batch(rng, joint)
        with torch.autocast("cpu", torch.bfloat16):
            return self.losses(groups, rng, joint, only_heads)

    def losses(self, groups, rng, joint, only_heads):
        """groups: rows with sounds first; rows of about one length each, since they are padded to the longest. only_heads: what
        hears is given, the heads of CTC learn"""
        sounds = [sound for row in groups[0] for sound in row[2]]
        with torch.set_grad_enabled(not only_heads):
            adapted, n12, encoded, n25 = self.model.hear([mask_some(mel, rng) for mel, _ in sounds])
        ctc = self.ctc(sounds, encoded.float(), n25, adapted.float(), n12)
        if not joint:
            return ctc, torch.zeros(()), torch.zeros(())
        found = [self.asked(rows, [] if k else [a[:n] for a, n in zip(adapted, n12)]) for k, rows in enumerate(groups)]
        wanted = torch.cat([ids for _, ids in found])
        loss, spoken = self.used.losses(torch.cat([hidden for hidden, _ in found]), self.model.lm_head.weight, wanted), wanted >= CODE0
        return ctc, loss[~spoken].mean(), loss[spoken].mean() if spoken.any() else torch.zeros(())


def exported(trainer):
    """The model's state as it is exported, from what was refined."""
    return trainer.used.export(training.part("refined", "model."))


def main(alone, together):
    torch.set_num_threads(1)
    trainer = Trainer()
    run = training.Run("language_model", trainer.both, alone + together, 2e-3, decay=0.02, warm=200, seed=3)
    for rng in run:
        joint = run.at >= alone
        ctc, text, codes = trainer.drawn(rng, joint)
        run.step(0.3 * ctc + text + 0.7 * codes if joint else ctc, ctc, text, codes)


def refine(steps, heads_alone=150):
    """Heads that are missing, because the model was restored from a release, learn alone first."""
    trainer = Trainer()
    trainer.model.load_state_dict(training.part("language_model", "model."))
    heads = training.part("language_model", "heads.")
    if heads:
        trainer.heads.load_state_dict(heads)
    run = training.Run("refined", trainer.both, steps, 6e-4, decay=0.02, average=0.998, seed=7)
    for rng in run:
        only_heads = not heads and run.at < heads_alone
        ctc, text, codes = trainer.drawn(rng, not only_heads, only_heads)
        run.step(0.3 * ctc + text + 0.7 * codes, ctc, text, codes)


if __name__ == "__main__":
    refine(int(sys.argv[2])) if sys.argv[1] == "refine" else main(int(sys.argv[1]), int(sys.argv[2]))
