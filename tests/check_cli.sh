#!/usr/bin/env bash
# check_cli.sh SOURCE BUILD - the program as a user meets it: results, messages, exit codes.
set -u
source=$1
sa2=$2/sa2
. "$1/tests/support/expect.sh"

wav "$work/a.wav" 24000
perl -e 'print pack("a4Va8VvvVVvva4V", "RIFF", 36, "WAVEfmt ", 16, 1, 1, 16000, 32000, 2, 16, "data", 0);' >"$work/empty.wav"
perl -e 'my $d = pack("s<*", 1, -2, 3);
    print pack("a4Va8VvvVVvva4V", "RIFF", 42, "WAVEfmt ", 16, 1, 1, 16000, 32000, 2, 16, "data", 6), $d;' >"$work/three.wav"
echo "no sound at all" >"$work/text.wav"
tiny=$work/tiny

expect 0 "usage: sa2" "$sa2" --help
expect 64 "usage: sa2" "$sa2"
expect 64 'no command "frobnicate"' "$sa2" frobnicate
for command in transcribe translate caption chat speak info doctor make-checkpoint check bench; do
    expect 0 "Example" "$sa2" $command --help
done
expect 0 "" "$sa2" make-checkpoint --preset tiny "$tiny"
expect 64 "tiny or mini expected" "$sa2" make-checkpoint --preset huge "$work/x"
expect 73 "" "$sa2" make-checkpoint /proc/nowhere
expect 66 "tokenizer.json" "$sa2" make-checkpoint --tokenizer "$work/none" "$work/x"
expect 0 "hidden 512, 3 layers" "$sa2" info "$tiny"
expect 0 '"layers": 3' "$sa2" info --json "$tiny"
expect 0 "speaker vector of 192" "$sa2" info "$tiny"
cp -r "$tiny" "$work/torn"
rm "$work/torn/token2wav/campplus.onnx" "$work/torn/config.json"
truncate -s 100000 "$work/torn/token2wav/hift.pt"
expect 66 "config.json" "$sa2" info "$work/torn"
for part in campplus.onnx "hift.pt: zip"; do
    grep -q "$part" "$work/err" || fail "info says nothing of $part"
done
rm -r "$work/torn"
expect 66 "config.json" "$sa2" info "$work/none"
expect 0 "instructions" "$sa2" doctor
expect 0 "messages" "$sa2" doctor --limits
expect 69 "this processor has" "$sa2" doctor --isa mmx

# One file, many files, a pipe, raw PCM: the same words.
ask="-m $tiny --max-tokens 8 --quiet --keep-special"
expect 0 "" "$sa2" transcribe $ask "$work/a.wav"
cp "$work/out" "$work/alone"
[ -s "$work/alone" ] || fail "transcribe says nothing"
expect 0 "a.wav: $(cat "$work/alone")" "$sa2" transcribe $ask "$work/a.wav" "$work/three.wav" "$work/a.wav"
"$sa2" transcribe $ask - <"$work/a.wav" >"$work/out" 2>&1
cmp -s "$work/out" "$work/alone" || fail "a pipe gives other words"
tail -c +45 "$work/a.wav" | "$sa2" transcribe $ask --raw s16le:16000 - >"$work/out" 2>&1
cmp -s "$work/out" "$work/alone" || fail "raw PCM gives other words"
expect 0 '"finish_reason":"length"' "$sa2" transcribe $ask --json "$work/a.wav"
expect 0 "" "$sa2" translate $ask --to en "$work/a.wav"
expect 64 "zh, en or ja expected" "$sa2" translate $ask --to xx "$work/a.wav"
expect 0 "" "$sa2" caption $ask --detailed --dtype f32 "$work/a.wav"

# What is wrong is named, and the rest goes on.
expect 65 "empty.wav" "$sa2" transcribe $ask "$work/empty.wav"
expect 65 "text.wav" "$sa2" transcribe $ask "$work/a.wav" "$work/text.wav"
grep -qF "a.wav: $(cat "$work/alone")" "$work/out" || fail "one bad file stops the others"
expect 66 "none.wav" "$sa2" transcribe $ask "$work/none.wav"
expect 64 "none given" "$sa2" transcribe -m "$tiny"
expect 64 "a folder expected" "$sa2" transcribe "$work/a.wav"
expect 64 "temperature" "$sa2" transcribe $ask --temperature -1 "$work/a.wav"
expect 64 "bf16 or f32 expected" "$sa2" transcribe $ask --dtype int3 "$work/a.wav"
expect 64 "--kv-cache-dtype: auto or int8 expected" "$sa2" transcribe $ask --kv-cache-dtype int4 "$work/a.wav"
expect 0 "" "$sa2" transcribe $ask --kv-cache-dtype int8 "$work/a.wav"
expect 64 "one answer to each sound" "$sa2" transcribe $ask -n 2 "$work/a.wav"
for raw in s16le s16le:99999999999999 s16le:16000:1:1 u8:8000 ""; do
    expect 64 "--raw: s16le:RATE" "$sa2" transcribe -m "$work/none" --raw "$raw" "$work/a.wav"
