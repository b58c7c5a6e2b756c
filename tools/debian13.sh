#!/bin/sh
# Do the tests that boot no kernel pass on Debian 13, with its Python 3.13?
#
# Makes a Debian 13 in a folder of its own, from the mirror that this machine's apt uses, and runs
# `make test-fast` of a copy of this tree in it. What pip needs there is fetched outside, with this
# machine's pip and its settings: nothing inside asks the network. Needs root (chroot, mounts that
# end with the command), mmdebstrap, and the .venv of `make test`.
set -eu
cd "$(dirname "$0")/.."
[ "$(id -u)" = 0 ] || { echo "debian13.sh: needs root" >&2; exit 2; }
command -v mmdebstrap >/dev/null ||
  { echo "debian13.sh: mmdebstrap is missing (apt-get install mmdebstrap)" >&2; exit 2; }

work=$(mktemp -d /var/tmp/topbit-debian13.XXXXXX)
trap 'rm -rf --one-file-system "$work"' EXIT
root=$work/root

mirror=$(.venv/bin/python -c 'from topbit.store.debian import debian_mirror; print(debian_mirror())')
apt-config dump --format '%F "%v";%n' Acquire | grep -v '""' >"$work/apt.conf"
mmdebstrap --quiet --variant=apt --include=make,python3-venv,cpio,device-tree-compiler,gpg,gpg-agent,trace-cmd --aptopt="$work/apt.conf" \
  trixie "$root" "$mirror"

mkdir "$root/topbit" "$root/wheels"
.venv/bin/python -m pip --quiet download --require-hashes --only-binary=:all: --python-version 3.13 \
  --dest "$root/wheels" -r requirements/test.txt
tar --exclude=./.venv --exclude=./.git -c . | tar -x -C "$root/topbit" --no-same-owner

unshare --mount --pid --fork --kill-child sh -eu -c '
  mount --make-rprivate /
  mount --rbind /dev "$1/dev"
  mount -t proc proc "$1/proc"
  mount -t tmpfs tmpfs "$1/tmp"
  exec env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LC_ALL=C.UTF-8 \
    PIP_NO_INDEX=1 PIP_FIND_LINKS=/wheels PIP_ROOT_USER_ACTION=ignore \
    chroot "$1" make -C /topbit test-fast
' - "$root"
