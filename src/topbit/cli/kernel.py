"""topbit kernel: which arm64 kernels can be booted, and does a source tree keep the convention?"""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from topbit.cli.bar import bar
from topbit.cli.ending import add_exit_for
from topbit.cli.output import note
from topbit.errors import UsageError

if TYPE_CHECKING:
    from topbit.store.kernels import Kernel, Offer

HELP = "list and fetch arm64 kernels to boot; check a source tree or a patch"
FLAVOURS = ("cloud", "full", "rt", "16k")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Which arguments does `topbit kernel` take?"""
    verbs = parser.add_subparsers(dest="action", required=True, metavar="list|fetch|check")
    listing = verbs.add_parser(
        "list", help="kernels in the cache and in Debian's archive (no network: the cache only)"
    )
    listing.add_argument(
        "--all", action="store_true", help="every version, not each series' newest"
    )
    fetching = verbs.add_parser("fetch", help="fetch kernels, apt checking their signatures")
    fetching.add_argument(
        "series",
        nargs="+",
        metavar="SERIES",
        help="6.16, 6.18, 7.2, 7.3 (the newest of the series), or a version such as 6.18.15",
    )
    fetching.add_argument(
        "--flavour", choices=FLAVOURS, default="cloud", help="which of Debian's builds (cloud)"
    )
    fetching.add_argument(
        "--suite",
        default="",
        help="another suite of Debian's archive than trixie and trixie-backports, such as unstable",
    )
    fetching.add_argument(
        "--source", action="store_true", help="their source packages instead, for `kernel check`"
    )
    checking = verbs.add_parser(
        "check",
        help="does a source tree, or a patch to one, keep the convention for DMA addresses?",
    )
    checking.add_argument(
        "subject",
        metavar="TREE|SERIES|PATCH",
        help="a kernel source tree; a series (7.3) of Debian's source packages; a patch or a mail, "
        "- for standard input. Code of the tree is compiled and run on this machine",
    )
    checking.add_argument(
        "--tree", metavar="TREE|SERIES", help="what a patch is applied to (a copy of it)"
    )
    checking.add_argument(
        "--format",
        choices=("text", "json", "b4"),
        default="text",
        help="default: text; b4: JSON as b4's review checks read it",
    )
    add_exit_for(checking)


def run(args: argparse.Namespace) -> int:
    """List, fetch or check; returns the exit status."""
    if args.action == "check":
        from topbit import api

        with bar() as fetched:
            check = api.check_kernel(args.subject, tree=args.tree, note=note, fetched=fetched)
        print(check.render(args.format), end="")
        return check.exit_status
    if args.action == "fetch" and args.source:
        if args.suite:
            raise UsageError("goes with binary packages only", where="--suite")
        from topbit.store import sources

        with bar() as fetched:
            for name in args.series:
                print(sources.fetch(name, note, fetched))
        return 0
    if args.action == "fetch":
        from topbit.store import kernels

        with bar() as fetched:
            for name in args.series:
                kernel = kernels.fetch(
                    name, flavour=args.flavour, suite=args.suite, note=note, fetched=fetched
                )
                print(_cached_line(kernel))
        return 0
    return _list(everything=args.all)


def _list(*, everything: bool) -> int:
    from topbit.errors import MissingToolError, RunError
    from topbit.store import kernels

    held = kernels.cached()
    try:
        offers = kernels.available()
    except (MissingToolError, RunError) as error:
        note(str(error))
        offers = []
    if not everything:
        # The last of a series is the newest: offers are sorted by version.
        newest = {(kernels.version_of(o.release)[:2], o.flavour): o for o in offers}
        offers = list(newest.values())
    names = {kernel.release for kernel in held}
    offers = [offer for offer in offers if offer.release not in names]
    for kernel in held:
        print(_cached_line(kernel))
    for offer in offers:
        print(_offer_line(offer))
    return 0


def _cached_line(kernel: Kernel) -> str:
    from topbit.store.image import read_image

    realm = "" if read_image(kernel.image).realm else "  too old to be a Realm"
    return f"{kernel.release:36}  cached   {kernel.image}{realm}"


def _offer_line(offer: Offer) -> str:
    return f"{offer.release:36}  archive  {offer.size / 1e6:.0f} MB, {offer.flavour}"
