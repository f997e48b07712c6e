#!/usr/bin/env bash
# demo.sh SA2 - what `make demo` shows: a sound goes through the whole model.
# SA2_DEMO_MODEL names another model folder than the synthetic one that is made here.
set -eu
sa2=$1
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
model=${SA2_DEMO_MODEL:-}
if [ -z "$model" ]; then
    model=$work/tiny
    echo "== a checkpoint with every tensor of the real one, tiny, its weights made from the tensors' names"
    "$sa2" make-checkpoint --preset tiny "$model"
    echo "   THE WEIGHTS ARE RANDOM: everything works, and the words below mean nothing."
    echo "   With the real one: SA2_DEMO_MODEL=/path/to/Step-Audio-2-mini make demo"
fi
"$sa2" info "$model"

echo
echo "== a sound of three seconds: two tones, then a rising one; 44.1 kHz stereo"
perl -e '
    my ($rate, $n, $phase, $data) = (44100, 3 * 44100, 0, "");
    for my $i (0 .. $n - 1) {
        my $hz = $i < $n / 3 ? 330 : $i < 2 * $n / 3 ? 495 : 200 + 1500 * ($i / $n - 2 / 3) * 3;
        $phase += 2 * 3.14159265358979 * $hz / $rate;
        $data .= pack("s<s<", 9000 * sin($phase), 4000 * sin($phase / 2));
    }
    print pack("a4Va8VvvVVvva4V", "RIFF", 36 + length $data, "WAVEfmt ", 16, 1, 2, $rate, 4 * $rate, 4, 16, "data",
               length $data), $data;' >"$work/question.wav"

echo
echo "== sa2 transcribe: wave file -> log-mel -> encoder -> adaptor -> decoder -> text"
"$sa2" transcribe -m "$model" --max-tokens 24 --keep-special "$work/question.wav"

echo
echo "== the same as JSON: tokens, and where the time went"
"$sa2" transcribe -m "$model" --max-tokens 24 --json "$work/question.wav"

echo
echo "== sa2 chat: the same sound and a line of text, then a second turn that finds the first in the cache"
printf '/audio %s What is this?\nAnd again?\n' "$work/question.wav" |
    "$sa2" chat -m "$model" --max-tokens 16 --seed 1 --verbose
