#!/usr/bin/env bash
# gpu_check.sh [--device NAME] [--out DIR] [--seconds N] [--only STEP,STEP,...] - what sa2 is on the GPU of this machine: right, then
# how fast. It stands at the head of the folder that `make gpu-kit` packs and needs nothing but that, a driver and, for the step
# `sanitizer`, the CUDA toolkit.
#
# Steps run in the order of their importance, and both reports grow with each: DIR/report.md to read, DIR/report.json with an object
# a line. When the time is up, what is left is named and not run. Status 0: all steps passed; 1: one failed; 69: no such device.
set -u
kit=$(cd "$(dirname "$0")" && pwd)
device=cuda out=gpu-report seconds=530 only=
while [ $# -gt 1 ]; do
    case $1 in
    --device) device=$2 ;;
    --out) out=$2 ;;
    --seconds) seconds=$2 ;;
    --only) only=,$2, ;;
    *) break ;;
    esac
    shift 2
done
[ $# = 0 ] || { sed -n 's/^# \(gpu_check.sh .*\) - .*/usage: \1/p' "$0" >&2; exit 64; }
export LD_LIBRARY_PATH=$kit/lib${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}
sa2=$kit/bin/sa2
mkdir -p "$out/logs" && out=$(cd "$out" && pwd) || exit 73
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
began=$SECONDS failed=0

"$sa2" doctor --device "$device" >"$work/doctor" 2>&1 || { grep -m 1 '^sa2 doctor: ' "$work/doctor"; exit 69; }

# The simulated device of the tests has no time to lose: small sizes, one run of each.
preset=mini bench_seconds=0.5 small= depth= asks='decode\nprefill\nencoder\nfront_end\n' batches='--batches 1,8,32,128'
case $device in
*-sim*) preset=tiny bench_seconds=0 small=--small depth='--layers 1 --blocks 1' asks='decode/1\n' batches='--batches 2 --prompt 8 --length 3' ;;
esac

say() { printf '%s\n' "$*" | tee -a "$out/report.md"; }

# Lines of JSON as a report shows them: case, value, time of one run, share of its ceiling.
rows() {
    awk 'function field(name,   at) {
             at = match($0, "\"" name "\":(\"[^\"]*\"|[^,}]*)")
             return at ? substr($0, at + length(name) + 3, RLENGTH - length(name) - 3) : ""
         }
         { gsub(/\\"/, ""); unit = field("unit"); what = field("case"); ceiling = field("ceiling"); gsub(/"/, "", unit)
           gsub(/"/, "", what); gsub(/"/, "", ceiling)
           printf "    %-34s %12.4g %-9s %10.1f us", what, field("value"), unit, 1e3 * field("p50")
           if (ceiling != "") printf "  %5.1f %% of %s", 100 * field("share_of_ceiling"), ceiling
           print "" }'
}

# step NAME LIMIT COMMAND...: its output goes to logs/NAME, what it measured (lines of JSON) to the reports.
step() {
    local name=$1 limit=$2 left=$((seconds - SECONDS + began)) start=$SECONDS status log=$out/logs/$1
    shift 2
    [ -z "$only" ] || [ "${only#*,"$name",}" != "$only" ] || return 0
    if [ "$left" -lt 5 ]; then
        say "- \`$name\`: not run, the time was up"
        return 0
    fi
    timeout -k 5 $((limit < left ? limit : left)) "$@" >"$log" 2>&1
    status=$?
    [ $status = 0 ] || failed=1
    printf '{"step":"%s","status":%d,"seconds":%d}\n' "$name" $status $((SECONDS - start)) >>"$out/report.json"
    grep '^{' "$log" >>"$out/report.json"
    say "- \`$name\`: $([ $status = 0 ] && echo passed || echo "FAILED (status $status)"), $((SECONDS - start)) s. $(grep -v '^{' "$log" | tail -n 1)"
    [ $status = 0 ] || grep -v '^{' "$log" | tail -n 12 | sed 's/^/    /' | tee -a "$out/report.md"
    grep '^{' "$log" | rows | tee -a "$out/report.md"
}

say "# sa2 on $device, $(date -u +%Y-%m-%d)"
say ""
sed 's/^/    /' "$work/doctor" | tee -a "$out/report.md"
nvidia-smi --query-gpu=name,driver_version,clocks.sm,clocks.mem,power.limit,memory.total --format=csv,noheader 2>/dev/null |
    sed 's/^/    /' | tee -a "$out/report.md"
say ""

# ---- right ----

operations() {
    local test status=0
    for test in "$kit"/bin/test_*; do
        "$test" >"$work/test" 2>&1 || { status=1; grep -E 'ERROR|FAILED|Error' "$work/test" | head -n 20; echo "FAILED $(basename "$test")"; continue; }
        echo "passed $(basename "$test"): $(grep -c '       OK ' "$work/test") tests"
    done
    return $status
}

