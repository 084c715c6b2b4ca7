#!/usr/bin/env bash
# Fails if `make generate` changes a file: then a generated file is stale, or was
# edited by hand. It compares the tree with itself, not with a commit, so it
# holds in a tree with uncommitted work too.
set -euo pipefail
cd "$(dirname "$0")/.."

tree() {
  local file
  git ls-files -z --cached --others --exclude-standard | sort -zu |
    while IFS= read -r -d '' file; do
      [ ! -f "$file" ] || printf '%s  %s\n' "$(git hash-object --no-filters -- "$file")" "$file"
    done
}

before=$(tree)
make --no-print-directory generate
if ! diff <(echo "$before") <(tree); then
  echo "check-generated: the files above are not what 'make generate' writes; run it and commit the result" >&2
  exit 1
fi
