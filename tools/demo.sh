#!/usr/bin/env bash
# demo.sh SA2 OUT - what `make demo` shows: a question is asked aloud, heard, and answered aloud. The sounds and their pictures are
# left in the folder OUT. SA2_DEMO_MODEL names another model than nano, and SA2_DEMO_QUESTION a recording to ask it.
set -eu
sa2=$1
out=$2
mkdir -p "$out"
work=$(mktemp -d)
export SA2_VOICES=$work/voices
trap 'rm -rf "$work"' EXIT
model=${SA2_DEMO_MODEL:-nano}
nano=$(dirname "$sa2")/models/nano
question=${SA2_DEMO_QUESTION:-$nano/questions/3.flac}
voice=anna
[ "$model" = nano ] || voice=$question

echo "== the model"
"$sa2" info "$model"

echo
echo "== a question, asked aloud: $question"
if [ "$question" = "$nano/questions/3.flac" ]; then
    echo "   (what is said: \"$(sed -n '4s/^[^\t]*\t\([^\t]*\)\t.*/\1/p' "$nano/questions/questions.tsv")\", in a voice that was not trained on)"
fi

"$sa2" voice show --plot "$out/question.svg" "$question"
echo "   its picture: $out/question.svg"

echo
echo "== sa2 transcribe: sound -> log-mel -> encoder -> adaptor -> decoder -> text"
"$sa2" transcribe -m "$model" "$question"

echo
echo "== sa2 chat: heard, and answered in text; another question; as JSON with where the time went"
"$sa2" chat -m "$model" --audio "$question" --temperature 0 --max-tokens 60
"$sa2" chat -m "$model" --audio "$nano/questions/11.flac" --temperature 0 --max-tokens 60
"$sa2" chat -m "$model" --audio "$question" --temperature 0 --max-tokens 60 --json

echo
echo "== sa2 chat: heard and answered aloud, in the voice of a recording"
echo "   log-mel -> decoder -> text and speech codes -> flow -> vocoder, chunk by chunk while the answer is decoded"
"$sa2" chat -m "$model" --audio "$question" --voice "$voice" --first-chunk 5 --temperature 0 \
    --max-tokens 300 -o "$out/reply.wav" --plot "$out/reply.svg"
echo "   written: $out/reply.wav and its picture, $out/reply.svg"

echo
echo "== sa2 speak: a text, word for word, in another voice"
[ "$model" = nano ] && voice=ben
"$sa2" speak -m "$model" --voice "$voice" --max-tokens 300 --temperature 0 -o "$out/hello.wav" "my name is nano"
echo "   written: $out/hello.wav"