golden() { # DTYPE
    cd "$kit/tests/golden" && "$sa2" check --quiet --device "$device" --dtype "$1" \
        language_model/[!r]*.safetensors token2wav/[!r]*.safetensors # resamplers run on the processor anyway
}

# Greedy tokens of the engine are those of the processor, and in a batch those that it gives alone.
tokens() {
    local text n=0
    "$sa2" make-checkpoint -q --preset tiny --tokenizer "$kit/tests/golden/tiny_tokenizer" "$work/model" || return 1
    for text in "hi there" "a longer question, which fills more than one row of tiles and then some more of them"; do
        for on in cpu "$device" "$device"; do
            n=$((n + 1))
            "$sa2" chat -m "$work/model" --device $on --text "$text" --max-tokens 12 --ignore-eos --temperature 0 --json >"$work/$n" || return 1
            grep -o '"ids":\[[^]]*\]' "$work/$n" >"$work/ids.$n"
        done
        cmp "$work/ids.$((n - 2))" "$work/ids.$((n - 1))" && cmp "$work/ids.$n" "$work/ids.$((n - 1))" || return 1
    done
    echo "$n answers, the same on cpu and $device, twice"
}

# Greedy tokens with steps as graphs and without.
graphs() {
    local on
    "$sa2" make-checkpoint -q --preset tiny --tokenizer "$kit/tests/golden/tiny_tokenizer" "$work/graphs" || return 1
    for on in "" --cuda-graphs; do
        "$sa2" chat -m "$work/graphs" --device "$device" $on --text "a question of some length" --max-tokens 12 --ignore-eos --temperature 0 --json |
            grep -o '"ids":\[[^]]*\]' >"$work/graphs.ids$on" || return 1
    done
    cmp "$work/graphs.ids" "$work/graphs.ids--cuda-graphs" && echo "the same tokens with graphs and without"
}

# Drawn tokens, and greedy ones with penalties, chosen on the host, on the device, and there by steps that run ahead.
sampling() {
    local on how
    "$sa2" make-checkpoint -q --preset tiny --tokenizer "$kit/tests/golden/tiny_tokenizer" "$work/sampling" || return 1
    for how in "--temperature 0 --repetition-penalty 1.3" "--top-k 20 --seed 7 -n 2" "--top-p 0.9 --min-p 0.01 --presence-penalty 0.5 --seed 8"; do
        for on in host device "device --run-ahead"; do
            # shellcheck disable=SC2086
            "$sa2" chat -m "$work/sampling" --device "$device" --sampling $on $how --text "a question" --max-tokens 8 --ignore-eos --logprobs 0 --json >"$work/sampled" || return 1
            grep -oE '"(ids|logprob)":(\[[^]]*\]|[^,}]*)' "$work/sampled" >"$work/sampled.$on" || return 1
        done
        cmp "$work/sampled.host" "$work/sampled.device" && cmp "$work/sampled.host" "$work/sampled.device --run-ahead" || return 1
    done
    echo "the same tokens and log-probabilities from host and device, and from steps that run ahead"
}

# Golden cases in bf16 with products of more than 16 rows cut in other ways than they would be.
forms() {
    cd "$kit/tests/golden" || return 1
    local how
    for how in cluster=2 cluster=4 tile=192,cluster=4,split=yes tile=64,cluster=2,split=yes; do
        echo "$how"
        "$sa2" check --quiet --device "$device" --dtype bf16 --large-products "own,$how" \
            language_model/[!r]*.safetensors token2wav/flow_*.safetensors || return 1
    done
}

# Golden cases in bf16 with every product that cuBLASLt can have, where that library is: it is none of the driver's.
large_products() {
    cd "$kit/tests/golden" || return 1
    "$sa2" check --quiet --device "$device" --dtype bf16 --large-products cublaslt,rows=1 \
        language_model/[!r]*.safetensors token2wav/flow_*.safetensors >"$work/large" 2>&1 && touch "$work/has_cublaslt"
    local status=$?
    grep -q 'cuBLASLt: .*cannot open' "$work/large" && { echo "left out: $(grep -m 1 -o 'cuBLASLt: .*' "$work/large")"; return 0; }
    cat "$work/large"
    return $status
}

# The model that really hears and speaks: transcripts as the processor writes them, one by one and in one batch.
nano() {
    local q=$kit/bin/models/nano/questions
    "$sa2" transcribe -m nano --device cpu "$q"/{1,3,5,7}.flac >"$work/cpu" || return 1
    "$sa2" transcribe -m nano --device "$device" "$q"/{1,3,5,7}.flac >"$work/batch" || return 1
    for i in 1 3 5 7; do
        "$sa2" transcribe -m nano --device "$device" "$q/$i.flac" || return 1
    done >"$work/alone"
    paste -d'|' "$work/cpu" "$work/batch" "$work/alone"
    "$sa2" chat -m nano --device "$device" --audio "$q/3.flac" --voice anna --temperature 0 --max-tokens 300 -o "$work/reply.wav" || return 1
    cp "$work/reply.wav" "$out/reply.wav"
    cmp "$work/cpu" "$work/batch"
}

