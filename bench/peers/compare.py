#!/usr/bin/env python3
"""Times sa2 and other programs in turns on this machine and prints a table in Markdown.

A pair is one sample of ours and one of the peer, each with the machine's ceilings probed before and
after it. The ratio of a row is the median over its pairs: the machine changes within minutes, and that
changes both. See README.md beside this file.
"""
import argparse
import datetime
import json
import os
import re
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

HERE = Path(__file__).parent
CPUS = os.cpu_count()
IDLE = 0.15  # processors that others may use before a sample starts
DISTURBED = 0.10  # and while a quiet one runs
PROMPT, LENGTH = 16, 16  # tokens of each sequence in a decode sample of llama.cpp
CONTEXT = PROMPT + LENGTH // 2  # what a step of it sees, on average


# ---- how busy the machine is ----


def busy_seconds():
    """Processor time used since boot by anybody, stolen time included."""
    fields = [int(x) for x in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]]
    return (sum(fields) - fields[3] - fields[4]) / os.sysconf("SC_CLK_TCK")


def process_seconds(pid):
    after_name = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(after_name[11]) + int(after_name[12])) / os.sysconf("SC_CLK_TCK")


class Watch:
    """Processors that others used while the `with` block ran: `others`."""

    def __init__(self, resident=None):
        self.resident = resident  # a process of ours that stays alive over the block

    def reading(self):
        t = os.times()
        own = t.user + t.system + t.children_user + t.children_system
        if self.resident is not None:
            own += process_seconds(self.resident.pid)
        return time.monotonic(), busy_seconds() - own

    def __enter__(self):
        self.start = self.reading()
        return self

    def __exit__(self, *_):
        wall, used = (b - a for a, b in zip(self.start, self.reading()))
        self.others = max(0.0, used / wall)


def wait_until_idle(patience):
    end = time.monotonic() + patience
    while time.monotonic() < end:
        with Watch() as watch:
            time.sleep(0.7)
        if watch.others < IDLE:
            return


def output_of(command):
    done = subprocess.run([str(x) for x in command], capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"{' '.join(map(str, command))}: exit {done.returncode}\n{done.stderr[-2000:]}")
    return done.stdout


def json_lines(text):
    return [json.loads(line) for line in text.splitlines() if line.startswith("{")]


# ---- ours ----


class Ours:
    """`sa2 bench parts --ask`: the weights are made once, then a case is timed when it is asked for."""

    def __init__(self, args):
        self.command = [args.sa2, "bench", "parts", "--ask", "--json", "--layers", args.layers, "--threads",
                        args.threads, "--context", CONTEXT, "--seconds", args.seconds, "--quant", TYPES[args.type].quant]
        if args.lm_head:
            self.command += ["--lm-head", args.lm_head]
        self.probe_command = [args.sa2, "bench", "kernel", "--json", "--threads", args.threads, "--filter", "ceilings"]
        self.process = None

    def ask(self, case):
        if self.process is None:
            self.process = subprocess.Popen([str(x) for x in self.command], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                            stderr=subprocess.DEVNULL, text=True)
        self.process.stdin.write(case + "\n")
        self.process.stdin.flush()
        rows = []
        while (line := self.process.stdout.readline()) != "\n":
            if not line:
                sys.exit("sa2 bench parts ended early: run it by hand with --ask to see why")
            rows.append(json.loads(line))
        return [row for row in rows if row["bench"] == "parts"]

    def load(self):
        self.ask("nothing of this name")

    def stop(self):
        if self.process is not None:
            self.process.stdin.close()
            self.process.wait()
            self.process = None

    def probe(self):
        """{"read": bytes/s, "bf16 product": FLOP/s} now."""
        rows = {row["case"]: 1e9 * row["value"] for row in json_lines(output_of(self.probe_command))}
        product = rows.get("oneDNN bf16 product 2048^3", rows.get("bf16 in registers"))
        return {"read": rows["read"], "bf16 product": product}


# ---- peers: each returns (what exactly ran, figure in the row's unit) ----


