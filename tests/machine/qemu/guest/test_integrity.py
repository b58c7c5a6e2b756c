import hashlib
import socket
from pathlib import Path

import pytest

from topbit.machine.qemu.guest import integrity
from topbit.machine.qemu.guest.disk import DiskDevice, Medium
from topbit.machine.qemu.guest.integrity import MIB, Disk, EchoPeer
from topbit.machine.qemu.guest.report import StepReport
from topbit.scenario.tables import DeviceSpec, WorkloadSpec

DISK = Disk(seed=7, size=8 * MIB)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    DISK.write(tmp_path / "disk.img")
    return tmp_path / "disk.img"


def copy(path: Path, size: int = MIB) -> None:
    with path.open("r+b") as image:
        image.seek(MIB)
        data = image.read(size)
        image.seek(4 * MIB)
        image.write(data)


def poke(path: Path, at: int) -> None:
    with path.open("r+b") as image:
        image.seek(at)
        byte = image.read(1)
        image.seek(at)
        image.write(bytes([byte[0] ^ 1]))


def test_right_copy_is_accepted(path: Path) -> None:
    copy(path)
    assert DISK.check_copy(path, MIB, 4 * MIB, MIB) == ""


def test_missing_copy_is_found(path: Path) -> None:
    assert "wrong data written" in DISK.check_copy(path, MIB, 4 * MIB, MIB)


@pytest.mark.parametrize(
    ("at", "says"),
    [
        (5 * MIB - 1, f"wrong data written at byte 0x{5 * MIB - 1:x}"),
        (4 * MIB + 512, f"wrong data written at byte 0x{4 * MIB + 512:x}"),
        (3 * MIB, f"read-only half changed at byte 0x{3 * MIB:x}"),
    ],
)
def test_one_wrong_bit_is_found_and_placed(path: Path, at: int, says: str) -> None:
    copy(path)
    poke(path, at)
    assert DISK.check_copy(path, MIB, 4 * MIB, MIB) == says


def test_truncated_image_is_found(path: Path) -> None:
    copy(path)
    with path.open("r+b") as image:
        image.truncate(4 * MIB + 100)
    assert "wrong data written" in DISK.check_copy(path, MIB, 4 * MIB, MIB)


def test_a_disk_that_a_device_has_open_is_filled_in_place() -> None:
    medium = Medium(DISK)
    try:
        with medium.mapped() as seen:
            assert not any(seen[: 64 << 10])
            assert len(list(medium.filling())) == 4
            assert seen[: 4 * MIB] == DISK.content(0, 4 * MIB)
            assert not any(seen[4 * MIB :: 4096])
    finally:
        medium.close()


def test_disks_of_other_seeds_and_places_differ() -> None:
    assert DISK.content(0, MIB) != Disk(8).content(0, MIB)
    assert DISK.content(0, MIB) != DISK.content(MIB, MIB)
    assert DISK.content(MIB, 2 * MIB) == DISK.content(MIB, MIB) + DISK.content(2 * MIB, MIB)


def test_no_partition_table_by_chance() -> None:
    assert all(Disk(seed).content(0, MIB)[510:512] == b"\0\0" for seed in range(20))


def md5(first: int, size: int) -> str:
    return hashlib.md5(DISK.content(0, 4 * MIB)[first : first + size]).hexdigest()


PARTS = {"4k": (0, 256 << 10), "1M": (MIB, 2 * MIB)}


@pytest.mark.parametrize(
    ("log", "says"),
    [
        (f"md5 4k {md5(0, 256 << 10)} -\nmd5 1M {md5(MIB, 2 * MIB)} -\n", ""),
        (f"md5 4k {md5(0, 256 << 10)} -\n", "read 1M: the guest did not come to its end"),
        (f"md5 4k {md5(0, MIB)} -\nmd5 1M x\n", "read 4k: the guest got wrong data"),
        ("", "read 4k: the guest did not come to its end"),
    ],
)
def test_hashes_of_the_guest_are_compared(log: str, says: str) -> None:
    assert DISK.check_hashes(StepReport("copy", log=log), PARTS) == says


def test_peer_sends_back_and_remembers() -> None:
    ours, theirs = socket.socketpair()
    peer = EchoPeer(theirs)
    ours.sendall(b"hello " * 1000)
    back = b""
    while len(back) < 6000:
        back += ours.recv(6000)
    assert back == b"hello " * 1000
    ours.close()
    peer.close()
    assert peer.received == 6000
    assert peer.digest() == hashlib.sha256(back).hexdigest()


def test_peer_takes_all_before_anything_is_read_back() -> None:
    """QEMU's main loop waits while it writes: a peer that waited as well would stop both."""
    ours, theirs = socket.socketpair()
    peer = EchoPeer(theirs, 3 * MIB)
    sent = DISK.content(0, 4 * MIB)
    ours.sendall(sent)
    ours.settimeout(10)
    back = b""
    while len(back) < 3 * MIB:
        back += ours.recv(MIB)
    ours.close()
    peer.close()
    assert back == sent[: 3 * MIB]  # no more than it was told
    assert peer.digest() == hashlib.sha256(sent).hexdigest()


def test_what_the_guest_must_tell_of_a_disk_is_known_when_the_disk_is_filled() -> None:
    spec, work = DeviceSpec("nvme0"), WorkloadSpec()
    device = DiskDevice(spec, 1, Medium(Disk(seed=99)), work)
    try:
        steps = len(list(device.supplying()))
        known = integrity._hash.cache_info()
        whole = device.medium.disk.hash(0, device.copied)
        assert steps > 2
        assert integrity._hash.cache_info().misses == known.misses
        data = device.medium.disk.content(0, device.copied)
        assert whole == hashlib.md5(data, usedforsecurity=False).hexdigest()
    finally:
        device.close()