# Every part of the model under a tool of compute-sanitizer: bounds, races, barriers, what was never written.
sanitizer() { # TOOL
    command -v compute-sanitizer >/dev/null || { echo "left out: no compute-sanitizer"; return 0; }
    cd "$kit/tests/golden" && compute-sanitizer --tool "$1" --error-exitcode 1 --print-limit 20 "$sa2" check --quiet --device "$device" \
        language_model/{mel128_short,audio_encoder_len480,decoder_short}.safetensors \
        token2wav/{flow_dit_stream,flow_encoder_stream,speech_tokenizer_37,speaker_head,fbank_speech,vocoder_stream_single}.safetensors
}

[ "$device" != cuda ] || step probe 30 "$kit/bin/cuda_probe"
export -f operations golden tokens graphs sampling forms large_products nano sanitizer
export kit sa2 device out work
step operations 120 bash -c operations
step golden 90 bash -c 'golden f32'
step golden_bf16 60 bash -c 'golden bf16'
step tokens 30 bash -c tokens
step graphs 30 bash -c graphs
step sampling 60 bash -c sampling
step forms 90 bash -c forms
[ "$device" != cuda ] || step large_products 60 bash -c large_products
[ $preset = tiny ] || step nano 60 bash -c nano

# ---- fast ----

bench() { # NAME LIMIT BENCH FILTER...
    local name=$1 limit=$2 which=$3
    shift 3
    # shellcheck disable=SC2086
    step "$name" "$limit" "$sa2" bench "$which" --device "$device" --json "$@"
}
bench ceilings 30 kernel $small --seconds "$bench_seconds" --filter ceiling
# One load of the weights for all of these.
understand() { printf "$asks" | "$sa2" bench parts --ask --device "$device" --threads "$(nproc)" --json "$@"; }
export -f understand
export asks
# shellcheck disable=SC2086
step understand 150 bash -c 'understand "$@"' understand --preset $preset $depth --seconds "$bench_seconds"
bench speech 90 parts --preset $preset --seconds "$bench_seconds" --threads "$(nproc)" --filter s/bf16
bench speech_graphs 60 parts --preset $preset --seconds "$bench_seconds" --threads "$(nproc)" --filter s/bf16 --cuda-graphs
bench vocoder 40 parts --preset $preset --seconds "$bench_seconds" --threads "$(nproc)" --filter vocoder
bench generate 150 generate --preset $preset ${depth% --blocks*} $batches --threads "$(nproc)"
bench generate_graphs 90 generate --preset $preset ${depth% --blocks*} $batches --threads "$(nproc)" --cuda-graphs
bench generate_sampling 90 generate --preset $preset ${depth% --blocks*} $batches --threads "$(nproc)" --sampling device
bench generate_run_ahead 90 generate --preset $preset ${depth% --blocks*} $batches --threads "$(nproc)" --sampling device --run-ahead
bench generate_clusters 90 generate --preset $preset ${depth% --blocks*} $batches --threads "$(nproc)" --large-products own,cluster=auto
# shellcheck disable=SC2086
step understand_clusters 90 bash -c 'understand "$@"' understand --preset $preset $depth --seconds "$bench_seconds" --large-products own,cluster=auto
bench generate_cache_int8 90 generate --preset $preset ${depth% --blocks*} $batches --threads "$(nproc)" --kv-cache-dtype int8
# Prompts in steps of 2048 rows, by our own products and by the library's.
prompts="--batches 1,2 --prompt 4096 --length 2 --max-num-batched-tokens 2048"
if [ -e "$work/has_cublaslt" ]; then
    bench generate_prompts 60 generate --preset $preset $prompts --threads "$(nproc)"
    bench generate_prompts_cublaslt 60 generate --preset $preset $prompts --threads "$(nproc)" --large-products cublaslt
    for of in gate_up down qkv; do
        bench large_$of 40 kernel --seconds "$bench_seconds" --filter "linear/$of" --rows 512,1024,2048,4096
    done
fi
# Large products by clusters of one, two and four blocks, and of as many as should be.
for n in 1 2 4 auto; do
    bench clusters_$n 25 kernel $small --seconds "$bench_seconds" --filter linear/gate_up --rows 128,512,2048 --large-products "own,cluster=$n"
done
for quant in int8 int4 fp8; do # on the simulated device in tests/check_cuda_sim.sh
    [ "$device" != cuda ] || bench accuracy_$quant 30 accuracy --preset tiny --quant $quant "$kit"/tests/golden/language_model/[!r]*.safetensors
done
bench kernels 90 kernel $small --seconds "$bench_seconds"
for tool in memcheck racecheck synccheck initcheck; do
    [ "$device" != cuda ] || step $tool 60 bash -c "sanitizer $tool"
done

say ""
say "$((SECONDS - began)) s in all."
exit $failed
