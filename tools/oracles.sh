#!/bin/sh
# Which peers' parsers and browsers do the tests of reports need beside Python packages?
#
# Into topbit's cache: the kernel's own KTAP parser (tools/testing/kunit of Debian's kernel source),
# axe-core, the checker of web pages' accessibility (npm), and the JSON Schemas of GitHub's actions
# and GitLab's jobs (from check-jsonschema, PyPI). Into the system, as root only: Debian's Chromium.
# What cannot be had is said, and the tests that need it are skipped.
set -eu
cd "$(dirname "$0")/.."
cache=$(.venv/bin/python -c 'from topbit.store.cache import cache_dir; print(cache_dir())')/oracles
axe=4.14.1 schemas=0.39.0
mkdir -p "$cache"
work=$(mktemp -d "$cache/new.XXXXXX")
trap 'rm -rf "$work"' EXIT

lacking() { echo "oracles.sh: no $1: the tests that need it will be skipped" >&2; }

kunit() {
  package=$(apt-cache depends linux-source | sed -n 's/^ *Depends: //p' | head -n 1)
  (cd "$work" && apt-get -qq -o APT::Sandbox::User=root download "$package")
  dpkg-deb --fsys-tarfile "$work"/"$package"_*.deb |
    tar -x -O --wildcards './usr/src/*.tar.xz' |
    tar -x -J -C "$work" --strip-components=3 --wildcards '*/tools/testing/kunit/*.py'
  mv "$work/kunit" "$cache/kunit"
}

axe_core() {
  (cd "$work" && npm pack --silent "axe-core@$axe" && tar -xzf "axe-core-$axe.tgz" package/axe.min.js)
  mv "$work/package/axe.min.js" "$cache/axe-$axe.min.js"
}

ci_schemas() {
  .venv/bin/python -m pip download --quiet --no-deps -d "$work" "check-jsonschema==$schemas"
  .venv/bin/python -m zipfile -e "$work"/check_jsonschema-*.whl "$work/schemas"
  mkdir -p "$cache/ci-$schemas"
  for name in github-actions gitlab-ci; do
    mv "$work/schemas/check_jsonschema/builtin_schemas/vendor/$name.json" "$cache/ci-$schemas/"
  done
}

install() { [ "$(id -u)" = 0 ] && apt-get -qq install -y --no-install-recommends "$@" >/dev/null; }

[ "$(id -u)" != 0 ] || apt-get -qq update || true
[ -e "$cache/kunit/kunit_parser.py" ] || kunit || lacking "KTAP parser of the kernel"
command -v npm >/dev/null || install npm || true
[ -e "$cache/axe-$axe.min.js" ] || axe_core || lacking axe-core
[ -e "$cache/ci-$schemas/gitlab-ci.json" ] || ci_schemas || lacking "schemas of CI files"
command -v chromium >/dev/null || install chromium fonts-dejavu-core || lacking Chromium
