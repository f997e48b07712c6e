#!/usr/bin/env bash
# demo.sh SA2 OUT - what `make demo` shows: speech goes in, text and speech come out. The sounds are left in the folder OUT.
# SA2_DEMO_MODEL names another model folder than the synthetic one that is made here.
set -eu
sa2=$1
out=$2
mkdir -p "$out"
work=$(mktemp -d)
export SA2_VOICES=$work/voices
trap 'rm -rf "$work"' EXIT
model=${SA2_DEMO_MODEL:-}
if [ -z "$model" ]; then
    model=$work/tiny
    echo "== a checkpoint with every tensor of the real one, tiny, its weights made from the tensors' names"
    "$sa2" make-checkpoint --preset tiny "$model"
    echo "   THE WEIGHTS ARE RANDOM: everything works, the words below mean nothing, and the voice is noise."
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
               length $data), $data;' >"$out/question.wav"

echo
echo "== sa2 transcribe: wave file -> log-mel -> encoder -> adaptor -> decoder -> text"
"$sa2" transcribe -m "$model" --max-tokens 24 --keep-special "$out/question.wav"

echo
echo "== the same as JSON: tokens, and where the time went"
"$sa2" transcribe -m "$model" --max-tokens 24 --json "$out/question.wav"

echo
echo "== sa2 chat: the same sound and a line of text, then a second turn that finds the first in the cache"
printf '/audio %s What is this?\nAnd again?\n' "$out/question.wav" |
    "$sa2" chat -m "$model" --max-tokens 16 --seed 1 --verbose


echo
echo "== sa2 chat: heard and answered aloud, in the voice of a recording (here the question's own)"
echo "   log-mel -> decoder -> text and speech codes -> flow -> vocoder, chunk by chunk while the answer is decoded"
"$sa2" chat -m "$model" --audio "$out/question.wav" --voice "$out/question.wav" --first-chunk 5 \
    --max-tokens 120 --seed 1 --verbose -o "$out/reply.wav" --plot "$out/reply.svg" | tr -cd '[:print:]\n'
echo "   written: $out/reply.wav and its picture, $out/reply.svg"

echo
echo "== sa2 speak: a text, word for word"
"$sa2" speak -m "$model" --voice "$out/question.wav" --max-tokens 160 --seed 1 -o "$out/hello.wav" "Good morning."
echo "   written: $out/hello.wav"
