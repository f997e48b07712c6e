#!/usr/bin/env bash
# check_speaking_tools.sh SOURCE BUILD - voices and speech tokens as a user meets them.
set -u
sa2=$2/sa2
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
failed=0

# expect CODE TEXT COMMAND...: the exit code, and a text that stdout or stderr must hold
expect() {
    local code=$1 text=$2
    shift 2
    "$@" >"$work/out" 2>"$work/err" </dev/null
    local got=$?
    if [ $got != "$code" ]; then
        echo "FAILED: $* : exit $got, $code expected"
        tail -n 3 "$work/err"
        failed=1
    elif [ -n "$text" ] && ! cat "$work/out" "$work/err" | grep -qF -- "$text"; then
        echo "FAILED: $* : \"$text\" expected in"
        tail -n 3 "$work/out" "$work/err"
        failed=1
    fi
}

must() { "${@:2}" || { echo "FAILED: $1"; failed=1; }; }

# wav FILE SAMPLES: a wavering tone at 16 kHz
wav() {
    perl -e 'my $n = $ARGV[0]; my $d = pack("s<*", map { int(8000 * sin(0.13 * $_) * sin(0.0007 * $_)) } 0 .. $n - 1);
        print pack("a4Va8VvvVVvva4V", "RIFF", 36 + length $d, "WAVEfmt ", 16, 1, 1, 16000, 32000, 2, 16, "data", length $d), $d;' "$2" >"$1"
}

tiny=$work/tiny
wav "$work/one.wav" 16000
wav "$work/two.wav" 20000
wav "$work/blip.wav" 50
echo "no sound at all" >"$work/text.wav"
expect 0 "" "$sa2" make-checkpoint --preset tiny "$tiny"

for command in voice tokenize-audio; do
    expect 0 "Example" "$sa2" $command --help
done

# Voices: added once, told apart, refused where they are no sound.
export SA2_VOICES=$work/voices
expect 0 "none in" "$sa2" voice list
expect 0 "is in $work/voices" "$sa2" voice add anna "$work/one.wav"
expect 64 "there already" "$sa2" voice add anna "$work/two.wav"
expect 0 "" "$sa2" voice add bob "$work/two.wav" -m "$tiny"
expect 0 "anna" "$sa2" voice list
expect 0 '"seconds":1.25' "$sa2" voice list --json
expect 0 "1.00 s, 16000 Hz, 1 channel" "$sa2" voice show anna
expect 0 "encoded   now" "$sa2" voice show anna -m "$tiny"
expect 0 "encoded   before" "$sa2" voice show anna -m "$tiny"
expect 0 "encoded   before" "$sa2" voice show "$work/two.wav" -m "$tiny"
expect 0 '"mel_frames":50' "$sa2" voice show --json anna -m "$tiny"
expect 0 "" "$sa2" voice add --replace anna "$work/two.wav"
expect 0 "1.25 s" "$sa2" voice show anna
expect 66 "which has: anna, bob" "$sa2" voice show carl
expect 64 "letters, digits" "$sa2" voice add ../evil "$work/one.wav"
expect 65 "not a sound file" "$sa2" voice add carl "$work/text.wav"
expect 64 "too short" "$sa2" voice add carl "$work/blip.wav" -m "$tiny"
expect 66 "none.wav" "$sa2" voice add carl "$work/none.wav"
must "a refused voice is kept" [ "$(ls "$work/voices" | grep -c carl)" = 0 ]
expect 64 "expected" "$sa2" voice
expect 64 "expected" "$sa2" voice add anna
expect 0 "1.00 s" "$sa2" voice show --voices "$work/other" "$work/one.wav"

# Speech tokens: 25 a second; one bad file does not stop the others.
expect 0 "" "$sa2" tokenize-audio -m "$tiny" "$work/one.wav"
cp "$work/out" "$work/tokens"
must "25 tokens a second" [ "$(wc -w <"$work/tokens")" = 25 ]
"$sa2" tokenize-audio -m "$tiny" - <"$work/one.wav" >"$work/out" 2>&1
must "a pipe gives other tokens" cmp -s "$work/out" "$work/tokens"
tail -c +45 "$work/one.wav" | "$sa2" tokenize-audio -m "$tiny" --raw s16le:16000 - >"$work/out" 2>&1
must "raw PCM gives other tokens" cmp -s "$work/out" "$work/tokens"
expect 65 "one.wav: $(cat "$work/tokens")" "$sa2" tokenize-audio -m "$tiny" "$work/text.wav" "$work/one.wav"
expect 0 '"seconds":1.0,"tokens":[' "$sa2" tokenize-audio -m "$tiny" --json "$work/one.wav"
expect 66 "none.wav" "$sa2" tokenize-audio -m "$tiny" "$work/none.wav"
expect 64 "too short" "$sa2" tokenize-audio -m "$tiny" "$work/blip.wav"
expect 66 "flow.yaml" "$sa2" tokenize-audio -m "$work/none" "$work/one.wav"
expect 64 "a folder expected" "$sa2" tokenize-audio "$work/one.wav"
expect 64 "none given" "$sa2" tokenize-audio -m "$tiny"

exit $failed
