#!/usr/bin/env bash
# build.sh DIR [LAYERS...] - fetches and builds the peers of compare.py, and makes their weights.
#
#   DIR/bin         the programs that compare.py runs
#   DIR/weights     decoder-TYPE-LAYERS.gguf for each LAYERS (4) and each of $TYPES (bf16),
#                   encoder.bin, tokenizer.json
#   DIR/python      numpy, gguf, tokenizers
#   DIR/versions    what was built, a line each
#
# LLAMA_SRC, WHISPER_SRC: check-outs to build instead of what the Python packages carry.
# SA2: our program, for the tokenizer's files (build/sa2). What is there already is kept.
set -euo pipefail
[ $# -ge 1 ] || { sed -n '2,12s/^# \?//p' "$0"; exit 64; }
here=$(cd "$(dirname "$0")" && pwd)
sa2=${SA2:-$(cd "$here/../.." && pwd)/build/sa2}
mkdir -p "$1"
dir=$(cd "$1" && pwd)
layers=("${@:2}")
[ ${#layers[@]} -gt 0 ] || layers=(4)
mkdir -p "$dir/bin" "$dir/weights" "$dir/sdist"

# package FOLDER: the path of FOLDER inside the source distribution of a Python package
unpacked() {
    local name=${1//-/_}
    if ! compgen -G "$dir/sdist/${name}-*/$2" >/dev/null; then
        pip download -q --no-deps --no-binary "$1" -d "$dir/sdist" "$1" >&2
        tar -xzf "$dir/sdist/${name}"-*.tar.gz -C "$dir/sdist"
    fi
    compgen -G "$dir/sdist/${name}-*/$2" | head -n 1
}

# version SOURCE: the package that it came in, or the commit of a check-out
version() {
    case $1 in
    "$dir"/sdist/*) cut -d / -f 1 <<<"${1#"$dir"/sdist/}" ;;
    *) git -C "$1" describe --always --tags ;;
    esac
}

# configured SOURCE BUILD OPTION...: cmake with what all peers share, as fast as this machine goes
configured() {
    cmake -G Ninja -S "$1" -B "$2" -DCMAKE_BUILD_TYPE=Release -DGGML_NATIVE=ON -DBUILD_SHARED_LIBS=OFF "${@:3}" >/dev/null
}

if [ ! -x "$dir/bin/llama-bench" ]; then
    source=${LLAMA_SRC:-$(unpacked llama-cpp-python vendor/llama.cpp)}
    # GCC 12 leaves most of a tile configuration unwritten before it is loaded; q8_0 and q4_0 then stop at once.
    sed -i 's|^\( *\)_tile_loadconfig(&tc);|\1__asm__ volatile("" : : "r"(\&tc) : "memory"); _tile_loadconfig(\&tc);|' \
        "$source/ggml/src/ggml-cpu/amx/mmq.cpp"
    configured "$source" "$dir/llama" -DLLAMA_CURL=OFF -DLLAMA_OPENSSL=OFF -DLLAMA_BUILD_SERVER=OFF \
        -DLLAMA_BUILD_TESTS=OFF -DLLAMA_BUILD_EXAMPLES=OFF -DLLAMA_BUILD_APP=OFF -DLLAMA_BUILD_UI=OFF
    cmake --build "$dir/llama" --target llama-bench llama-batched-bench
    cp "$dir"/llama/bin/llama-bench "$dir"/llama/bin/llama-batched-bench "$dir/bin"
    echo "llama.cpp $(version "$source")" >>"$dir/versions"
fi

# Twice: with its defaults, and with the blocked products that llama.cpp has by default.
for blocked in OFF ON; do
    program=$dir/bin/whisper_peer_$([ $blocked = ON ] && echo blocked || echo default)
    [ ! -x "$program" ] || continue
    source=${WHISPER_SRC:-$(unpacked pywhispercpp whisper.cpp)}
    build=$dir/whisper_$blocked
    configured "$source" "$build" -DGGML_LLAMAFILE=$blocked -DWHISPER_BUILD_TESTS=OFF \
        -DWHISPER_BUILD_EXAMPLES=OFF -DWHISPER_BUILD_SERVER=OFF
    cmake --build "$build" --target whisper
    cc -std=c17 -D_POSIX_C_SOURCE=200809L -O2 -I"$source/include" -I"$source/ggml/include" "$here/whisper_peer.c" \
        -o "$program" "$build"/src/libwhisper.a "$build"/ggml/src/libggml.a "$build"/ggml/src/libggml-cpu.a \
        "$build"/ggml/src/libggml-base.a -lstdc++ -lm -fopenmp -pthread
    [ $blocked = ON ] || echo "whisper.cpp $(version "$source")" >>"$dir/versions"
done

if [ ! -x "$dir/python/bin/python" ]; then
    python3 -m venv "$dir/python"
    "$dir/python/bin/pip" install -q numpy gguf tokenizers
    "$dir/python/bin/pip" list --format freeze | grep -E '^tokenizers==' >>"$dir/versions"
fi

# Random weights: what is compared is speed.
for type in ${TYPES:-bf16}; do
    for n in "${layers[@]}"; do
        file=$dir/weights/decoder-$type-$n.gguf
        [ -f "$file" ] || { "$dir/python/bin/python" "$here/make_gguf.py" "$file.part" --type "$type" --layers "$n" && mv "$file.part" "$file"; }
    done
done
file=$dir/weights/encoder.bin
[ -f "$file" ] || { "$dir/python/bin/python" "$here/make_whisper.py" "$file.part" && mv "$file.part" "$file"; }
if [ ! -f "$dir/weights/tokenizer.json" ]; then
    folder=$(mktemp -d)
    "$sa2" make-checkpoint --quiet --preset tiny "$folder/tiny"
    cp "$folder/tiny/tokenizer.json" "$dir/weights"
    rm -r "$folder"
fi
echo "ready: $here/compare.py --sa2 $sa2 --peers $dir --layers ${layers[0]}"
