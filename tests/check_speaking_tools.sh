#!/usr/bin/env bash
# check_speaking_tools.sh SOURCE BUILD - voices and speech tokens as a user meets them.
set -u
sa2=$2/sa2
. "$1/tests/support/expect.sh"

tiny=$work/tiny
wav "$work/one.wav" 16000
wav "$work/two.wav" 20000
wav "$work/blip.wav" 50
echo "no sound at all" >"$work/text.wav"
expect 0 "" "$sa2" make-checkpoint --preset tiny "$tiny"

for command in voice tokenize-audio vocode; do
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
expect 0 "name      anna" "$sa2" voice show --plot "$work/anna.svg" anna
must "a picture of a voice" grep -q "</svg>" "$work/anna.svg"
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
expect 64 "RATE" "$sa2" tokenize-audio -m "$tiny" --raw s16be:16000 "$work/one.wav"
expect 64 "none given" "$sa2" tokenize-audio -m "$tiny"

# Sound of tokens: a file, a pipe, chunks; the same each time.
say="$sa2 vocode -m $tiny --voice anna"
expect 0 "1.00 s of sound" $say -o "$work/a.wav" "$work/tokens"
must "960 samples a token" [ "$(wc -c <"$work/a.wav")" = 48044 ]
tr ' ' ',' <"$work/tokens" | sed 's/^/[/; s/$/]/' | $say -q -o "$work/b.wav" - >"$work/out" 2>&1
must "a JSON list sounds different" cmp -s "$work/a.wav" "$work/b.wav"
must "--quiet says something" [ ! -s "$work/out" ]
$say -o - "$work/tokens" 2>/dev/null >"$work/raw"
must "a pipe gets other samples" cmp -s "$work/raw" <(tail -c +45 "$work/a.wav")
expect 0 "1.00 s of sound" $say --stream -o "$work/s.wav" "$work/tokens"
must "a stream sounds as a whole does" [ "$(cmp -s "$work/a.wav" "$work/s.wav"; echo $?)" = 1 ]
expect 0 '"chunks":[{"first":0,"samples":1920,' $say --stream --chunk 6 --json -o "$work/s.flac" "$work/tokens"
must "6, 6, 6 and 7 tokens are four chunks" [ "$(grep -o ready_s "$work/out" | wc -l)" = 4 ]
expect 0 "" $say --seed 1 -o "$work/c.wav" "$work/tokens"
must "another seed, the same noise" [ "$(cmp -s "$work/a.wav" "$work/c.wav"; echo $?)" = 1 ]
expect 0 "" $say --dtype bf16 -o "$work/c.ogg" --plot "$work/c.svg" "$work/tokens"
must "no picture" grep -q "tokens in the voice of anna" "$work/c.svg"
echo 5 >"$work/single"
expect 0 "0.04 s of sound" $say --stream --plot "$work/d.svg" "$work/single"

# A native file is a model too.
expect 0 "" "$sa2" convert "$tiny" "$work/tiny.sa2"
expect 0 "" "$sa2" vocode -m "$work/tiny.sa2" --voice anna -o "$work/n.wav" "$work/tokens"
must "a native file sounds different" cmp -s "$work/a.wav" "$work/n.wav"

# Mistakes of tokens, files and options.
echo "1 2 three" >"$work/bad"
expect 65 'bad: line 1, column 5: a token from 0 to 6560 expected, "three" found' $say -o "$work/x.wav" "$work/bad"
must "a refused list leaves a file" [ ! -e "$work/x.wav" ]
expect 65 "the end found" $say -o "$work/x.wav" - 
expect 66 "none.txt" $say -o "$work/x.wav" "$work/none.txt"
expect 66 "neither a file nor a name" $say --voice carl -o "$work/x.wav" "$work/tokens"
expect 66 "flow.yaml" $say -m "$work/none" -o "$work/x.wav" "$work/tokens"
expect 73 "No such file or directory" $say -o "$work/none/x.wav" "$work/tokens"
expect 73 "No such file or directory" $say --plot "$work/none/x.svg" "$work/tokens"
expect 64 "a name that ends in" $say -o "$work/x.txt" "$work/tokens"
expect 64 "cannot both" $say --json -o - "$work/tokens"
expect 64 "belong to --stream" $say --chunk 10 -o "$work/x.wav" "$work/tokens"
expect 64 "4 to 50 tokens expected, 3 found" $say --stream --chunk 3 -o "$work/x.wav" "$work/tokens"
expect 64 "--mel goes without" $say --mel "$work/x" -o "$work/x.wav"
expect 64 "one file of tokens expected" $say -o "$work/x.wav"
expect 64 "--output FILE or --plot FILE expected" $say "$work/tokens"
expect 64 "f32 or bf16 expected" $say --dtype f16 -o "$work/x.wav" "$work/tokens"
expect 66 "none.safetensors" "$sa2" vocode -m "$tiny" --mel "$work/none.safetensors" -o "$work/x.wav"
if [ -w /dev/full ]; then
    $say -o - "$work/tokens" >/dev/full 2>"$work/err"
    must "a full disk is no failure" [ $? = 74 ]
    must "a full disk is not named" grep -q "No space left on device" "$work/err"
fi
$say --stream --chunk 4 -o - "$work/tokens" 2>"$work/err" | head -c 100 >/dev/null
must "a closed pipe is no failure" [ "${PIPESTATUS[0]}" = 74 ]
must "a closed pipe is not named" grep -q "Broken pipe" "$work/err"

exit $failed
