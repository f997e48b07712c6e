#!/bin/bash
# The script that a machine with a GPU runs (tools/gpu_check.sh), here on the simulated device: what it reports, and what it says
# where there is no device, where a step fails and where the time is up.
set -eu
source_dir=$1 build=$2
if "$build/sa2" doctor --device cuda-sim 2>&1 | grep -q 'this build has'; then
    echo "skipped: this build has no simulated GPU"
    exit 0
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
# The kit has the kernels as a shared library, which knows these two and nothing else.
nm --defined-only "$build"/kernels/libsa2_{base,cublaslt}.a "$build/tests/cudasim/libsa2_cuda_sim.a" | awk '{print $3}' | sort -u >"$work/there"
nm --undefined-only "$build/tests/cudasim/libsa2_cuda_sim.a" | awk '$2 ~ /^sa2_/ {print $2}' | sort -u >"$work/wanted"
[ -s "$work/wanted" ]
missing=$(comm -13 "$work/there" "$work/wanted")
[ -z "$missing" ] || { echo "not in kernels/base/:" $missing; exit 1; }

mkdir -p "$work/kit/bin"
cp "$source_dir/tools/gpu_check.sh" "$work/kit/"
ln -s "$source_dir/tests" "$work/kit/tests"
ln -s "$build/sa2" "$build/tests/test_rope" "$work/kit/bin/"
check() { # STATUS ARGUMENTS...: the script ends so; what it printed is in $work/said
    local expected=$1 status=0
    shift
    "$work/kit/gpu_check.sh" --out "$work/out" "$@" >"$work/said" 2>&1 || status=$?
    [ $status = "$expected" ] || { echo "status $status, $expected expected:"; cat "$work/said"; exit 1; }
}
says() { grep -q "$1" "$work/said" || { echo "\"$1\" expected:"; cat "$work/said"; exit 1; }; }

check 0 --device cuda-sim --only operations,ceilings,understand,understand_clusters,generate,generate_run_ahead,generate_cache_int8,clusters_auto
says '^- `operations`: passed.* passed test_rope: [1-9]'
says '^ *read  *[0-9.]* GB/s'
says '^ *decode/1  *[0-9.e+]* tokens/s  *[0-9.]* us'
says '^ *generate/2  *[0-9.e+]* tokens/s'
says '^- `generate_cache_int8`: passed'
says '^- `understand_clusters`: passed'
says '^ *linear/gate_up/512  *[0-9.e+]* GFLOP/s'
says '^- `generate_run_ahead`: passed'
says '^ *generate/2/steps_ahead  *[1-9][0-9.]* %'
grep -q '"step":"understand","status":0' "$work/out/report.json" && grep -q '"case":"decode/1"' "$work/out/report.json" &&
    grep -q '^- `understand`: passed' "$work/out/report.md" || { echo "the reports:"; tail -n 5 "$work/out"/report.*; exit 1; }

printf '#!/bin/sh\necho "       OK of one"; echo "ERROR: row 3 differs"; exit 1\n' >"$work/kit/bin/test_broken"
chmod +x "$work/kit/bin/test_broken"
check 1 --device cuda-sim --only operations
says '^- `operations`: FAILED (status 1)'
says 'row 3 differs'

check 0 --device cuda-sim --only ceilings --seconds 4
says '`ceilings`: not run, the time was up'

check 69 --device cuda-sim:9
says ':9: this machine has 2, the last is'
check 64 --device
