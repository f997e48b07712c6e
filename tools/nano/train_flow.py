"""Trains the flow: python train_flow.py STEPS

A row is [a piece of another recording in the voice, its mel given | a whole recording]. Half of the rows see as in streaming (the
prompt is one chunk, then chunks of 12 or 25 codes; a chunk sees itself and the past), half see everything. Beside the loss of flow
matching, mu is drawn to the mel itself: the estimator then only has to refine it.
"""
import sys

import torch

import training
import train_speaker
from flow import Flow
from sizes import FLOW

BATCH, DROPPED, PROMPTS = 8, 0.2, (12, 25, 38, 60)


def training_items():
    encoder, items = train_speaker.trained(), training.load("outputs.pt")
    for item, codes in zip(items, training.load("codes.pt")):
        item["codes"] = codes
    vectors = {}
    with torch.no_grad():
        for item in items[:600]:
            vectors.setdefault(item["voice"], []).append(encoder(train_speaker.output_features(item)[None])[0])
    return items, vectors


def rows(by_voice, vectors, rng):
    made = []
    for _ in range(BATCH):
        voice = rng.randrange(len(by_voice))
        item, other = rng.sample(by_voice[voice], 2)
        count = min(rng.choice(PROMPTS), len(other["codes"]))
        at = rng.randrange(len(other["codes"]) - count + 1)
        made.append((torch.cat([other["codes"][at:at + count], item["codes"]]),
                     torch.cat([other["mel"][:, 2 * at:2 * (at + count)], item["mel"]], 1).T.float(), count, rng.choice(vectors[voice])))
    length = torch.tensor([len(m[0]) for m in made])
    codes = torch.zeros(BATCH, int(length.max()), dtype=torch.long)
    mel = torch.zeros(BATCH, 2 * codes.shape[1], 80)
    for k, (c, m, _, _) in enumerate(made):
        codes[k, :len(c)], mel[k, :len(m)] = c, m[:2 * len(c)]
    return codes, mel, length, torch.tensor([m[2] for m in made]), torch.stack([m[3] for m in made])


def seen(length, prompt, top, rng):
    """[B, L, L] pairs of query and key"""
    at, rows_ = torch.arange(top), []
    for p in prompt.tolist():
        chunk = torch.where(at < p, 0, 1 + (at - p) // rng.choice([12, 25]))
        rows_.append(chunk[None] <= chunk[:, None] if rng.random() < 0.5 else torch.ones(top, top, dtype=torch.bool))
    return torch.stack(rows_)


def losses(flow, batch, rng):
    codes, mel, length, prompt, vector = batch
    mu, allowed = flow.encode(codes, length, seen(length, prompt, codes.shape[1], rng))
    frame = torch.arange(mel.shape[1])[None, :, None]
    valid = (frame < 2 * length[:, None, None]).float()
    prior = ((mu - mel).abs() * valid).sum() / valid.sum() / 80
    given = (frame < 2 * prompt[:, None, None]).float()
    cond = mel * given * (torch.rand(BATCH, 1, 1) < 0.9)
    on = (torch.rand(BATCH) >= DROPPED).float()[:, None]
    t = 1 - torch.cos(torch.rand(BATCH) * torch.pi / 2)
    z = torch.randn_like(mel)
    x = (1 - t[:, None, None]) * z + t[:, None, None] * mel
    speed = flow.decoder.estimator(x, mu * on[..., None], flow.speaker(vector) * on, cond * on[..., None], t, allowed)
    weight = valid * (1 - 0.8 * given)
    return ((speed.float() - (mel - z)).pow(2) * weight).sum() / weight.sum() / 80, prior


def main(steps):
    torch.set_num_threads(1)
    items, vectors = training_items()
    by_voice = [[i for i in items[60:] if i["voice"] == voice and len(i["codes"]) > 12] for voice in sorted(vectors)]
    torch.manual_seed(5)
    flow = Flow(**FLOW)
    mean = torch.stack([i["mel"].float().mean(1) for i in items[:200]]).mean(0)
    flow.encoder_proj.bias.data.copy_(mean)
    flow.decoder.estimator.final_layer.linear.bias.data.copy_(mean)
    run = training.Run("flow", flow, steps, 1.2e-3, average=0.995, seed=5)
    for rng in run:
        batch = rows(by_voice, vectors, rng)
        with torch.autocast("cpu", torch.bfloat16):
            matching, prior = losses(flow, batch, rng)
        run.step(matching + prior, matching, prior)


if __name__ == "__main__":
    main(int(sys.argv[1]))
