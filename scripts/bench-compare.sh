#!/usr/bin/env bash
# Compares two benchmark files with benchstat: scripts/bench-compare.sh OLD NEW
# Without arguments the two newest of bench/.
set -euo pipefail
cd "$(dirname "$0")/.."

old=${1-} new=${2-}
if [ -z "$old" ] || [ -z "$new" ]; then
  mapfile -t newest < <(find bench -name '*.txt' -printf '%T@ %p\n' 2>/dev/null | sort -rn | head -n 2 | cut -d ' ' -f 2-)
  new=${new:-${newest[0]-}} old=${old:-${newest[1]-}}
fi
if [ ! -f "$old" ] || [ ! -f "$new" ]; then
  echo "bench-compare: two files are needed: make bench-compare OLD=bench/a.txt NEW=bench/b.txt" >&2
  exit 1
fi
echo "old: $old, new: $new"
exec "${GO:-go}" tool -modfile=tools/go.mod benchstat "$old" "$new"
