#!/usr/bin/env bash
# gpu_kit.sh BUILD - packs BUILD/sa2-gpu-kit.tar.xz: what gpu_check.sh runs on a machine with a GPU and a driver, and every library
# that such a machine may lack, out of a build with CUDA (`make gpu-kit`). The folder it packs is left beside it.
set -eu
build=$(realpath "${1:?gpu_kit.sh BUILD}")
source=$(realpath "$(dirname "$0")/..")
kit=$build/sa2-gpu-kit
operations="attention attention_paged conv1d conv2d conv_transpose1d elementwise kv_store linear norms pool rope sample statistics stft waves"
rm -rf "$kit"
mkdir -p "$kit/bin" "$kit/lib" "$kit/tests"
cp "$build/sa2" "$build/tests/cuda_probe" "$kit/bin/"
for name in $operations; do
    cp "$build/tests/test_$name" "$kit/bin/"
done
# All but the C library and the loader, which are older here than on any machine with such a driver.
ldd "$kit"/bin/* | sed -n 's/.*=> \(\/[^ ]*\) .*/\1/p' | sort -u |
    grep -vE '/(libc|libm|libdl|librt|libpthread|ld-linux[^/]*)\.so' | xargs cp -Lt "$kit/lib"
strip "$kit"/bin/* "$kit"/lib/*
cp "$source/tools/gpu_check.sh" "$kit/"
cp -r "$source/tests/golden" "$kit/tests/"
cp -r "$build/models" "$kit/bin/"
tar -C "$build" -cJf "$kit.tar.xz" sa2-gpu-kit
bytes=$(stat -c %s "$kit.tar.xz")
echo "$kit.tar.xz: $((bytes / 1000000)) MB; on the machine: tar -xf sa2-gpu-kit.tar.xz && sa2-gpu-kit/gpu_check.sh"
[ "$bytes" -le 60000000 ] || { echo "more than 60 MB"; exit 1; }
