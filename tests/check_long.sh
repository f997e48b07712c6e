#!/usr/bin/env bash
# check_long.sh BUILD - every fuzz target for a minute ($SA2_FUZZ_SECONDS), built with clang beside BUILD. What a
# target finds it writes to build-fuzz/found/, where the next run begins with it; what it has learnt, to build-fuzz/learnt/.
# Then conversions to a native file are killed 50 times, and a recogniser judges what nano hears and says
# ($NANO_PYTHON: a Python with tools/nano/requirements.txt, else one is made; espeak-ng makes the questions).
set -u
build=$(realpath -m "${1:?check_long.sh BUILD}")
source=$(realpath "$(dirname "$0")/..")
fuzz=$(dirname "$build")/build-fuzz
seconds=${SA2_FUZZ_SECONDS:-60}

command -v clang >/dev/null || { echo "clang is needed: apt-get install clang"; exit 1; }
cmake -S "$source" -B "$fuzz" -G Ninja -DCMAKE_C_COMPILER=clang -DSA2_FUZZ=ON \
    -DSA2_SANITIZE=address,undefined >/dev/null || exit 1
cmake --build "$fuzz" --target fuzz || exit 1

failed=
for target in "$fuzz"/tests/fuzz_*; do
    name=${target##*/fuzz_}
    learnt=$fuzz/learnt/$name found=$fuzz/found/$name
    mkdir -p "$learnt" "$found"
    # A refusal costs no more than the input: 2 GB and 25 s are far above what any target needs.
    if "$target" -max_total_time="$seconds" -timeout=25 -rss_limit_mb=2048 -max_len=16384 -print_final_stats=1 \
        -artifact_prefix="$found/" "$learnt" "$source/tests/fuzz/corpus/$name" "$found" >"$fuzz/$name.log" 2>&1; then
        echo "ok      $name, $(sed -n 's/^stat::number_of_executed_units: *//p' "$fuzz/$name.log") inputs"
    else
        failed="$failed $name"
        echo "FAILED  $name, see $fuzz/$name.log:"
        grep -a -m 1 -E 'ERROR|broken promise|runtime error' "$fuzz/$name.log"
    fi
done
SA2_KILLS=50 bash "$source/tests/check_native.sh" "$source" "$build" || failed="$failed native"

judge_nano() {
    export NANO_WORK=$(dirname "$build")/build-judge OMP_NUM_THREADS=1
    local python=${NANO_PYTHON:-$NANO_WORK/venv/bin/python} nano=$source/tools/nano
    mkdir -p "$NANO_WORK"
    if [ ! -x "$python" ]; then
        python3 -m venv "$NANO_WORK/venv" && "$NANO_WORK/venv/bin/pip" install -q -r "$nano/requirements.txt" || return 1
    fi
    { [ -e "$NANO_WORK/inputs.pt" ] || "$python" "$nano/synthesise.py" tests; } &&
        "$python" "$nano/evaluate.py" "$build/sa2" "$build/models/nano" 40
}
if command -v espeak-ng >/dev/null; then
    judge_nano || failed="$failed nano"
else
    echo "skipped nano: espeak-ng is needed"
fi
[ -z "$failed" ] || { echo "failed:$failed"; exit 1; }
