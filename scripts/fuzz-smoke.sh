#!/usr/bin/env bash
# Runs every fuzz target of the given packages (default all) for FUZZTIME each:
# go test fuzzes one target at a time. Stops at the first one that fails.
set -euo pipefail
cd "$(dirname "$0")/.."

targets=$(scripts/list-targets.sh '^Fuzz' "$@")
[ -n "$targets" ] || { echo "fuzz-smoke: no fuzz targets in ${*:-./...}" >&2; exit 1; }

while read -r package name; do
  echo "== $package $name"
  "${GO:-go}" test -run '^$' -fuzz "^$name\$" -fuzztime "${FUZZTIME:-10s}" "$package" </dev/null
done <<<"$targets"
