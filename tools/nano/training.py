"""One training run: steps counted from 0, a state that is kept every two minutes, a log. A run that was cut goes on where it was.

What is drawn at random at a step depends on the seed and the step alone.
"""
import math
import random
import time

import torch

from sizes import WORK

KEEP_SECONDS = 120


def save(state, name):
    WORK.mkdir(parents=True, exist_ok=True)
    part = WORK / (name + ".part")
    torch.save(state, part)
    part.rename(WORK / name)


def load(name):
    return torch.load(WORK / name, weights_only=False)


def part(name, prefix):
    """The state of one module of a run's, under the names that it has alone."""
    state = load(f"{name}.pt")["model"]
    return {k[len(prefix):]: v for k, v in state.items() if k.startswith(prefix)}


def log(name, line):
    WORK.mkdir(parents=True, exist_ok=True)
    text = time.strftime("%H:%M:%S ") + line
    print(text, flush=True)
    with open(WORK / f"{name}.log", "a") as file:
        file.write(text + "\n")


def size(module):
    return sum(p.numel() for p in module.parameters())


class Run:
    """for rng in run: run.step(loss, shown figures...)"""

    def __init__(self, name, module, steps, peak, betas=(0.9, 0.98), decay=0.01, clip=1.0, warm=100, average=0.0, seed=1):
        self.name, self.module, self.steps, self.peak, self.clip, self.warm, self.seed = name, module, steps, peak, clip, warm, seed
        self.parameters = [p for p in module.parameters() if p.requires_grad]
        self.optimizer = torch.optim.AdamW(self.parameters, peak, betas=betas, weight_decay=decay)
        self.at, self.spent, self.started = 0, 0.0, time.process_time()
        self.average_rate = average
        self.average = {k: v.clone() for k, v in module.state_dict().items()} if average else None
        self.sums, self.counted, self.kept = None, 0, time.time()
        path = WORK / f"{name}.state"
        if path.exists():
            state = torch.load(path, weights_only=False)
            module.load_state_dict(state["module"])
            self.optimizer.load_state_dict(state["optimizer"])
            self.at, self.spent, self.average = state["at"], state["spent"], state["average"]
        log(name, f"{size(module)} parameters, from step {self.at} of {steps}")

    def seconds(self):
        return self.spent + time.process_time() - self.started

    def keep(self):
        save(dict(module=self.module.state_dict(), optimizer=self.optimizer.state_dict(), at=self.at, spent=self.seconds(),
                  average=self.average), f"{self.name}.state")
        save(dict(model=self.average or self.module.state_dict(), step=self.at, seconds=self.seconds()), f"{self.name}.pt")
        self.kept = time.time()

    @property
    def fraction(self):
        return self.at / self.steps

    def __iter__(self):
        torch.set_num_threads(1)
        while self.at < self.steps:
            torch.manual_seed(self.seed * 1_000_003 + self.at)
            yield random.Random(self.seed * 1_000_003 + self.at)
        self.keep()
        log(self.name, f"done: step {self.at}, {self.seconds():.0f} s of processor time")

    def step(self, loss, *figures):
        rate = self.peak * min(1, (self.at + 1) / self.warm) * (0.05 + 0.475 * (1 + math.cos(math.pi * self.fraction)))
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        loss.backward()
        if torch.isfinite(torch.nn.utils.clip_grad_norm_(self.parameters, self.clip)):
            self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        if self.average_rate:
            keep = min(self.average_rate, self.at / (self.at + 20))
            for name, value in self.module.state_dict().items():
                self.average[name].lerp_(value, 1 - keep) if value.is_floating_point() else self.average[name].copy_(value)
        self.at += 1
        shown = torch.tensor([float(x) for x in figures])
        self.sums, self.counted = (shown if self.sums is None else self.sums + shown), self.counted + 1
        if self.at % 100 == 0:
            log(self.name, f"step {self.at} {self.seconds():.0f}s: " + " ".join(f"{x / self.counted:.4f}" for x in self.sums))
            self.sums, self.counted = None, 0
        if time.time() - self.kept > KEEP_SECONDS:
            self.keep()