done
expect 65 "1000 to 768000 Hz expected" "$sa2" transcribe $ask --raw s16le:0 "$work/a.wav"
expect 64 "no such option" "$sa2" transcribe $ask --loud "$work/a.wav"
expect 64 "a whole number expected" "$sa2" transcribe $ask --max-tokens many "$work/a.wav"

# A result that cannot be written is a failure; a reader that leaves ends the work without a word.
unwritten() {
    local code=$1
    shift
    "$@" >/dev/full 2>"$work/err" </dev/null
    [ $? = "$code" ] && grep -q "standard output: " "$work/err" || fail "$* : a full disk goes unnoticed"
}
unwritten 74 "$sa2" --help
unwritten 74 "$sa2" info "$tiny"
unwritten 74 "$sa2" transcribe $ask "$work/a.wav" "$work/a.wav"
unwritten 74 "$sa2" chat -m "$tiny" --max-tokens 4 --text Hello
"$sa2" doctor >&- 2>"$work/err"
[ $? = 74 ] || fail "a closed stdout goes unnoticed"
"$sa2" transcribe -m "$tiny" --quiet --ignore-eos --max-tokens 3500 "$work/a.wav" 2>"$work/err" | head -c 1 >"$work/out"
[ "${PIPESTATUS[0]}" = 74 ] && [ ! -s "$work/err" ] || fail "a reader that leaves is complained about"

# Chat: one question, seeds, a conversation whose second turn finds the first in the cache.
expect 0 "" "$sa2" chat -m "$tiny" --max-tokens 8 --seed 3 --text "Hello"
cp "$work/out" "$work/first"
expect 0 "" "$sa2" chat -m "$tiny" --max-tokens 8 --seed 3 --text "Hello"
cmp -s "$work/out" "$work/first" || fail "one seed, two answers"
expect 0 '"codes"' "$sa2" chat -m "$tiny" --max-tokens 40 --seed 3 --speak --json --audio "$work/a.wav"
printf '%s\n' "/audio $work/a.wav What is this? $(printf 'word %.0s' $(seq 60))" "And that?" /quit >"$work/lines"
"$sa2" chat -m "$tiny" --max-tokens 8 --block-size 16 -v <"$work/lines" >"$work/out" 2>"$work/err"
cached=$(grep -o '[0-9]* of them cached' "$work/err" | tail -n 1 | cut -d' ' -f1)
[ "${cached:-0}" -ge 64 ] || fail "the second turn found ${cached:-no} cached tokens"
echo '[{"role":"user","content":"Hi"},{"role":"assistant","content":null}]' >"$work/m.json"
expect 0 "" "$sa2" chat -m "$tiny" --max-tokens 4 --messages "$work/m.json"
echo '[{"role":5}]' >"$work/bad.json"
expect 65 "bad.json: messages[0]" "$sa2" chat -m "$tiny" --messages "$work/bad.json"
says() { # CODE TEXT LINE: what a conversation makes of a line
    printf "$3\n" | "$sa2" chat -m "$tiny" --max-tokens 4 >"$work/out" 2>"$work/err"
    [ "${PIPESTATUS[1]}" = "$1" ] && grep -qF -- "$2" "$work/err" || fail "the line \"$3\" goes unnoticed"
}
says 0 "ask with a sound" "/audio  "
says 66 "none.wav: No such file" "/audio none.wav"
says 65 "a zero byte in a line" 'a\0b'
says 65 "a line of more than 65536 bytes" "$(printf 'word %.0s' $(seq 14000))"
"$sa2" chat -m "$tiny" <"$work" >"$work/out" 2>"$work/err"
[ $? = 66 ] || fail "a folder as standard input goes unnoticed"

