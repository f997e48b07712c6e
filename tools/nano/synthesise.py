"""Makes the recordings that everything is trained on.

    python synthesise.py outputs     every answer in each of the three output voices: outputs.pt
    python synthesise.py inputs      questions in many voices, clean; train_language_model.py roughens them: inputs.pt
    python synthesise.py tests       only those of them that nothing is trained on: inputs.pt
"""
import random
import sys
from concurrent.futures import ThreadPoolExecutor

import torch
import torchaudio.functional as audio

import domain
import speech
from training import WORK, load, log, save

PIECE = 250
ACCENTS = ["en-us"] * 4 + ["en-gb", "en-gb-x-rp", "en-us-nyc"]
KNOWN = ["", "+m1", "+m2", "+m3", "+m4", "+m6", "+m7", "+m8", "+f1", "+f2", "+f3", "+f4", "+klatt", "+klatt2", "+klatt3", "+Alex",
         "+Michael", "+Annie", "+anika", "+steph", "+Diogo", "+Lee", "+belinda", "+edward", "+linda", "+rob", "+Hugo", "+Jacky",
         "+Tweaky", "+aunty", "+boris"]
UNHEARD = ["+m5", "+f5", "+Andy", "+Mario", "+sandro"]


def output(job):
    text, voice = job
    wave = speech.at_24k(speech.espeak(text, *speech.OUTPUT_VOICES[voice]))
    mel = speech.prompt_mel(wave)
    heard = speech.tokenizer_mel(audio.resample(wave, 24000, 16000))
    return dict(text=text, voice=voice, wave=speech.stored(wave), mel=mel.half(), heard=heard.half(),
                f0=speech.pitch(wave, mel.shape[-1]), phonemes=speech.phonemes(text))


def question(job):
    text, answer, voice, rate, pace, split = job
    wave = audio.resample(speech.espeak(text, voice, rate, pace), 22050, 16000)
    return dict(question=text, answer=answer, voice=voice, split=split, wave=speech.stored(wave), phonemes=speech.phonemes(text))


def made(make, jobs, name):
    """What make gives for every job, kept in pieces: a run that was cut loses one piece at most."""
    items = []
    with ThreadPoolExecutor(2) as pool:
        for first in range(0, len(jobs), PIECE):
            piece = f"{name}.{first // PIECE:03d}"
            if not (WORK / piece).exists():
                save(list(pool.map(make, jobs[first:first + PIECE])), piece)
            items += load(piece)
    save(items, f"{name}.pt")
    for first in range(0, len(jobs), PIECE):
        (WORK / f"{name}.{first // PIECE:03d}").unlink()
    return items


def outputs(repeats=700):
    """The first voice, whose codes the language model learns, says all; the others half each."""
    rng = random.Random(5)
    fixed, repeated = domain.answers(rng, repeats)
    texts = [*fixed, *repeated, *domain.REPEATED, *rng.sample(sorted(domain.SUMS), 100)]
    rng.shuffle(texts)
    jobs = [(text, 0) for text in texts] + [(text, 1 + k % 2) for k, text in enumerate(texts)]
    rng.shuffle(jobs)
    items = made(output, jobs, "outputs")
    log("synthesise", f"{len(items)} output utterances, {sum(len(i['wave']) for i in items) / 24000 / 60:.0f} minutes")


def questions(train=9000, test=200, more=9000):
    """Jobs for question(); the last are more to train on."""
    rng, jobs = random.Random(6), []

    def add(count, split, variants, wanted):
        end = len(jobs) + count
        while len(jobs) < end:
            text, answer = domain.sample(rng)
            if wanted(text):
                jobs.append((text, answer, rng.choice(ACCENTS) + rng.choice(variants), rng.randrange(25, 76), rng.randrange(125, 186), split))
    add(train, "train", KNOWN, lambda text: not domain.held_out(text))
    for split, variants in (("test", KNOWN), ("test_voice", UNHEARD)):
        add(test, split, variants, lambda text: domain.held_out(text) or not text.startswith("repeat"))
    add(more, "train", KNOWN, lambda text: not domain.held_out(text))
    return jobs


def inputs():
    items = made(question, questions(), "inputs")
    log("synthesise", f"{len(items)} input utterances, {len(domain.vocabulary())} words")


def tests():
    made(question, [job for job in questions() if job[-1] != "train"], "inputs")


if __name__ == "__main__":
    torch.set_num_threads(1)
    dict(outputs=outputs, inputs=inputs, tests=tests)[sys.argv[1]]()