class Peers:
    def __init__(self, args):
        self.bin, self.weights, self.python = (args.peers / x for x in ("bin", "weights", "python/bin/python"))
        self.threads = args.threads
        self.decoder = self.weights / f"decoder-{args.type}-{args.layers}.gguf"
        self.label = f"llama.cpp {args.type}"
        self.encoder_choice = None

    def decode(self, sequences):
        out = output_of([self.bin / "llama-batched-bench", "-m", self.decoder, "-t", self.threads, "-tb", self.threads,
                         "-npp", PROMPT, "-ntg", LENGTH, "-npl", sequences, "-b", 2048, "-ub", 512,
                         "-c", max(256, 2 * sequences * (PROMPT + LENGTH)), "--output-format", "jsonl"])
        return self.label, json_lines(out)[0]["speed_tg"]

    def prefill(self, rows):
        out = output_of([self.bin / "llama-bench", "-m", self.decoder, "-t", self.threads, "-p", rows, "-n", 0, "-r", 1,
                         "-o", "jsonl"])
        return self.label, json_lines(out)[0]["samples_ts"][0]

    def encoder_rate(self, build, flash):
        return 30.0 / float(output_of([self.bin / f"whisper_peer_{build}", "encoder", self.weights / "encoder.bin",
                                       self.threads, flash]))

    def choose_encoder(self):
        """The fastest of both builds with and without fused attention."""
        choices = [(build, flash) for build in ("default", "blocked") for flash in (0, 1)]
        self.encoder_choice = max(choices, key=lambda choice: self.encoder_rate(*choice))

    def encoder(self):
        build, flash = self.encoder_choice
        label = f"whisper.cpp f16, {build} products, {'fused' if flash else 'plain'} attention"
        return label, self.encoder_rate(build, flash)

    def mel(self):
        out = output_of([self.bin / "whisper_peer_blocked", "mel", self.weights / "encoder.bin", 1, 0])
        return "whisper.cpp log-mel", 25.0 / float(out)

    def tokenizer(self):
        seconds, n_bytes = map(float, output_of([self.python, HERE / "tokenizer_peer.py", self.weights / "tokenizer.json"]).split())
        return "tokenizers", 1e-6 * n_bytes / seconds


# ---- rows ----


@dataclass
class Sample:
    value: float  # in the row's unit
    ceiling: float  # mean of what the probes before and after found; 0: none is known
    others: float  # processors that others used meanwhile
    work: float = 0.0  # ours: bytes or operations of a unit of value


@dataclass
class Row:
    name: str
    unit: str
    case: str  # of `sa2 bench parts`
    peer: callable
    ceiling: str = ""
    aims: dict = field(default_factory=dict)  # least "ratio", "share" or "value"
    peer_label: str = ""
    ours: list = field(default_factory=list)
    theirs: list = field(default_factory=list)


@dataclass
class Type:
    quant: str  # ours, of as many bits
    decode: dict  # aims by batch
    prefill: dict


TYPES = {
    "bf16": Type("none", {1: {"share": 0.90}, 8: {"ratio": 1.35}, 32: {"ratio": 1.5}}, {"share": 0.80}),
    "q8_0": Type("int8", {1: {"share": 0.85, "ratio": 1.5}, 8: {"ratio": 2.0}, 32: {"ratio": 2.5}}, {"ratio": 3.0}),
    "q4_0": Type("int4", {1: {"share": 0.75, "ratio": 1.3}, 8: {}, 32: {}}, {"ratio": 1.8}),
}


def rows_of(peers, kind):
    rows = [Row(f"decode, batch {n}", "tokens/s", f"decode/{n}", lambda n=n: peers.decode(n), "read", aims)
            for n, aims in kind.decode.items()]
    rows += [
        Row("prefill, 512 tokens", "tokens/s", "prefill/512", lambda: peers.prefill(512), "bf16 product", kind.prefill),
        Row("encoder, 25 s", "x real time", "encoder/25s/1", peers.encoder, "bf16 product", {"share": 0.70, "ratio": 2.5}),
        Row("front end, 1 thread", "x real time", "front_end", peers.mel, aims={"value": 500}),
        Row("tokenizer, 1 thread", "MB/s", "tokenizer", peers.tokenizer, aims={"value": 20}),
    ]
    return rows


def sample(row, ours, run, patience):
    before = ours.probe().get(row.ceiling, 0.0)
    wait_until_idle(patience)
    with Watch(ours.process) as watch:
        result = run()
    return result, (before + ours.probe().get(row.ceiling, 0.0)) / 2, watch.others


def sample_ours(row, ours, patience):
    rows, ceiling, others = sample(row, ours, lambda: ours.ask(row.case), patience)
    result = rows[0]
    work = result.get("bytes" if row.ceiling == "read" else "flops", 0.0)
    row.ours.append(Sample(result["value"], ceiling, others, 1e3 * work / result["p50"] / result["value"]))


def sample_peer(row, ours, patience):
    (row.peer_label, value), ceiling, others = sample(row, ours, row.peer, patience)
    row.theirs.append(Sample(value, ceiling, others))


def measure(rows, ours, args, resident):
    """Row by row in turns; or all rows of ours and then all of the peers', where both do not fit into memory."""
    groups = [[row] for row in rows] if resident else [rows]
    for turn in range(args.rounds):
        for group in groups:
            ours.load()
            for row in group:
                sample_ours(row, ours, args.patience)
            if not resident:
                ours.stop()
            for row in group:
                sample_peer(row, ours, args.patience)
        print(f"round {turn + 1} of {args.rounds} done", file=sys.stderr)
    ours.stop()


# ---- the table ----


def number(x):
    return f"{x:.0f}" if x >= 100 else f"{x:.3g}"


def spread(values):
    return f"{number(statistics.median(values))} ({number(min(values))}–{number(max(values))})"


def verdict(row, figures, quiet):
    words = []
    for what, least in row.aims.items():
        text = {"ratio": f"{least:.3g} ×", "share": f"{100 * least:.0f} %", "value": f"{least:.3g}"}[what]
        answer = "yes" if figures[what] >= least else "**no**"
        words.append(f"≥ {text}: {answer if quiet else 'not judged'}")
    return ", ".join(words)


