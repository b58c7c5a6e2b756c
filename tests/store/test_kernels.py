import gzip
from pathlib import Path

import pytest

from kernel_images import image, written
from topbit.errors import InputError, RunError
from topbit.store import kernels
from topbit.store.apt import Package

BPO = "-1~bpo13+1"
REAL_APT = kernels.arm64_apt


def split_kernel(release: str) -> list[Package]:
    version = release.split("+")[0]
    parts = [f"linux-{part}-{release}" for part in ("base", "binary", "modules")]
    depends = ", ".join(f"{part} (= {version}{BPO})" for part in parts)
    whole = Package(f"linux-image-{release}", version + BPO, 1900, "dracut, " + depends)
    return [whole, *(Package(part, version + BPO, 10_000_000, "kmod") for part in parts)]


OFFERED = [
    Package("linux-image-6.12.94+deb13-cloud-arm64", "6.12.94-1", 28_000_000, "kmod"),
    Package("linux-image-6.18.9+deb13-cloud-arm64", "6.18.9" + BPO, 27_000_000, "kmod"),
    Package("linux-image-6.18.15+deb13-cloud-arm64", "6.18.15" + BPO, 27_000_001, "kmod"),
    Package("linux-image-6.18.15+deb13-arm64", "6.18.15" + BPO, 96_000_000, "kmod"),
    Package("linux-image-6.18.15+deb13-cloud-arm64-unsigned", "6.18.15" + BPO, 27_000_000, ""),
    Package("linux-image-6.18.15+deb13-arm64-dbg", "6.18.15" + BPO, 900_000_000, ""),
    *split_kernel("7.3.4+deb13-cloud-arm64"),
    # The archive has lost the modules of this one.
    *split_kernel("7.1.13+deb13-cloud-arm64")[:3],
]


class FakeApt:
    """Stands for Debian's archive; remembers what was asked of it."""

    def __init__(self) -> None:
        self.updates: list[bool] = []
        self.offered = OFFERED
        self.suites: list[str] = []

    def __call__(self, suite: str = "") -> "FakeApt":
        self.suites.append(suite)
        return self

    def update(self, *, force: bool = False) -> None:
        self.updates.append(force)

    def offers(self, *patterns: str) -> list[Package]:
        return self.offered

    def download(self, package: Package, into: Path, came: object) -> Path:
        raise RunError(f"{package.name} has gone")


@pytest.fixture(autouse=True)
def apt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeApt:
    fake = FakeApt()
    monkeypatch.setattr(kernels, "arm64_apt", fake)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return fake


def cache(tmp_path: Path, release: str) -> Path:
    folder = tmp_path / "topbit/kernels" / release
    (folder / "modules").mkdir(parents=True)
    (folder / "Image").write_bytes(image())
    return folder


def test_archive_lists_whole_kernels_by_version() -> None:
    assert [(offer.release, offer.flavour) for offer in kernels.available()] == [
        ("6.18.9+deb13-cloud-arm64", "cloud"),
        ("6.18.15+deb13-cloud-arm64", "cloud"),
        ("6.18.15+deb13-arm64", "full"),
        ("7.3.4+deb13-cloud-arm64", "cloud"),
    ]


def test_split_kernel_is_all_its_parts() -> None:
    split = kernels.available()[-1]
    names = [package.name.split("-")[1] for package in split.packages]
    assert sorted(names) == ["base", "binary", "modules"]
    assert split.size == 30_000_000


@pytest.mark.parametrize(
    ("name", "flavour", "fetched"),
    [
        ("6.18", "cloud", "6.18.15+deb13-cloud-arm64"),
        ("6.18.9", "cloud", "6.18.9+deb13-cloud-arm64"),
        ("6.18", "full", "6.18.15+deb13-arm64"),
        ("7.3", "cloud", "7.3.4+deb13-cloud-arm64"),
        ("6.18.9+deb13-cloud-arm64", "cloud", "6.18.9+deb13-cloud-arm64"),
    ],
)
def test_newest_of_what_is_meant_is_fetched(
    name: str, flavour: str, fetched: str, apt: FakeApt
) -> None:
    notes: list[str] = []
    with pytest.raises(RunError, match="has gone"):
        kernels.fetch(name, flavour=flavour, note=notes.append)
    assert f": Linux {fetched} (" in notes[0]
    assert apt.updates == [False, True]  # a point release that has gone: asked for the index again


