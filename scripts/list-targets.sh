#!/usr/bin/env bash
# Prints one line "package name" for each test, benchmark or fuzz target whose
# name matches a regular expression: scripts/list-targets.sh '^Fuzz' [package...]
set -euo pipefail
cd "$(dirname "$0")/.."

pattern=${1:?usage: list-targets.sh pattern [package...]}
shift
[ $# -gt 0 ] || set -- ./...

# go test -list prints a package's names first and then "ok <package> <time>".
"${GO:-go}" test -list "$pattern" "$@" | awk '
  $1 == "ok" { for (i = 0; i < n; i++) print $2, name[i]; n = 0; next }
  $1 == "?" { next }
  NF == 1 { name[n++] = $1 }'
