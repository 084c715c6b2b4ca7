#!/usr/bin/env bash
# Runs the benchmarks of the given packages (default all) ten times, the count
# that benchstat wants, into bench/NAME.txt: scripts/bench.sh NAME [package...]
# The raw files are committed: a figure in the docs names the file it is from.
set -euo pipefail
cd "$(dirname "$0")/.."

name=${1:-$(date +%Y-%m-%d)-$(git rev-parse --short HEAD)}
[ $# -eq 0 ] || shift
targets=$(scripts/list-targets.sh '^Benchmark' "$@")
[ -n "$targets" ] || { echo "bench: no benchmarks in ${*:-./...}" >&2; exit 1; }
mapfile -t packages < <(cut -d ' ' -f 1 <<<"$targets" | sort -u)

mkdir -p bench
# One package at a time (-p 1): parallel ones would measure each other.
"${GO:-go}" test -p 1 -run '^$' -bench . -benchmem -count=10 -timeout=2h "${packages[@]}" | tee "bench/$name.txt.part"
# Only a run that ended becomes a result.
mv "bench/$name.txt.part" "bench/$name.txt"
echo "bench: wrote bench/$name.txt" >&2