def test_another_suite_is_asked_at_every_step(apt: FakeApt, tmp_path: Path) -> None:
    """Debian's unstable has kernels of the next release (+deb14)."""
    wanted = "7.2.13+deb14-cloud-arm64"
    apt.offered = split_kernel(wanted)
    with pytest.raises(RunError, match="has gone"):
        kernels.fetch("7.2", suite="unstable")
    assert set(apt.suites) == {"unstable"}
    cache(tmp_path, wanted)
    cache(tmp_path, "7.2.99+deb13-cloud-arm64")
    assert kernels.fetch("7.2", suite="unstable").release == wanted


def test_a_suite_has_an_index_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernels, "debian_mirror", lambda: "http://mirror/debian")
    usual, other = REAL_APT(), REAL_APT("unstable")
    assert [source.suite for source in usual.sources] == ["trixie", "trixie-backports"]
    assert [source.suite for source in other.sources] == ["unstable"]
    assert usual.folder != other.folder


@pytest.mark.parametrize("name", ["6.1", "6.12", "6.180", "7.1", "9.9"])
def test_kernel_that_is_not_offered_is_said(name: str) -> None:
    with pytest.raises(InputError, match=r"no arm64 kernel .*it has 6\.18, 7\.3; --kernel path"):
        kernels.fetch(name)


def test_unknown_flavour_is_said() -> None:
    with pytest.raises(InputError, match="did you mean 'cloud'"):
        kernels.fetch("6.18", flavour="clod")


def test_cached_kernel_is_used_without_asking(tmp_path: Path, apt: FakeApt) -> None:
    cache(tmp_path, "6.18.9+deb13-cloud-arm64")
    newest = cache(tmp_path, "6.18.15+deb13-cloud-arm64")
    cache(tmp_path, "6.18.16+deb13-arm64")
    (tmp_path / "topbit/kernels/.7.3.4+deb13-cloud-arm64.partial").mkdir()
    kernel = kernels.kernel("6.18")
    assert kernel.image == newest / "Image"
    assert kernel.modules == newest / "modules"
    assert apt.updates == []
    assert [k.release for k in kernels.cached()] == [
        "6.18.9+deb13-cloud-arm64",
        "6.18.15+deb13-cloud-arm64",
        "6.18.16+deb13-arm64",
    ]


def test_own_build_is_a_path(tmp_path: Path) -> None:
    path = written(tmp_path, image())
    assert kernels.kernel(str(path)) == kernels.Kernel("6.18.15+deb13-cloud-arm64", path, None)
    assert kernels.kernel(str(path)).read().realm


def test_own_modules_are_found_in_what_modules_install_made(tmp_path: Path) -> None:
    path = written(tmp_path, image())
    folder = tmp_path / "lib/modules/6.18.15+deb13-cloud-arm64"
    folder.mkdir(parents=True)
    for given in (tmp_path, tmp_path / "lib/modules", folder):
        assert kernels.own_kernel(path, given).modules == folder
    with pytest.raises(InputError, match="not a folder of modules"):
        kernels.own_kernel(path, tmp_path / "absent")


def test_an_image_in_its_build_has_the_builds_drivers(tmp_path: Path) -> None:
    boot = tmp_path / "linux/arch/arm64/boot"
    boot.mkdir(parents=True)
    path = written(boot, image())
    assert kernels.own_kernel(path).modules is None
    (tmp_path / "linux/modules.builtin").write_text("kernel/drivers/nvme/host/nvme.ko\n")
    (tmp_path / "linux/drivers").mkdir()
    (tmp_path / "linux/drivers/virtio_blk.ko").touch()
    for kernel in (kernels.own_kernel(path), kernels.own_kernel(path, tmp_path / "linux")):
        assert kernel.modules == tmp_path / "linux"
        assert [kernel.tree().has(n) for n in ("nvme", "virtio_blk", "e1000e")] == [
            True,
            True,
            False,
        ]


def test_an_image_alone_tells_by_its_configuration(tmp_path: Path) -> None:
    config = gzip.compress(b"CONFIG_BLK_DEV_NVME=y\nCONFIG_E1000E=m\n")
    path = written(tmp_path, image(b"Linux version 7.3.4 (x)\0IKCFG_ST" + config + b"IKCFG_ED"))
    tree = kernels.own_kernel(path).tree()
    assert [tree.has(name) for name in ("nvme", "e1000e")] == [True, False]


def test_too_old_kernel_is_refused_on_reading(tmp_path: Path) -> None:
    path = written(tmp_path, image(b"Linux version 6.12.107 (x)\0"))
    with pytest.raises(InputError, match="cannot be a Realm"):
        kernels.kernel(str(path)).read()