# Golden cases through the program.
expect 0 "0 FAILED" "$sa2" check "$source"/tests/golden/language_model/op_*.safetensors
expect 0 "0 FAILED" "$sa2" check --dtype bf16 "$source"/tests/golden/language_model/op_*.safetensors
# Spoken answers: a file, the same samples down a pipe, words that were given.
export SA2_VOICES=$work/voices
speech="--voice $work/a.wav --max-tokens 60 --seed 3"
expect 0 "s of sound" "$sa2" speak -m "$tiny" $speech -o "$work/hello.wav" Good morning.
expect 0 "" "$sa2" speak -q -m "$tiny" $speech -o - "Good morning."
tail -c +45 "$work/hello.wav" | cmp -s - "$work/out" || fail "speak gives other samples to a pipe"
[ "$(ls "$work/voices/encoded" | wc -l)" = 1 ] || fail "the voice was not kept once"
expect 0 '"spoken":"Good morning."' "$sa2" speak --json -m "$tiny" $speech -o "$work/x.wav" "Good morning."
expect 0 '"audio_seconds"' "$sa2" chat --json -m "$tiny" $speech --audio "$work/a.wav" --first-chunk 4 -o "$work/reply.flac"
[ -s "$work/reply.flac" ] || fail "chat wrote no reply"
expect 0 "" "$sa2" chat -m "$tiny" $speech --text hi -o "$work/reply.wav" --plot "$work/reply.svg"
grep -q "</svg>" "$work/reply.svg" || fail "no picture"
expect 64 "belong together" "$sa2" chat -m "$tiny" --text hi -o "$work/x.wav"
expect 64 "a text expected" "$sa2" speak -m "$tiny" $speech -o "$work/x.wav"
expect 64 "first_chunk" "$sa2" speak -m "$tiny" $speech --first-chunk 3 -o "$work/x.wav" hi
expect 64 "f32 or bf16" "$sa2" speak -m "$tiny" $speech --speech-dtype f16 -o "$work/x.wav" hi
expect 66 "neither a file nor a name" "$sa2" speak -m "$tiny" --voice nobody -o "$work/x.wav" hi
expect 64 "too short: 3 samples" "$sa2" speak -m "$tiny" --voice "$work/three.wav" -o "$work/x.wav" hi
expect 73 "" "$sa2" speak -m "$tiny" $speech -o /proc/x.wav hi
expect 64 "" "$sa2" speak -m "$tiny" $speech -o "$work/x.xyz" hi

expect 0 "0 FAILED" "$sa2" check -q --tokenizer "$tiny" "$source"/tests/golden/chat/*.jsonl
expect 65 "" "$sa2" check "$work/a.wav"
expect 66 "" "$sa2" check "$work/none.safetensors"

# Benches run, judge their results, and print one JSON object a row.
expect 0 '"case":"decode/1"' "$sa2" bench parts --preset tiny -s 0.01 --json --filter decode/1
expect 0 '"unit":"tokens/s"' "$sa2" bench generate --preset tiny --prompt 16 --length 4 --json --filter generate/8
expect 0 '"case":"kl/mean"' "$sa2" bench accuracy --json --positions 40 --per-layer "$source/tests/golden/language_model/decode_batch.safetensors"
expect 0 '"case":"top1/same"' "$sa2" bench accuracy --json --longest 8 --dtype f32 --lm-head none
expect 64 "--quant: none, int8, int4 or fp8 expected" "$sa2" bench accuracy --quant int7
expect 0 '"case":"top1/same"' "$sa2" bench accuracy --json --longest 8 --quant none --kv-cache-dtype int8
expect 64 "--kv-cache-dtype: auto or int8 expected" "$sa2" bench accuracy --kv-cache-dtype fp8
expect 65 "no ids and no text" "$sa2" bench accuracy /dev/null
expect 66 "nowhere.txt" "$sa2" bench accuracy /nowhere.txt
expect 64 'no measurement "speed"' "$sa2" bench speed
expect 64 "no argument expected" "$sa2" bench kernel speed
expect 64 "--rows: numbers from 1 to 65536" "$sa2" bench kernel --rows 8,0
expect 64 "one of --json, --csv and --markdown" "$sa2" bench kernel --json --csv
expect 64 "--layers: 0 to 1024 expected, -1 found" "$sa2" bench parts --layers -1
expect 64 "--seconds: 0 or more" "$sa2" bench parts --seconds -1
expect 64 "tiny or mini expected" "$sa2" bench generate --preset huge
expect 64 "--length: 2 to" "$sa2" bench generate --length 2147483647
expect 64 "--batches: numbers from 1 to 256" "$sa2" bench generate --batches 8,257
expect 69 'device "gpu": this build has' "$sa2" bench generate --device gpu
expect 69 'device "gpu": this build has' "$sa2" bench parts --device gpu

# A folder with several mistakes: all of them at once.
cp -r "$tiny" "$work/broken"
rm "$work/broken/tokenizer.json" "$work/broken/vocab.json"
perl -pi -e 's/"num_hidden_layers": \d+/"num_hidden_layers": 4/' "$work/broken/config.json"
expect 65 "model.layers.3.mlp.down_proj.weight" "$sa2" info "$work/broken"
grep -qF "vocab.json" "$work/err" || fail "the report leaves out the tokenizer"

exit $failed
