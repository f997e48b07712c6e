"""Writes the trained parts as a release folder: python export.py FOLDER [--untrained] [--archive FILE]

With --untrained the parts have their first values: what a reader of the formats can be tried on before anything is trained.
With --archive the folder is packed as well (tar.xz), as it is kept in the repository. Every number is one of bfloat16, and rows of codes
that no answer has are 0, but for the output matrix, where they share a row (train_language_model.Used): they pack to nothing.
"""
import json
import lzma
import re
import shutil
import sys
import tarfile
from collections import OrderedDict
from pathlib import Path

import soundfile
import torch
from safetensors.torch import save_file

import onnx_files
import sizes
import text_tokenizer
import training
from flow import Flow
from language_model import LanguageModel
from speaker import SpeakerEncoder
from speech_tokenizer import SpeechTokenizer
from vocoder import Vocoder

SHARPER = 4
FLOW_YAML = """flow: !new:cosyvoice2.flow.flow.CausalMaskedDiffWithXvec
  input_size: {width}
  output_size: 80
  spk_embed_dim: 192
  output_type: "mel"
  vocab_size: {codes}
  encoder: !new:cosyvoice2.transformer.upsample_encoder_v2.UpsampleConformerEncoderV2
    input_size: {width}
    output_size: {width}
    input_layer: "linear"
    pre_lookahead_len: 3
    num_blocks: {layers}
    num_up_blocks: {up_layers}
    up_stride: 2
    up_scale_factor: 2
    attention_heads: {heads}
    pos_enc_layer_type: "rel_pos_espnet"
    selfattention_layer_type: "rel_selfattn"
    key_bias: true
    linear_units: {ffn}
    dropout_rate: 0.1
    positional_dropout_rate: 0.1
    attention_dropout_rate: 0.1
    normalize_before: true
  decoder: !new:cosyvoice2.flow.flow_matching.CausalConditionalCFM
    inference_cfg_rate: {guidance}
    estimator: !new:cosyvoice2.flow.decoder_dit.DiT
      in_channels: 320
      out_channels: 80
      mlp_ratio: {ratio}
      depth: {dit_blocks}
      num_heads: {dit_heads}
      head_dim: 64
      hidden_size: {dit_width}
"""


def config():
    d, e = sizes.DECODER, sizes.ENCODER
    text = dict(hidden_size=d["hidden"], intermediate_size=d["ffn"], num_attention_heads=d["heads"], num_attention_groups=d["kv_heads"],
                num_key_value_heads=d["kv_heads"], num_hidden_layers=d["layers"], max_seq_len=d["positions"], vocab_size=d["rows"],
                rms_norm_eps=d["rms_eps"], eos_token_id=sizes.END, pad_token_id=sizes.END, rope_theta=d["rope_base"],
                max_position_embeddings=d["positions"], rope_scaling=None, torch_dtype="bfloat16")
    audio = dict(n_mels=e["mel"], n_audio_ctx=e["context"], n_audio_state=e["width"], n_audio_head=e["heads"], n_audio_layer=e["blocks"],
                 n_codebook_size=4096, llm_dim=d["hidden"], kernel_size=sizes.ADAPTOR["kernel"], adapter_stride=sizes.ADAPTOR["stride"])
    return dict(architectures=["StepAudio2ForCausalLM"], model_type="step_audio_2", bos_token_id=sizes.END, pad_token_id=sizes.END,
                eos_token_id=sizes.END, vocab_size=d["rows"], text_config=text, audio_encoder_config=audio,
                max_window_layers=d["layers"], sliding_window=2048, use_sliding_window=False, torch_dtype="bfloat16")


def without_unused_codes(model, flow):
    """No answer has them, so nothing was learned about them."""
    used = torch.cat(list(training.load("answers.pt").values())).unique()
    unused = torch.ones(sizes.CODES, dtype=torch.bool)
    unused[used] = False
    with torch.no_grad():
        model.model.embed_tokens.weight[sizes.CODE0:sizes.CODE_PAD][unused] = 0
        flow.input_embedding.weight[:sizes.CODES][unused] = 0


def sharpened(model):
    """Every question has one right answer here, and chances of others only mislead: logits are SHARPER times as far apart. What is likeliest
    stays so; a power of two changes no number's rounding."""
    with torch.no_grad():
        model.model.norm.weight *= SHARPER


