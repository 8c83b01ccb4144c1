#!/bin/sh
# What cargo calls in the place of rustc: leaves libFuzzer's counters, which cargo-fuzz asks for everywhere, out of the crates that
# are only there to be linked. They would make the build several times as long and every run slower, and say nothing. Overflows are
# looked for in our own crates; others wrap around, as they do where Subtide is in use.
rustc=$1
shift
if [ "$1" = --crate-name ]; then
    case $2 in
    client | gateway | identity | inference | shared | subtide_fuzz) ;;
    # What is read with.
    base64 | http | httparse | jsonwebtoken | oxilangtag | safetensors | serde_json | symphonia* | tokenizers | zip)
        set -- "$@" -Cdebug-assertions=off
        ;;
    *) set -- "$@" -Cdebug-assertions=off -Cllvm-args=-sanitizer-coverage-level=0 ;;
    esac
fi
exec "$rustc" "$@"
