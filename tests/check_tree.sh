#!/usr/bin/env bash
# check_tree.sh SOURCE BUILD - the rules of the tree: who may include whom, how long a file may be, that
# headers say what they are and compile alone.
set -u
cd "$1" || exit 1
failed=0
fail() {
    echo "$*"
    failed=1
}

# folder: the folders whose headers it may include
allowed() {
    case $1 in
    kernels/base) echo kernels/base ;;
    kernels/*) echo kernels ;;
    kernels) echo kernels ;;
    loader) echo loader kernels/base ;;
    tokenizer) echo tokenizer kernels/base ;;
    runtime | runtime/*) echo runtime kernels loader tokenizer ;;
    tools | tools/*) echo tools bench runtime kernels loader tokenizer ;;
    bench | bench/*) echo bench tools runtime kernels loader tokenizer ;;
    *) echo . ;;
    esac
}

sources=$(git ls-files 'kernels/*.[ch]' 'loader/*.[ch]' 'tokenizer/*.[ch]' 'runtime/*.[ch]' 'tools/*.[ch]' 'bench/*.[ch]' 'tests/*.[ch]' \
    'kernels/cuda/*.cu*' 'tests/cudasim/*.cu*' 'tests/cudasim/*.cc' 2>/dev/null)
[ -n "$sources" ] || sources=$(find kernels loader tokenizer runtime tools bench tests -name '*.[ch]' -o -name '*.cu' -o -name '*.cuh' -o -name '*.cc')

for file in $sources; do
    may=$(allowed "$(dirname "$file")")
    if [ "$may" != . ]; then
        for header in $(sed -n 's/^#include "\(.*\)"$/\1/p' "$file"); do
            ok=0
            for folder in $may; do
                case $header in "$folder"/*) ok=1 ;; esac
            done
            [ $ok = 1 ] || fail "$file includes $header"
        done
    fi
    lines=$(wc -l <"$file")
    case $file in
    *_table.c | *_data.c) ;; # tables by the hundred
    *) [ "$lines" -le 600 ] || fail "$file has $lines lines, 600 are the most" ;;
    esac
    case $file in
    kernels/cuda/* | tests/cudasim/* | runtime/serving/comm_nccl.c) ;;
    *) grep -q '#include [<"]\(cuda\|nccl\|cublas\)' "$file" && fail "$file includes a CUDA header" ;;
    esac
done

for header in $(printf '%s\n' $sources | grep -E '\.(h|cuh)$'); do
    head -n 1 "$header" | grep -q "^/\* $(basename "$header") - " || fail "$header does not say in its first line what it is"
    case $header in
    *.cuh | tests/cudasim/*) continue ;; # of CUDA, or of the simulator in C++
    *_avx2.h | *_avx512.h | *_amx.h | *_body.h | *_c.h | kernels/cpu/linear_*.h) continue ;; # parts of a vector file
    esac
    printf '#include "%s"\n' "$header" >"$2/alone.c"
    ${CC:-gcc} -std=c17 -D_POSIX_C_SOURCE=200809L -I. -mavx2 -mfma -fsyntax-only "$2/alone.c" 2>"$2/alone.err" ||
        fail "$header does not compile alone: $(head -n 2 "$2/alone.err" | tr '\n' ' ')"
done

git grep -n -I -E '\b(TODO|FIXME|XXX)\b' -- '*.c' '*.h' '*.sh' 2>/dev/null | grep -v check_tree && fail "a mark of unfinished work"
exit $failed