def parts(untrained):
    """The five modules, trained or as they begin."""
    torch.manual_seed(0)
    model, flow, vocoder = LanguageModel(), Flow(**sizes.FLOW), Vocoder(**sizes.VOCODER)
    tokenizer, speaker = SpeechTokenizer(**sizes.SPEECH_TOKENIZER), SpeakerEncoder(**sizes.SPEAKER).eval()
    if not untrained:
        import train_language_model
        import train_speaker
        import train_speech_tokenizer
        model.load_state_dict(train_language_model.exported(train_language_model.Trainer()))
        flow.load_state_dict(training.load("flow.pt")["model"])
        vocoder.load_state_dict(training.load("vocoder.pt")["model"])
        tokenizer, speaker = train_speech_tokenizer.trained(), train_speaker.trained()
        without_unused_codes(model, flow)
        sharpened(model)
    return model, flow, vocoder, tokenizer, speaker


def rounded(module):
    """Every matrix and every number as bfloat16 holds it, in float32."""
    for value in module.state_dict().values():
        if value.is_floating_point():
            value.copy_(value.bfloat16())
    return module


def write_torch(path, module):
    torch.save(OrderedDict((k, v.clone()) for k, v in module.state_dict().items()), path)


def write(folder, model, flow, vocoder, tokenizer, speaker):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "token2wav").mkdir(exist_ok=True)
    put = lambda name, value: (folder / name).write_text(json.dumps(value, indent=2) + "\n")
    put("config.json", config())
    weights = {k: v.bfloat16().contiguous() for k, v in model.state_dict().items()}
    file = "model-00001-of-00001.safetensors"
    save_file(weights, folder / file, {"format": "pt"})
    put("model.safetensors.index.json", dict(metadata=dict(total_size=sum(v.numel() * 2 for v in weights.values())),
                                             weight_map={name: file for name in sorted(weights)}))
    text_tokenizer.write(text_tokenizer.TextTokenizer.load(), folder)
    to = folder / "token2wav"
    f = sizes.FLOW
    (to / "flow.yaml").write_text(FLOW_YAML.format(**f, codes=sizes.CODES, ratio=f["dit_ffn"] // f["dit_width"]))
    write_torch(to / "flow.pt", flow)
    write_torch(to / "hift.pt", vocoder)
    onnx_files.write_speech_tokenizer(to / "speech_tokenizer_v2_25hz.onnx", tokenizer)
    onnx_files.write_speaker(to / "campplus.onnx", speaker)


def write_voices(folder):
    """A recording of each output voice: the prompt that the flow speaks in."""
    (folder / "assets").mkdir(exist_ok=True)
    for voice, name in enumerate(("anna", "ben", "cora")):
        item = max((i for i in training.load("outputs.pt") if i["voice"] == voice), key=lambda i: len(i["wave"]))
        soundfile.write(folder / "assets" / f"{name}.wav", item["wave"].numpy(), 24000)


def write_questions(folder):
    """Recordings in voices and, where the task allows it, of sentences that were not trained on: NAME.flac, and in questions.tsv a line for
    each with its name, what is asked and what is to be answered."""
    (folder / "questions").mkdir(exist_ok=True)
    items = [i for i in training.load("inputs.pt") if i["split"] == "test_voice"]
    chosen = []
    for kind in ("what color", "what is .* plus", "what is .* minus", "which is bigger", "what is the opposite", "what comes after", "repeat", "repeat",
                 "what time", "search", "how are", "what is your"):
        chosen += [i for i in items if re.match(kind, i["question"]) and i["question"] not in [c["question"] for c in chosen]][:1]
    lines = []
    for k, item in enumerate(chosen):
        soundfile.write(folder / "questions" / f"{k}.flac", item["wave"].numpy(), 16000)
        lines.append(f"{k}\t{item['question']}\t{item['answer']}\n")
    (folder / "questions" / "questions.tsv").write_text("".join(lines))


def pack(folder, archive):
    """The same folder gives the same bytes."""
    def plain(entry):
        entry.mtime, entry.uid, entry.gid, entry.uname, entry.gname, entry.mode = 0, 0, 0, "", "", 0o644
        return entry
    with tarfile.open(archive, "w:xz", preset=9 | lzma.PRESET_EXTREME, format=tarfile.USTAR_FORMAT) as tar:
        for file in sorted(f for f in folder.rglob("*") if f.is_file()):
            tar.add(file, f"nano/{file.relative_to(folder)}", filter=plain)
    print(Path(archive).stat().st_size, "bytes in", archive)


def main(folder, untrained, archive):
    write(folder, *(rounded(part) for part in parts(untrained)))
    shutil.copy(Path(__file__).parent / "card.txt", folder / "card.txt")
    if not untrained:
        write_voices(folder)
        write_questions(folder)
    if archive:
        pack(folder, archive)
    print(sum(f.stat().st_size for f in folder.rglob("*") if f.is_file()), "bytes in", folder)


if __name__ == "__main__":
    main(Path(sys.argv[1]), "--untrained" in sys.argv, sys.argv[sys.argv.index("--archive") + 1] if "--archive" in sys.argv else None)
