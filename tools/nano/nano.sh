#!/usr/bin/env bash
# nano.sh [LANE] - makes the nano model from nothing, or goes on where it was cut: two lanes beside each other, then the export.
# NANO_WORK: where the work files lie; NANO_PYTHON: a Python with requirements.txt, else one is made there.
# All runs are seeded, of fixed length, single-threaded, and give way to whatever else the machine does.
set -euo pipefail
cd "$(dirname "$0")"
export NANO_WORK=${NANO_WORK:-$HOME/.cache/sa2-nano} OMP_NUM_THREADS=1 PYTHONUNBUFFERED=1
mkdir -p "$NANO_WORK"
python=${NANO_PYTHON:-$NANO_WORK/venv/bin/python}
if [ ! -x "$python" ]; then
    python3 -m venv "$NANO_WORK/venv"
    "$NANO_WORK/venv/bin/pip" install -q -r requirements.txt
fi

step() { # FILE COMMAND... : runs once, unless FILE says it was done
    local file=$NANO_WORK/done.$1
    shift
    [ -e "$file" ] || { "$python" "$@" && touch "$file"; }
}

after() { # FILE... : waits for the other lane
    for file in "$@"; do
        while [ ! -e "$NANO_WORK/done.$file" ]; do sleep 5; done
    done
}

speaking() { # lane 1
    step outputs synthesise.py outputs
    step vocoder train_vocoder.py 7200
    after codes
    step speaker train_speaker.py 350
    step flow train_flow.py 9800
}

hearing() { # lane 2
    step inputs synthesise.py inputs
    after outputs
    step speech_tokenizer train_speech_tokenizer.py 4000
    step codes train_speech_tokenizer.py codes
    step text_tokenizer text_tokenizer.py
    step language_model train_language_model.py 2600 10700
    step refined train_language_model.py refine 2600
}

echo 8 >/proc/self/autogroup 2>/dev/null || true
case ${1:-all} in
speaking | hearing) "$1" ;;
all)
    speaking &
    lane=$!
    hearing
    wait "$lane"
    "$python" export.py "$NANO_WORK/release"
    ;;
*) echo "nano.sh: lane $1: speaking or hearing expected" >&2; exit 2 ;;
esac
