#!/bin/bash
# Short golden cases of every part of the model on the simulated GPU, whose checker ends the program at the first mistake.
set -eu
source_dir=$1 sa2=$2/sa2
if "$sa2" doctor --device cuda-sim 2>&1 | grep -q 'this build has'; then
    echo "skipped: this build has no simulated GPU"
    exit 0
fi
cd "$source_dir/tests/golden"
lm=language_model speech=token2wav
"$sa2" check --quiet --device cuda-sim $lm/mel128_short.safetensors $lm/audio_encoder_len480.safetensors \
    $lm/op_{encoder_block,adaptor,rms_norm,swiglu,rope,attention}.safetensors $lm/decoder_short.safetensors \
    $speech/{cam_dense,conformer_layer_cached,dit_block,embed,f0,fbank_speech,flow_dit_stream}.safetensors \
    $speech/{flow_encoder_stream,hift_resblock,hift_upsample_0,istft16,s3_block,s3_mel_speech}.safetensors \
    $speech/{source,speaker_head,speech_tokenizer_37,stft16,time_embedding}.safetensors \
    $speech/vocoder_stream_single.safetensors

# The same results where steps start as graphs.
"$sa2" check --quiet --device cuda-sim --cuda-graphs $lm/decoder_short.safetensors $speech/flow_dit_stream.safetensors

# The engine: the same greedy tokens as on the processor, from a folder and from a native file made for the device.
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"$sa2" make-checkpoint -q --preset tiny --tokenizer tiny_tokenizer "$work/model"
"$sa2" convert -q --device cuda-sim "$work/model" "$work/device.sa2"
answer() { # MODEL DEVICE TEXT QUANT: the tokens of the answer
    "$sa2" chat -m "$work/$1" --device "$2" --text "$3" --quant "$4" --max-tokens 6 --ignore-eos --temperature 0 --json |
        grep -o '"ids":\[[^]]*\]'
}
same() { # MODEL TEXT QUANT
    on_processor=$(answer model cpu "$2" "$3")
    on_device=$(answer "$1" cuda-sim "$2" "$3")
    [ "$on_processor" = "$on_device" ] || { echo "\"$2\": $on_device, $on_processor on the processor"; exit 1; }
}
# It fills more than one row of tiles. With 4 bits x is rounded on the processor alone, so its answers must lead by more than that.
longer="how much is two and three, and how much is four and five"
same model "hi there" none
same device.sa2 "$longer" none
"$sa2" check --quiet --device cuda-sim -m "$work/device.sa2" $lm/decoder_short.safetensors $speech/speaker_37.safetensors

# In fewer bits, as they are loaded and from a file for the device; what that holds comes back as from the processor's.
same model "hi there" int8
for quant in int4 fp8; do
    "$sa2" convert -q --quant $quant --device cuda-sim "$work/model" "$work/$quant.sa2"
    same $quant.sa2 "$longer" $quant
    "$sa2" convert -q --quant $quant --device cpu "$work/model" "$work/cpu.sa2"
    for made in $quant cpu; do "$sa2" convert -q --to safetensors "$work/$made.sa2" "$work/$made"; done
    cmp "$work/$quant/"*.safetensors "$work/cpu/"*.safetensors || { echo "$quant: other weights than on the processor"; exit 1; }
    rm -r "$work/cpu.sa2" "$work/cpu"
done

# What rounding costs is told there too.
"$sa2" bench accuracy --device cuda-sim --quant int4 --longest 4 --positions 4 --json >"$work/accuracy"
grep -q 'kl/mean.*"value": *0\.[2-9]' "$work/accuracy" || { echo "another divergence:"; cat "$work/accuracy"; exit 1; }

# What was made for one device is not read by another.
refused=$("$sa2" chat -m "$work/device.sa2" --device cpu --text hi 2>&1) && { echo "read on the processor"; exit 1; }
case $refused in
*"make the file again: sa2 convert --device cpu FOLDER"*) ;;
*) echo "a refusal with the command expected, found: $refused" && exit 1 ;;
esac

# The bench of kernels: every case right at a 64th of its size, on the device's clock, in each format.
"$sa2" bench kernel --small --device cuda-sim --seconds 0 --json >"$work/rows"
for name in 'ceiling","case":"read"' 'linear/gate_up/512' 'linear/flow_down_f32/100' attention_paged/prompt_353 attention_paged/decode_8x16384_int8 attention/encoder_25s rms_norm/2048; do
    grep -q "\"$name" "$work/rows" || { echo "bench kernel: no row $name"; exit 1; }
done
! grep -v '"device":"cuda-sim"' "$work/rows" || { echo "bench kernel: a row of another device"; exit 1; }
"$sa2" bench kernel --small --device cuda-sim --seconds 0 --filter add --rows 3,5 --csv >"$work/rows"
[ "$(grep -c '^add/[35],' "$work/rows")" = 2 ] || { echo "bench kernel --csv:"; cat "$work/rows"; exit 1; }
"$sa2" bench kernel --small --device cuda-sim --seconds 0 --filter add --rows 3 --markdown | grep -q '^| add/3 |' || { echo "no table"; exit 1; }

# The other benches: a step on both clocks, and batches through the engine.
"$sa2" bench parts --preset tiny --layers 1 --device cuda-sim --seconds 0 --context 20 --filter decode/1 --json >"$work/rows" 2>"$work/said" ||
    { cat "$work/said"; exit 1; }
for name in 'ceiling","case":"read"' 'parts","case":"decode/1"' 'parts","case":"decode/1/device"'; do
    grep -- "\"$name" "$work/rows" | grep -q '"device":"cuda-sim"' || { echo "bench parts: no row $name"; exit 1; }
done
"$sa2" bench generate --preset tiny --layers 1 --device cuda-sim --batches 2,3 --prompt 8 --length 3 --json >"$work/rows" 2>"$work/said" ||
    { cat "$work/said"; exit 1; }
[ "$(grep '"device":"cuda-sim"' "$work/rows" | grep -c 'generate/[23]"')" = 2 ] || { echo "bench generate:"; cat "$work/rows"; exit 1; }
