"""Does the engine compute what these modules compute? python agree.py SA2 [--untrained]

Exports the parts (with --untrained: with random values in every tensor) and compares, on made-up sounds: speech codes, the flow and
the vocoder from a given voice, the vocoder alone, the same from a recording of a voice, and the ids of a greedy transcript (of a test recording, when trained).
"""
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import soundfile
import torch
import torchaudio.functional as audio
from safetensors.torch import save_file

import export
import speech
import training
from prompts import TRANSCRIBE, Prompts
from sizes import END, EOT
from text_tokenizer import TextTokenizer


def shake(module):
    """What begins at zero would hide an error."""
    for name, value in module.state_dict().items():
        if value.is_floating_point() and not name.endswith("running_var") and not name.endswith("positional_embedding.weight"):
            value.add_(0.05 * torch.randn_like(value))


def sound(seconds, rate):
    """Harmonics of a gliding pitch in syllables."""
    t = torch.arange(int(seconds * rate)) / rate
    phase = 2 * torch.pi * (140 * t + 20 * torch.sin(2 * t))
    x = sum(torch.sin(k * phase) / k for k in range(1, 20)) * (0.55 + 0.45 * torch.sin(25 * t))
    return 0.1 * x + 0.003 * torch.randn(len(t))


def run(*command):
    return subprocess.run([str(c) for c in command], check=True, stdout=subprocess.PIPE, text=True).stdout


def report(name, ours, theirs):
    count = min(len(ours), len(theirs))
    far = (ours[:count] - theirs[:count]).abs().max().item()
    print(f"{name}: {len(ours)} and {len(theirs)} values, largest difference {far:.2e} of {ours.abs().max():.2f}")
    return len(ours) == len(theirs) and far < 2e-2 * max(ours.abs().max().item(), 0.05)


@torch.no_grad()
def main(sa2, untrained):
    work, good = Path(tempfile.mkdtemp()), True
    parts = export.parts(untrained)
    if untrained:
        for part in parts:
            shake(part)
    model, flow, vocoder, tokenizer, speaker = (export.rounded(part).eval() for part in parts)
    export.write(work / "model", model, flow, vocoder, tokenizer, speaker)
    recording = (sound(3.0, 24000) * 32767).round() / 32768
    soundfile.write(work / "voice.wav", recording.numpy(), 24000)
    recording = torch.from_numpy(soundfile.read(work / "voice.wav", dtype="float32")[0])
    heard = audio.resample(recording, 24000, 16000)
    prompt = tokenizer.codes(speech.tokenizer_mel(heard))
    found = torch.tensor([int(x) for x in run(sa2, "tokenize-audio", "-q", "-m", work / "model", work / "voice.wav").split()])
    print(f"speech codes: {(prompt == found).sum()} of {len(prompt)} equal")
    good &= (prompt == found).float().mean() > 0.97

    mel = speech.prompt_mel(recording)
    mel = torch.nn.functional.pad(mel, (0, 2 * len(prompt) - mel.shape[1]), mode="replicate").T
    vector, codes = speaker(speech.fbank(heard)[None])[0], torch.randint(0, 6561, (40,))
    noise = torch.randn(2 * (len(prompt) + len(codes)), 80)
    save_file(dict(prompt_tokens=prompt.int(), prompt_mel=mel.contiguous(), xvec=vector), work / "voice.safetensors")
    save_file(dict(noise=noise), work / "noise.safetensors")
    (work / "codes.txt").write_text(" ".join(map(str, codes.tolist())))

    def engine(*arguments):
        run(sa2, "vocode", "-q", "-m", work / "model", "-o", work / "out.wav", "--float", "--no-source-noise", "--dtype", "f32", *arguments)
        return torch.from_numpy(soundfile.read(work / "out.wav", dtype="float32")[0])
    made = flow(codes, prompt, mel, vector, noise.T)
    quiet = torch.zeros(1, 480 * made.shape[1], 9)
    wave = vocoder(made, quiet)
    save_file(dict(mel=made.T.contiguous()), work / "mel.safetensors")
    good &= report("vocoder", wave, engine("--mel", work / "mel.safetensors"))
    good &= report("flow and vocoder", wave, engine("--voice", work / "voice.safetensors", "--noise", work / "noise.safetensors", work / "codes.txt"))
    good &= report("from a recording of a voice", wave, engine("--voice", work / "voice.wav", "--noise", work / "noise.safetensors", work / "codes.txt"))

    asked = heard if untrained else speech.floats(next(i for i in training.load("inputs.pt") if i["split"] == "test")["wave"])
    soundfile.write(work / "asked.wav", (asked * 32767).round().short().numpy(), 16000)
    asked = torch.from_numpy(soundfile.read(work / "asked.wav", dtype="float32")[0])
    mel, stops = speech.encoder_mel(asked), {END, EOT, END + 2}
    p = Prompts(TextTokenizer.load())
    ids = model.generate(p.system(TRANSCRIBE) + p.human_sound(mel.shape[1]) + p.assistant(False), [mel], stops, 12)
    answer = json.loads(run(sa2, "transcribe", "-q", "-m", work / "model", "--dtype", "f32", "--json", "--max-tokens", 12, work / "asked.wav"))
    found = [i for i in answer["ids"] if i not in stops]
    print(f"transcript: {len(ids)} ids, the same: {ids == found}")
    return good and ids == found


if __name__ == "__main__":
    torch.manual_seed(7)
    sys.exit(0 if main(sys.argv[1], "--untrained" in sys.argv) else 1)
