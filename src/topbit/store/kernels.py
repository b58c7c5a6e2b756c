"""Which arm64 kernels can be booted, and where are their files?

Debian's kernels come from its archive through apt (see `apt`), and stay in the cache: each with
its plain Image and its modules. One's own build is a file and, if it has any, a folder of modules.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
from dataclasses import dataclass
from pathlib import Path

from topbit.addressing.kernel_policy import DIFFERENCES, parse_release
from topbit.errors import InputError, MissingToolError, RunError, nearest
from topbit.store.apt import AptRoot, Package, extract
from topbit.store.apt_program import Came
from topbit.store.cache import cache_dir, install_folder, locked
from topbit.store.debian import Source, debian_mirror
from topbit.store.download import Download, Fetched, Note, fetch_all, quiet, unseen
from topbit.store.image import Image, read_image
from topbit.store.modules import MODULES_BUILTIN, ModuleTree

SUITES = ("trixie", "trixie-backports")
FLAVOURS = {"cloud": "cloud-arm64", "full": "arm64", "rt": "rt-arm64", "16k": "arm64-16k"}
REALM_GUEST = DIFFERENCES["realm_guest"]


@dataclass(frozen=True, slots=True)
class Kernel:
    """Which kernel is it, and where are its files?

    Attributes:
        release: ``uname -r``.
        image: its Image file; plain if it came from the store.
        modules: its ``lib/modules/RELEASE`` folder; None if it has none.
    """

    release: str
    image: Path
    modules: Path | None

    def read(self) -> Image:
        """Which Image does it boot? Raises InputError if it cannot be a Realm."""
        image = read_image(self.image)
        image.check_realm(str(self.image))
        return image

    def tree(self) -> ModuleTree:
        """Which modules has it, and which drivers are part of it?

        An empty tree if it has none; without ``modules.builtin`` the Image's own configuration
        tells what is part of it, if it has one (CONFIG_IKCONFIG).
        """
        tree = ModuleTree(self.modules or self.image.parent / "modules")
        if tree.lists_builtin:
            return tree
        return ModuleTree(tree.folder, read_image(self.image).configuration)


@dataclass(frozen=True, slots=True)
class Offer:
    """Which kernel does the archive offer? `packages` are all that hold its files.

    `suite`: where it was looked for; empty for `SUITES`.
    """

    release: str
    flavour: str
    packages: tuple[Package, ...]
    suite: str = ""

    @property
    def size(self) -> int:
        """How many bytes are to be downloaded?"""
        return sum(package.size for package in self.packages)


def cached() -> list[Kernel]:
    """Which kernels are in the cache? Oldest version first."""
    home = _home()
    names = sorted((path.name for path in home.glob("[0-9]*")), key=version_of)
    return [Kernel(name, home / name / "Image", home / name / "modules") for name in names]


def available(*, force: bool = False, suite: str = "") -> list[Offer]:
    """Which kernels that can be a Realm does Debian's archive offer? Oldest version first.

    A kernel of which the archive has lost a part (its modules, say) is left out.

    Args:
        force: ask the archive even if its index was fetched less than a day ago.
        suite: where to look; empty for `SUITES`.

    Raises:
        MissingToolError: this machine has no apt or no Debian archive.
        RunError: the archive cannot be reached and was never asked before, or has no such suite.
    """
    apt = arm64_apt(suite)
    apt.update(force=force)
    wanted = [f"linux-{part}-[0-9]*" for part in ("image", "binary", "modules", "base")]
    packages = {package.name: package for package in reversed(apt.offers(*wanted))}
    offers = []
    for package in packages.values():
        match = re.fullmatch(r"linux-image-([0-9.]+\+deb\d+)-(.+)", package.name)
        flavour = next((k for k, v in FLAVOURS.items() if match and v == match[2]), None)
        if match is None or flavour is None or not REALM_GUEST.is_in(parse_release(match[1])):
            continue
        # Newer kernels are split: linux-image-* is then empty and depends on the parts.
        parts = re.findall(r"linux-(?:binary|modules)-[^ ,]+", package.depends)
        if parts:
            parts.append(f"linux-base-{match[1]}-{match[2]}")
        if all(part in packages for part in parts):
            held = tuple(packages[part] for part in parts) or (package,)
            offers.append(Offer(f"{match[1]}-{match[2]}", flavour, held, suite))
    return sorted(offers, key=lambda offer: (version_of(offer.release), offer.flavour))


def kernel(
    name: str, *, flavour: str = "cloud", note: Note = quiet, fetched: Fetched = unseen
) -> Kernel:
    """Which kernel does the user mean by ``--kernel name``?

    Args:
        name: a series (``6.18``), a version (``6.18.15``), a release (``uname -r``): the newest
            of these in the cache, else the newest in the archive, fetched; or a path.
        flavour: which of Debian's builds, a key of `FLAVOURS`; no matter for a path.
        note: is told what is being done.
        fetched: is told how far that is.

    Raises:
        InputError: neither a version nor a file, or no such flavour.
        RunError: it is to be fetched and cannot be.
    """
    if is_path(name):
        return own_kernel(Path(name))
    return held(name, flavour) or fetch(name, flavour=flavour, note=note, fetched=fetched)


def is_path(name: str) -> bool:
    """Is this the path of one's own build, and no version of Debian's kernels?"""
    return os.sep in name or Path(name).is_file() or not _VERSION.match(name)


def held(name: str, flavour: str = "cloud") -> Kernel | None:
    """Which kernel of the cache does `name` mean, the newest one? None: it holds none.

    Raises:
        InputError: no such flavour.
    """
    suffix = _suffix(flavour)
    found = [k for k in cached() if _means(name, k.release, suffix)]
    return found[-1] if found else None


def own_kernel(image: Path, modules: Path | None = None) -> Kernel:
    """Which kernel is the user's own build?

    Args:
        image: a kernel's file.
        modules: its lib/modules/RELEASE or that one's top, or the folder of its build; None: the
            build in which `image` lies, if it lies in one.

    Raises:
        InputError: `image` is not a kernel, or `modules` no folder.
    """
    try:
        release = read_image(image).release
    except InputError as error:
        hint = error.hint or "give a series such as 7.3, or the path of an Image"
        raise InputError(error.what, where=f"--kernel {image}", hint=hint) from error
    if modules is None:
        modules = _build_beside(image)
    else:
        below = [modules / "lib/modules" / release, modules / release, modules]
        modules = next((folder for folder in below if folder.is_dir()), None)
        if modules is None:
            raise InputError("is not a folder of modules", where=f"--modules {below[-1]}")
    return Kernel(release, image, modules)


def _build_beside(image: Path) -> Path | None:
    """In which folder was it built, going by its place there (arch/arm64/boot/Image)?"""
    parents = image.resolve().parents
    inside = len(parents) > 3 and (parents[2].name, parents[1].name) == ("arch", "arm64")
    return parents[3] if inside and (parents[3] / MODULES_BUILTIN).is_file() else None


def fetch(
    name: str,
    *,
    flavour: str = "cloud",
    suite: str = "",
    note: Note = quiet,
    fetched: Fetched = unseen,
) -> Kernel:
    """Fetch the newest kernel that `name` (series, version or release) means, if not yet cached.

    Args:
        name, flavour, note, fetched: as for `kernel`.
        suite: of Debian's archive; empty for `SUITES`.

    Raises:
        InputError: the archive offers no such kernel.
        MissingToolError: this machine has no apt or no Debian archive.
        RunError: the archive cannot be reached.
    """
    offer = _offered(name, flavour, suite)
    if not (_home() / offer.release).is_dir():
        fetch_all([_download(offer, name)], note, fetched)
    found = held(offer.release, flavour) or held(name, flavour)  # the index may have been old
    assert found is not None
    return found


def wanted(name: str, *, flavour: str = "cloud") -> Download:
    """What would be fetched for the kernel that `name` means?

    Raises:
        InputError, MissingToolError, RunError: as for `fetch`.
    """
    return _download(_offered(name, flavour), name)


def _download(offer: Offer, name: str) -> Download:
    def get(came: Came) -> None:
        try:
            _install(offer, came)
        except MissingToolError:
            raise
        except RunError:
            # A point release disappears when a newer one comes: the index may be out of date.
            offers = available(force=True, suite=offer.suite)
            _install(_newest(name, offer.flavour, offers), came)

    return Download(f"Linux {offer.release}", offer.size, get)


def _offered(name: str, flavour: str, suite: str = "") -> Offer:
    _suffix(flavour)
    try:
        return _newest(name, flavour, available(suite=suite))
    except InputError:
        with contextlib.suppress(RunError):
            return _newest(name, flavour, available(force=True, suite=suite))
        raise


def arm64_apt(suite: str = "") -> AptRoot:
    """What does Debian offer for arm64, whatever this machine is? In `SUITES`, or in `suite`."""
    mirror = debian_mirror()
    folder = cache_dir() / (f"apt/arm64-{suite}" if suite else "apt/arm64")
    return AptRoot(folder, "arm64", [Source(mirror, one) for one in ([suite] if suite else SUITES)])


def _home() -> Path:
    return cache_dir() / "kernels"


_VERSION = re.compile(r"\d+\.\d+")


def version_of(release: str) -> tuple[int, ...]:
    """Which version is a release, as numbers to compare? ``6.18.15+deb13`` is (6, 18, 15)."""
    match = re.match(r"[\d.]+", release)
    return tuple(int(part) for part in match[0].split(".") if part) if match else ()


def _suffix(flavour: str) -> str:
    if flavour not in FLAVOURS:
        raise InputError(f"unknown flavour {flavour!r}", hint=nearest(flavour, FLAVOURS))
    return FLAVOURS[flavour]


def _means(name: str, release: str, suffix: str) -> bool:
    if name == release:
        return True
    wanted = tuple(map(int, name.split("."))) if re.fullmatch(r"\d+(\.\d+)+", name) else ()
    same = version_of(release)[: len(wanted)] == wanted and bool(wanted)
    return same and re.fullmatch(r"[\d.]+\+deb\d+-" + re.escape(suffix), release) is not None


def _newest(name: str, flavour: str, offers: list[Offer]) -> Offer:
    fitting = [o for o in offers if _means(name, o.release, FLAVOURS[flavour])]
    if not fitting:
        series = {".".join(map(str, version_of(o.release)[:2])) for o in offers}
        known = ", ".join(sorted(series, key=version_of))
        raise InputError(
            f"Debian's archive offers no arm64 kernel {name} ({flavour}) that can be a Realm",
            where="--kernel",
            hint=f"it has {known}; --kernel path/to/Image boots one's own build",
        )
    return fitting[-1]


def _install(offer: Offer, came: Came) -> None:
    with locked(_home()):
        install_folder(_home() / offer.release, lambda empty: _fill(empty, offer, came))


def _fill(folder: Path, offer: Offer, came: Came) -> None:
    """Fetch and unpack an offered kernel: leaves Image, config and modules in `folder`."""
    apt = arm64_apt(offer.suite)
    debs: list[Path] = []
    before = 0
    for package in offer.packages:

        def here(count: int, before: int = before) -> None:
            came(before + count)

        debs.append(apt.download(package, folder / "debs", here))
        before += package.size
    root = folder / "debs/root"
    extract(debs, root)
    modules = _only([*root.glob("lib/modules/*"), *root.glob("usr/lib/modules/*")], offer)
    vmlinuz = _only([*root.glob("boot/vmlinuz-*"), *modules.glob("vmlinuz")], offer)
    (folder / "Image").write_bytes(read_image(vmlinuz).data)
    config = _only([*root.glob("boot/config-*"), *modules.glob("config")], offer)
    config.rename(folder / "config")
    for unused in ("vmlinuz", "System.map"):
        (modules / unused).unlink(missing_ok=True)
    shutil.rmtree(modules / "dtb", ignore_errors=True)
    modules.rename(folder / "modules")
    shutil.rmtree(folder / "debs")


def _only(found: list[Path], offer: Offer) -> Path:
    if len(found) != 1:
        names = ", ".join(package.name for package in offer.packages)
        raise RunError("the packages do not hold a kernel as Debian's do", where=names)
    return found[0]
