"""Speech out beside PyTorch: times the public reference modules and `sa2 bench parts`, turn by turn, and prints ratios.

For developers; nothing of the engine needs it. Both sides have random weights at the release's shape, one voice of
226 codes (9 s) and the same chunks, and compute in float32 unless a row says bf16. Turns alternate because the
speed of a shared machine drifts within minutes; a row is the median of each side over all turns.

    python bench/peers/token2wav.py --sa2 build/sa2 --sources DIR [--threads 2] [--turns 2] [--rows stream whole voice]

DIR holds check-outs of yuekaizhang/Step-Audio2 (7c58630d), xingchensong/S3Tokenizer (2abe1c50) and
modelscope/3D-Speaker (09e78067) under names with a + for the slash. Python needs torch, torchaudio, einops, scipy,
onnx, onnxruntime, tqdm and requests, which those modules import.
"""
import argparse
import json
import statistics
import subprocess
import sys
import time
from pathlib import Path

SOURCES = ("yuekaizhang+Step-Audio2", "xingchensong+S3Tokenizer", "modelscope+3D-Speaker")
PROMPT_CODES, CHUNK_CODES, LOOKAHEAD, WHOLE_CODES = 226, 25, 3, 125
PROMPT_FRAMES, TAIL_FRAMES, KEPT_FRAMES = 2 * PROMPT_CODES, 100, 8

# Our rows beside the peers whose times add up to the same work.
ROWS = {
    "stream": {"flow/1s/f32/1": ["flow_chunk"], "flow/1s/bf16/1": ["flow_chunk"],
               "vocoder/1s/f32/1": ["vocoder_chunk"], "speech/1s/f32/1": ["flow_chunk", "vocoder_chunk"],
               "speech/1s/bf16/1": ["flow_chunk", "vocoder_chunk"]},
    "whole": {"flow_whole/5s/f32/1": ["flow_whole"], "flow_whole/5s/bf16/1": ["flow_whole"],
              "vocoder_whole/5s/f32/1": ["vocoder_whole"],
              "speech_whole/5s/f32/1": ["flow_whole", "vocoder_whole"],
              "speech_whole/5s/bf16/1": ["flow_whole", "vocoder_whole"]},
    "voice": {"flow_voice/9s/f32/1": ["flow_voice"], "flow_voice/9s/bf16/1": ["flow_voice"],
              "speech_tokenizer/9s": ["speech_tokenizer"], "speaker/9s": ["speaker_vector"]},
}
FILTERS = {"stream": ["1s/f32/1", "1s/bf16/1"], "whole": ["whole/5s"], "voice": ["9s"]}


def timed(call, times):
    """Milliseconds of each call."""
    samples = []
    for _ in range(times):
        start = time.perf_counter()
        call()
        samples.append(1e3 * (time.perf_counter() - start))
    return samples


