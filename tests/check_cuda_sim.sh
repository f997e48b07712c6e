#!/bin/bash
# Golden cases of the language model on the simulated GPU, whose checker ends the program at the first mistake.
set -eu
source_dir=$1 sa2=$2/sa2
if "$sa2" doctor --device cuda-sim 2>&1 | grep -q 'this build has'; then
    echo "skipped: this build has no simulated GPU"
    exit 0
fi
cd "$source_dir/tests/golden/language_model"
"$sa2" check --quiet --device cuda-sim mel128_short.safetensors audio_encoder_len480.safetensors \
    op_encoder_block.safetensors op_adaptor.safetensors op_rms_norm.safetensors op_swiglu.safetensors \
    op_rope.safetensors decoder_short.safetensors