def line_of(row):
    """The quiet pairs, when there are three or nothing else; all pairs otherwise, and marked."""
    pairs = list(zip(row.ours, row.theirs))
    quiet = [pair for pair in pairs if max(half.others for half in pair) < DISTURBED]
    enough = len(quiet) >= min(3, len(pairs))
    ours, theirs = zip(*(quiet if enough else pairs))
    ratios = [a.value / b.value for a, b in zip(ours, theirs)]
    figures = {"ratio": statistics.median(ratios), "value": statistics.median(a.value for a in ours)}
    shares = ceilings = "–"
    if row.ceiling:
        # The peer is credited with the work that ours does for the same tokens or seconds.
        figures["share"] = statistics.median(a.value * a.work / a.ceiling for a in ours)
        peer_share = statistics.median(b.value * a.work / b.ceiling for a, b in zip(ours, theirs))
        shares = f"{100 * figures['share']:.0f} % / {100 * peer_share:.0f} %"
        unit = "GB/s" if row.ceiling == "read" else "GFLOP/s"
        ceilings = f"{row.ceiling}, {spread([1e-9 * half.ceiling for half in ours + theirs])} {unit}"
    state = f"quiet, {len(ours)} of {len(pairs)} pairs"
    if not enough:
        state = f"**disturbed**: others used {spread([x.others for x in ours + theirs])} CPU, {len(pairs)} pairs"
    cells = (f"{row.name}, {row.unit}", spread([a.value for a in ours]), row.peer_label, spread([b.value for b in theirs]),
             spread(ratios), shares, ceilings, verdict(row, figures, enough), state)
    return f"| {' | '.join(cells)} |"


def heading(args, resident, shape):
    model = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    versions = (args.peers / "versions").read_text().split("\n")
    return [
        f"## {datetime.date.today()}: sa2 {shape['commit']} and peers, {args.layers} layers",
        "",
        f"- Command: `compare.py --layers {args.layers} --rounds {args.rounds} --type {args.type} --threads {args.threads}"
        + (f" --lm-head {args.lm_head}" if args.lm_head else "") + (f" --only {args.only}" if args.only else "") + "`",
        f"- Machine: {model.group(1) if model else os.uname().machine}, {CPUS} processors, {memory:.0f} GiB; "
        f"{args.threads} threads; our instruction set: {shape['isa']}",
        f"- Peers: {', '.join(v for v in versions if v)}",
        f"- {'Ours stayed loaded beside the peer; pairs are seconds apart.' if resident else 'Both do not fit into memory: pairs are minutes apart.'}",
        "",
        "| row | sa2: median (range) | peer | median (range) | ratio | share of the ceiling: sa2 / peer | ceiling | aim | machine |",
        "|---|---|---|---|---|---|---|---|---|",
    ]


def both_fit(args):
    """Ours (decoder, encoder, cache), the peer's file and the probe's block, with a gigabyte to spare."""
    available = 1024 * int(re.search(r"MemAvailable:\s*(\d+)", Path("/proc/meminfo").read_text()).group(1))
    weights = (args.peers / "weights" / f"decoder-{args.type}-{args.layers}.gguf").stat().st_size
    return 2 * weights + (5 << 30) < available


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sa2", required=True, type=Path, help="our program")
    parser.add_argument("--peers", required=True, type=Path, help="the folder that build.sh filled")
    parser.add_argument("--layers", type=int, default=4, help="of the decoder (4); the release has 28")
    parser.add_argument("--rounds", type=int, default=5, help="pairs of each row (5)")
    parser.add_argument("--only", default="", help="rows whose name begins with it: decode, prefill, encoder, front end, tokenizer")
    parser.add_argument("--type", choices=TYPES, default="bf16",
                        help="of llama.cpp's weights, and so ours: none, int8, int4 (bf16)")
    parser.add_argument("--lm-head", choices=("none", "int8", "int4", "fp8"),
                        help="ours (as the other weights; int8 beside int4; the peer's is q6_K beside q4_0)")
    parser.add_argument("--threads", type=int, default=CPUS, help="of both (all processors)")
    parser.add_argument("--seconds", type=float, default=1.0, help="a sample of ours (1)")
    parser.add_argument("--patience", type=float, default=60.0, help="seconds to wait for idle processors before a sample (60)")
    args = parser.parse_args()
    ours, peers = Ours(args), Peers(args)
    rows = [row for row in rows_of(peers, TYPES[args.type]) if row.name.startswith(args.only)]
    if not rows:
        parser.error(f"--only {args.only}: no row's name begins with this")
    resident = both_fit(args)
    shape = json_lines(output_of(ours.probe_command))[0]
    if any(row.case.startswith("encoder") for row in rows):
        peers.choose_encoder()
    measure(rows, ours, args, resident)
    print("\n".join(heading(args, resident, shape) + [line_of(row) for row in rows]))


if __name__ == "__main__":
    main()