class Peers:
    """The reference's modules on the CPU; each method is one turn of one row."""

    def __init__(self, sources, threads, rows):
        for name in SOURCES:
            sys.path.insert(0, str(Path(sources) / name))
        import torch
        self.torch = torch
        torch.compile = lambda *_, **__: (lambda function: function)  # eager: compiled code is no peer of a first call
        torch.set_num_threads(threads)
        torch.manual_seed(0)
        self.flow, self.vocoder = self.make_flow(), self.make_vocoder()
        self.speaker, self.prompt = torch.randn(1, 192), self.codes(PROMPT_CODES)
        self.prompt_mel = torch.randn(1, PROMPT_FRAMES, 80)
        if "voice" in rows:
            from s3tokenizer import model_v2
            from speakerlab.models.campplus.DTDNN import CAMPPlus
            self.tokenizer = model_v2.S3TokenizerV2("speech_tokenizer_v2_25hz", model_v2.ModelConfig()).eval()
            self.speaker_encoder = CAMPPlus(feat_dim=80, embedding_size=192).eval()

    def codes(self, n):
        return self.torch.randint(0, 6561, (1, n), dtype=self.torch.int32)

    def count(self, n):
        return self.torch.tensor([n], dtype=self.torch.int32)

    def make_flow(self):
        from cosyvoice2.flow.decoder_dit import DiT
        from cosyvoice2.flow.flow import CausalMaskedDiffWithXvec
        from cosyvoice2.flow.flow_matching import CausalConditionalCFM
        from cosyvoice2.transformer.upsample_encoder_v2 import UpsampleConformerEncoderV2
        encoder = UpsampleConformerEncoderV2(
            input_size=512, output_size=512, input_layer="linear", pre_lookahead_len=LOOKAHEAD, num_blocks=6,
            num_up_blocks=4, up_stride=2, up_scale_factor=2, attention_heads=8, pos_enc_layer_type="rel_pos_espnet",
            selfattention_layer_type="rel_selfattn", key_bias=True, linear_units=2048, dropout_rate=0.1,
            positional_dropout_rate=0.1, attention_dropout_rate=0.1, normalize_before=True)
        estimator = DiT(in_channels=320, out_channels=80, mlp_ratio=4.0, depth=16, num_heads=8, head_dim=64,
                        hidden_size=512)
        solver = CausalConditionalCFM(estimator, inference_cfg_rate=0.7)
        flow = CausalMaskedDiffWithXvec(input_size=512, output_size=80, spk_embed_dim=192, output_type="mel",
                                        vocab_size=6561, encoder=encoder, decoder=solver).eval()
        for weight in flow.parameters():
            weight.requires_grad_(False)
            if not weight.any():  # gates that begin at zero would make every block the identity
                self.torch.nn.init.normal_(weight, std=0.02)
        return flow

    def make_vocoder(self):
        """With weight norm folded, the reference's better form."""
        from flashcosyvoice.modules.hifigan import HiFTGenerator
        from torch.nn.utils import parametrize
        vocoder = HiFTGenerator().eval()
        for module in vocoder.modules():
            if parametrize.is_parametrized(module, "weight"):
                parametrize.remove_parametrizations(module, "weight")
        return vocoder

    def set_up(self):
        tokens = self.torch.cat([self.prompt, self.prompt[:, :LOOKAHEAD]], dim=1)
        return self.flow.setup_cache(tokens, self.prompt_mel, self.speaker, n_timesteps=10)

    def flow_chunk(self):
        """Chunks 4 to 6 of a stream, the trimming of the cache included."""
        cache, samples = self.set_up(), []
        for _ in range(6):
            start = time.perf_counter()
            _, cache = self.flow.inference_chunk(token=self.codes(CHUNK_CODES + LOOKAHEAD), spk=self.speaker, cache=cache,
                                                 last_chunk=False, n_timesteps=10)
            kept = cache["estimator_att_cache"]
            if kept.shape[4] > PROMPT_FRAMES + TAIL_FRAMES:
                parts = [kept[:, :, :, :, :PROMPT_FRAMES], kept[:, :, :, :, -TAIL_FRAMES:]]
                cache["estimator_att_cache"] = self.torch.cat(parts, dim=4)
            samples.append(1e3 * (time.perf_counter() - start))
        return samples[3:]

    def flow_whole(self):
        codes = self.codes(WHOLE_CODES)
        return timed(lambda: self.flow.inference(codes, self.count(WHOLE_CODES), self.prompt, self.count(PROMPT_CODES),
                                                 self.prompt_mel, self.count(PROMPT_FRAMES), self.speaker, 10), 1)

    def flow_voice(self):
        return timed(self.set_up, 1)

    def run_vocoder(self, frames, kept):
        mel, source = self.torch.randn(1, 80, frames), self.torch.zeros(1, 1, 480 * kept)
        return timed(lambda: self.vocoder(mel, source), 4)[1:]

    def vocoder_chunk(self):
        return self.run_vocoder(2 * CHUNK_CODES + KEPT_FRAMES, KEPT_FRAMES)

    def vocoder_whole(self):
        return self.run_vocoder(2 * WHOLE_CODES, 0)

    def speech_tokenizer(self):
        mel = self.torch.randn(1, 128, 904)
        return timed(lambda: self.tokenizer.quantize(mel, self.count(904)), 4)[1:]

    def speaker_vector(self):
        features = self.torch.randn(1, 902, 80)
        return timed(lambda: self.speaker_encoder(features), 4)[1:]


def run_ours(sa2, threads, row_filter):
    """Milliseconds of each row of sa2 bench parts whose name holds the filter."""
    command = [sa2, "bench", "parts", "--json", "--threads", str(threads), "--seconds", "2", "--filter", row_filter]
    lines = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()
    rows = [json.loads(line) for line in lines]
    return {row["case"]: row["p50"] for row in rows if row["samples"] > 0}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sa2", required=True)
    parser.add_argument("--sources", required=True)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--turns", type=int, default=2)
    parser.add_argument("--rows", nargs="+", choices=list(ROWS), default=list(ROWS))
    options = parser.parse_args()
    rows = {name: peers for group in options.rows for name, peers in ROWS[group].items()}
    peers = Peers(options.sources, options.threads, options.rows)
    ours, theirs = {}, {}
    with peers.torch.inference_mode():
        for _ in range(options.turns):
            for name in sorted({peer for needed in rows.values() for peer in needed}):
                theirs.setdefault(name, []).extend(getattr(peers, name)())
            for row_filter in [text for group in options.rows for text in FILTERS[group]]:
                for name, ms in run_ours(options.sa2, options.threads, row_filter).items():
                    ours.setdefault(name, []).append(ms)
    print(f"{'row':28} {'sa2 ms':>9} {'PyTorch ms':>11} {'ratio':>6}   turns {options.turns}, threads {options.threads}")
    for name, needed in rows.items():
        mine = statistics.median(ours[name])
        peer = sum(statistics.median(theirs[part]) for part in needed)
        print(f"{name:28} {mine:9.1f} {peer:11.1f} {peer / mine:6.2f}")


if __name__ == "__main__":
    main()
