# expect.sh - what the checks of the program share, for `source`: a folder $work that goes at the end, failures that add up in
# $failed, and commands with the exit code and the text that they are to give.
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
failed=0

fail() {
    echo "FAILED: $*"
    failed=1
}

# must TEXT COMMAND...
must() { "${@:2}" || fail "$1"; }

# expect CODE TEXT COMMAND...: the exit code, and a text that stdout or stderr must hold
expect() {
    local code=$1 text=$2
    shift 2
    "$@" >"$work/out" 2>"$work/err" </dev/null
    local got=$?
    if [ $got != "$code" ]; then
        fail "$* : exit $got, $code expected"
        tail -n 3 "$work/err"
    fi
    if [ -n "$text" ] && ! cat "$work/out" "$work/err" | grep -qF -- "$text"; then
        fail "$* : \"$text\" expected in"
        tail -n 3 "$work/out" "$work/err"
    fi
}

# wav FILE SAMPLES: a wavering tone at 16 kHz
wav() {
    perl -e 'my $n = $ARGV[0]; my $d = pack("s<*", map { int(8000 * sin(0.13 * $_) * sin(0.0007 * $_)) } 0 .. $n - 1);
        print pack("a4Va8VvvVVvva4V", "RIFF", 36 + length $d, "WAVEfmt ", 16, 1, 1, 16000, 32000, 2, 16, "data", length $d), $d;' "$2" >"$1"
}
