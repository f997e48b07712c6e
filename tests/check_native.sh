#!/usr/bin/env bash
# check_native.sh SOURCE BUILD - native files as a user meets them: the same words as from the folder, disks that are full,
# conversions that are stopped or killed ($SA2_KILLS times, 4).
set -u
source=$1
sa2=$2/sa2
. "$1/tests/support/expect.sh"

folder=$work/tiny native=$work/tiny.sa2 out=$work/out.sa2
expect 0 "" "$sa2" make-checkpoint -q "$folder"
expect 0 "Example" "$sa2" convert --help
expect 64 "two" "$sa2" convert --to two "$folder" "$native"
expect 64 "1 names given" "$sa2" convert "$folder"
expect 66 "config.json" "$sa2" convert "$work/none" "$native"
expect 73 "/proc/nowhere.sa2" "$sa2" convert "$folder" /proc/nowhere.sa2
expect 73 "a device or a pipe" "$sa2" convert "$folder" /dev/full
start=$(date +%s%N)
expect 0 "" "$sa2" convert -q "$folder" "$native"
took=$((($(date +%s%N) - start) / 1000000))
expect 0 "token2wav is inside" "$sa2" info --verify "$native"
expect 0 '"matrices"' "$sa2" info --json "$native"
expect 0 "GB, matrices in bf16" "$sa2" info "$native"
expect 0 "" "$sa2" convert -q --quant int8 "$folder" "$work/small.sa2"
expect 0 "GB, matrices in i8" "$sa2" info "$work/small.sa2"
rm "$work/small.sa2"

# The same words, and every golden case to the last digit.
wav "$work/a.wav" 24000
for model in "$folder" "$native"; do
    words=$work/words.$([ "$model" = "$folder" ] && echo folder || echo native)
    expect 0 "" "$sa2" transcribe -m "$model" --max-tokens 16 --quiet --keep-special "$work/a.wav"
    mv "$work/out" "$words"
    expect 0 "" "$sa2" chat -m "$model" --max-tokens 16 --seed 3 --text "Why?"
    cat "$work/out" >>"$words"
    expect 0 "" "$sa2" check -m "$model" "$source"/tests/golden/language_model/{mel128_voice,decoder_audio,decode_batch,beam_4,audio_encoder_len16000}.safetensors \
        "$source"/tests/golden/token2wav/{speaker_37,speech_tokenizer_37,flow_short,vocoder_stream_minimum,token2wav}.safetensors
    cat "$work/out" >>"$words"
done
[ -s "$work/words.folder" ] && cmp "$work/words.native" "$work/words.folder" || fail "a native file gives other words than its folder"

# Back and forth again.
expect 0 "" "$sa2" convert -q --to safetensors "$native" "$work/back"
expect 0 "" "$sa2" info "$work/back"
expect 64 "a new or empty folder expected" "$sa2" convert -q --to safetensors "$native" "$work/back"
expect 65 "no native file" "$sa2" convert -q --to safetensors "$work/a.wav" "$work/back2"

# A disk without room, and a folder that nobody may write to.
left() { ls "$1" | grep -c "^out.sa2"; }
(ulimit -f 20000; "$sa2" convert -q "$folder" "$out" 2>"$work/err")
[ $? = 73 ] && grep -q "File too large" "$work/err" || fail "a file that may not grow: $(cat "$work/err")"
[ "$(left "$work")" = 0 ] || fail "a file that may not grow leaves $(ls "$work")"
mkdir "$work/disk"
if unshare -rm true 2>/dev/null; then
    unshare -rm bash -c 'mount -t tmpfs -o size=20m none "$1/disk" && "$2" convert -q "$1/tiny" "$1/disk/out.sa2" 2>"$1/err"
        echo $? $(ls "$1/disk" | wc -l) >"$1/got"
        mount -o remount,ro "$1/disk" && "$2" convert -q "$1/tiny" "$1/disk/out.sa2" 2>>"$1/err"; echo $? >>"$1/got"' _ "$work" "$sa2"
    [ "$(tr '\n' ' ' <"$work/got")" = "73 0 73 " ] || fail "full and read-only disks: $(cat "$work/got" "$work/err")"
    grep -q "No space left on device" "$work/err" && grep -q "Read-only file system" "$work/err" || fail "full and read-only disks: $(cat "$work/err")"
else
    echo "skipped: a small disk (no right to mount one)"
fi

# Stopped by a signal: nothing is left, and whoever asked sees how it ended.
for signal in INT TERM; do
    perl -e '$SIG{INT} = "DEFAULT"; exec @ARGV' "$sa2" convert -q "$folder" "$out" 2>/dev/null &
    sleep "0.0$((RANDOM % 9))"
    kill -$signal $! 2>/dev/null
    wait $!
    got=$?
    if [ -e "$out" ]; then
        cmp -s "$out" "$native" || fail "stopped by $signal: another file"
        rm "$out"
    elif [ $got != 130 ] && [ $got != 143 ]; then
        fail "stopped by $signal: exit $got"
    fi
    [ "$(left "$work")" = 0 ] || fail "stopped by $signal: $(ls "$work")"
done

# Killed anywhere: what has the name is whole, what has not is no native file.
for i in $(seq "${SA2_KILLS:-4}"); do
    "$sa2" convert -q "$folder" "$out" 2>/dev/null &
    pid=$!
    sleep "$(awk -v ms=$((RANDOM % (took + 20))) 'BEGIN { print ms / 1000 }')"
    kill -KILL $pid 2>/dev/null
    wait $pid 2>/dev/null
    if [ -e "$out" ]; then
        cmp -s "$out" "$native" || fail "kill $i: $out is not what it should be"
        rm "$out"
    fi
    if [ -e "$out.partial" ] && "$sa2" info "$out.partial" >/dev/null 2>"$work/err"; then
        cmp -s "$out.partial" "$native" || fail "kill $i: half a file is taken for whole"
    fi
done
expect 0 "" "$sa2" convert -q "$folder" "$out" # over what is left
cmp "$out" "$native" || fail "after the kills: another file"
exit $failed
