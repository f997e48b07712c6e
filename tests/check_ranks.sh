#!/usr/bin/env bash
# check_ranks.sh SOURCE BUILD - several ranks as a user meets them: the same words under mpirun, torchrun's and srun's
# variables as from one process, what is refused, and what is said when a rank is killed or stopped.
set -u
sa2=$2/sa2
. "$1/tests/support/expect.sh"

# What MPI itself leaves behind when a process ends is no leak of ours.
export ASAN_OPTIONS=detect_leaks=0${ASAN_OPTIONS:+:$ASAN_OPTIONS}
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 OMPI_MCA_mpi_yield_when_idle=1

model=$work/tiny native=$work/tiny.sa2
expect 0 "" "$sa2" make-checkpoint -q "$model"
expect 0 "" "$sa2" convert -q "$model" "$native"
wav "$work/a.wav" 24000

# words LAUNCHER...: greedy, in f32, so that no near tie tells ranks apart
words() {
    "$@" "$sa2" transcribe -m "$model" --dtype f32 --max-tokens 24 --quiet --keep-special "$work/a.wav" </dev/null &&
        "$@" "$sa2" chat -m "$model" --dtype f32 --max-tokens 24 --temperature 0 --keep-special --text "Why?" </dev/null
}

# with_variables N PORT COMMAND...: N processes as torchrun starts them; the output of all is one
with_variables() {
    local n=$1 port=$2 rank pids=() code=0
    shift 2
    for ((rank = n - 1; rank >= 0; rank--)); do
        RANK=$rank WORLD_SIZE=$n LOCAL_RANK=$rank LOCAL_WORLD_SIZE=$n MASTER_ADDR=127.0.0.1 MASTER_PORT=$port "$@" &
        pids+=($!)
    done
    for rank in "${pids[@]}"; do wait "$rank" || code=$?; done
    return $code
}

# The same as Slurm's steps, without its MPI.
with_slurm_variables() {
    local n=$1 rank pids=() code=0
    shift
    for ((rank = n - 1; rank >= 0; rank--)); do
        SLURM_PROCID=$rank SLURM_STEP_NUM_TASKS=$n SLURM_LOCALID=$rank SLURM_STEP_NUM_NODES=1 SLURM_JOB_ID=$$ "$@" &
        pids+=($!)
    done
    for rank in "${pids[@]}"; do wait "$rank" || code=$?; done
    return $code
}

port=$((20000 + $$ % 20000))
words env >"$work/one" 2>"$work/err" || fail "one rank: $(tail -n 1 "$work/err")"
[ -s "$work/one" ] || fail "one rank says nothing"
for n in 2 4; do
    words with_variables $n $port >"$work/several" 2>"$work/err" || fail "$n ranks at a port: $(tail -n 1 "$work/err")"
    cmp "$work/one" "$work/several" || fail "$n ranks at a port say something else"
    port=$((port + 2))
done
words with_slurm_variables 2 >"$work/several" 2>"$work/err" || fail "Slurm's variables: $(tail -n 1 "$work/err")"
cmp "$work/one" "$work/several" || fail "2 ranks by Slurm's variables say something else"

expect 64 "RANK: a number from 0 to 1 expected" env RANK=2 WORLD_SIZE=2 MASTER_PORT=$port "$sa2" chat -m "$model" --text a
expect 64 "--rank-timeout: 1 to 86400 expected" "$sa2" chat -m "$model" --text a --rank-timeout -1
expect 66 "nobody answers" env RANK=1 WORLD_SIZE=2 MASTER_ADDR=127.0.0.1 MASTER_PORT=$port "$sa2" chat -m "$model" --text a --rank-timeout 1
expect 69 "nothing came from rank 1" env RANK=0 WORLD_SIZE=2 MASTER_PORT=$port "$sa2" chat -m "$model" --text a --rank-timeout 1

if ! command -v mpirun >/dev/null || ! ldd "$sa2" | grep -q libmpi; then
    expect 69 "this build has no MPI" env OMPI_COMM_WORLD_RANK=0 OMPI_COMM_WORLD_SIZE=2 "$sa2" chat -m "$model" --text a
    echo "skipped: mpirun"
    exit $failed
fi

mpi() {
    local n=$1
    shift
    mpirun --oversubscribe -n "$n" "$@"
}

for n in 2 4; do
    for model in "$work/tiny" "$native"; do
        words mpi $n >"$work/several" 2>"$work/err" || fail "mpirun -n $n: $(tail -n 1 "$work/err")"
        cmp "$work/one" "$work/several" || fail "mpirun -n $n says something else with $model"
    done
done
model=$work/tiny
expect 0 "memory: rank 1 " mpi 2 "$sa2" chat -m "$model" --max-tokens 2 --text a -v
grep -q "ranks: 2, by MPI" "$work/err" || fail "no word about the ranks: $(tail -n 3 "$work/err")"
expect 69 "3 ranks: a number that divides the model's 4 key-value heads expected" mpi 3 "$sa2" chat -m "$model" --text a
expect 66 "/nowhere" mpi 2 "$sa2" chat -m /nowhere --text a
expect 0 "tokens/s" mpi 2 "$sa2" bench generate --preset tiny --prompt 8 --length 4 -f generate/8
expect 0 "Avg bus bandwidth" mpi 2 "$sa2" bench comm -e 64K -f 8 -n 3
grep -q "# Out of bounds values : 0 OK" "$work/out" || fail "bench comm: wrong elements"
for collective in broadcast gather; do
    expect 0 "values : 0 OK" mpi 4 "$sa2" bench comm --collective $collective -e 64K -f 8 -n 3
done
expect 0 '"ranks":2' mpi 2 "$sa2" bench comm -e 1K --json
expect 64 "all_reduce, broadcast or gather expected" "$sa2" bench comm --collective all
expect 64 "4 <= b <= e" "$sa2" bench comm -b 2K -e 1K
expect 64 "-f: 2 to" "$sa2" bench comm -f 1

# disaster SIGNAL: rank 1 gets it in the middle of a long answer. Rank 0 must be gone 20 s later.
disaster() {
    rm -f "$work"/pid.* "$work/out"
    mpi 2 bash -c 'echo $$ >"$0/pid.$OMPI_COMM_WORLD_RANK"; exec "$@"' "$work" \
        "$sa2" chat -m "$model" --max-tokens 4000 --ignore-eos --text a --rank-timeout 5 >"$work/out" 2>"$work/err" </dev/null &
    local launcher=$! began
    for _ in $(seq 600); do
        [ -s "$work/out" ] && break
        sleep 0.1
    done
    [ -s "$work/out" ] || fail "no word came before the disaster: $(tail -n 1 "$work/err")"
    kill -"$1" "$(cat "$work/pid.1")"
    began=$SECONDS
    wait $launcher && fail "SIG$1 to rank 1: mpirun ended well"
    [ $((SECONDS - began)) -lt 20 ] || fail "SIG$1 to rank 1: the end took $((SECONDS - began)) s"
    for rank in 0 1; do # mpirun is gone a moment before those that it kills
        for _ in $(seq 100); do
            kill -0 "$(cat "$work/pid.$rank")" 2>/dev/null || continue 2
            sleep 0.1
        done
        fail "SIG$1 to rank 1: rank $rank still runs"
    done
}
disaster STOP
grep -qE "rank 0 of 2: the .*: nothing came from rank 1 in 5.0 s" "$work/err" || fail "a stopped rank is not named: $(tail -n 3 "$work/err")"
disaster KILL
exit $failed
