#!/usr/bin/env bash
# What does the action do? Installs topbit of this repository, checks FILES, and leaves in OUT the
# report as SARIF, as a page and as text. Fails as `topbit check` does.
set -euo pipefail
mkdir -p "$OUT"
"$PYTHON" -m venv "$OUT.venv"
"$OUT.venv/bin/pip" --quiet install "$SOURCE"
topbit=$OUT.venv/bin/topbit

files=()
while IFS= read -r pattern; do
  [ -n "$pattern" ] || continue
  mapfile -t found < <(compgen -G "$pattern" || true)
  # What matches nothing is told by topbit, by its name.
  files+=("${found[@]:-$pattern}")
done <<<"$FILES"
read -r -a arguments <<<"${ARGUMENTS:-}"

check() { "$topbit" check "${arguments[@]}" --format "$1" -- "${files[@]}"; }

status=0
check text | tee "$OUT/topbit.txt" || status=$?
check sarif >"$OUT/topbit.sarif" 2>/dev/null || true
check html >"$OUT/topbit.html" 2>/dev/null || true
check markdown >>"${GITHUB_STEP_SUMMARY:-/dev/null}" 2>/dev/null || true
echo "sarif=$OUT/topbit.sarif" >>"$GITHUB_OUTPUT"
exit "$status"
