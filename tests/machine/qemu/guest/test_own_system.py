"""Does the user's own system boot in the Realm, and are wrong files refused?"""

from __future__ import annotations

import hashlib
import lzma
from pathlib import Path

import polars as pl
import pytest

import needs
from topbit.cli import main
from topbit.errors import InputError, UsageError
from topbit.machine.qemu.guest import initramfs
from topbit.machine.qemu.guest.own_system import OwnSystem
from topbit.recording import Recording

KERNEL = "6.18"
# Makes a file system on the disk, with a system of its own on it, and resets the machine.
MAKER = r"""#!/bin/sh
export PATH=/bin
/bin/busybox mount -t proc proc /proc
/bin/busybox mount -t devtmpfs dev /dev
/bin/busybox --install -s /bin
exec </dev/console >/dev/console 2>&1
while read -r module; do insmod /topbit/modules/$module.ko; done </topbit/modules/order
echo "own init, $(wc -w </proc/cmdline) words"
mke2fs /dev/vda && mount /dev/vda /mnt && cd /mnt || exit 1
mkdir bin sbin dev proc sys tmp
cp /bin/busybox bin && ln -s busybox bin/sh
cat >sbin/init <<'EOF'
#!/bin/sh
busybox touch /changed
busybox grep ' / ' /proc/mounts
busybox ls -d /changed
if busybox grep -q untraced /proc/cmdline; then
    busybox killall -9 @outbox
    busybox sleep 3
fi
busybox sleep 1
busybox poweroff -f
EOF
chmod 755 sbin/init
cd / && umount /mnt && reboot -f
"""
# Leaves its initramfs behind, as distributions' do, for a root that reads the disk.
MOVER = r"""#!/bin/sh
busybox=/bin/busybox
$busybox mkdir -p /new
$busybox mount -t tmpfs new /new
$busybox mkdir -p /new/bin /new/sbin /new/proc /new/dev
$busybox cp $busybox /new/bin
$busybox cat >/new/sbin/init <<'EOF'
#!/bin/busybox sh
busybox=/bin/busybox
$busybox mount -t proc proc /proc
$busybox mount -t devtmpfs dev /dev
exec </dev/console >/dev/console 2>&1
echo root: $($busybox ls /), mounted: $($busybox cut -d' ' -f2 /proc/mounts)
$busybox dd if=/dev/nvme0n1 of=/dev/null bs=4096 count=50 iflag=direct
$busybox sleep 1
$busybox poweroff -f
EOF
$busybox chmod 755 /new/sbin/init
exec $busybox switch_root /new /sbin/init
"""
DISK = '[[device]]\nname = "nvme0"\nmodel = "nvme"\n'
BARE = '[[device]]\nname = "rng0"\nmodel = "virtio-rng"\n'


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.qemu
def test_own_initramfs_makes_a_root_file_system_that_boots(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    needs.tool("qemu")
    tree = needs.kernel(KERNEL).tree()
    archive = initramfs.build(needs.busybox(), tree.closure(["virtio_pci", "virtio_blk"]), MAKER)
    initrd, rootfs = tmp_path / "initrd.xz", tmp_path / "root.img"
    initrd.write_bytes(lzma.compress(archive, check=lzma.CHECK_CRC32, preset=0))
    with rootfs.open("wb") as image:
        image.truncate(4 << 20)
    (tmp_path / "bare.toml").write_text(BARE)
    stored = tmp_path / "run.parquet"
    run = ["run", str(tmp_path / "bare.toml"), "--machine", "qemu", "--kernel", KERNEL]
    run += ["--rootfs", str(rootfs), "--timeout", "600"]

    assert main([*run, "--initrd", str(initrd), "--rootfs-write", "-o", str(stored)]) == 0
    told = capfd.readouterr()
    assert "own init, " in told.err
    assert "your own; it ended with: reset" in told.out
    recording = Recording.read(stored)
    assert recording.has("convert")
    maps = recording.of_kind("dma_map").filter(pl.col("device") == "0000:00:02.0")
    assert len(maps) > 5  # it makes the file system there
    assert recording.platform.lost_events == 0

    made = digest(rootfs)
    assert main([*run, "-o", str(stored)]) == 0
    told = capfd.readouterr()
    recording = Recording.read(stored)
    maps = recording.of_kind("dma_map").filter(pl.col("device") == "0000:00:02.0")
    assert len(maps) > 5  # the root file system's disk
    assert recording.platform.lost_events == 0
    assert "/dev/vda / ext2 rw" in told.err
    assert "/changed" in told.err
    assert "your own; it ended with: power off" in told.out
    assert digest(rootfs) == made

    assert main([*run, "-o", str(stored), "--append", "untraced"]) == 0
    assert "s before the guest: its end is missing" in capfd.readouterr().out
    assert Recording.read(stored).platform.lost_events == 1

    assert main([*run, "--run", "busybox ls /changed; busybox cat /proc/1/comm; exit 4"]) == 4
    told = capfd.readouterr()
    assert "No such file" in told.err  # it was a snapshot that changed
    assert told.err.endswith("init\n")  # topbit's
    assert "command ended with exit status 4" in told.out
    assert digest(rootfs) == made


@pytest.mark.qemu
def test_an_own_initramfs_that_leaves_itself_behind_is_traced_to_its_end(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    needs.tool("qemu")
    needs.kernel(KERNEL)
    (tmp_path / "initrd").write_bytes(initramfs.build(needs.busybox(), [], MOVER))
    (tmp_path / "disk.toml").write_text(DISK)
    stored = tmp_path / "run.parquet"
    run = ["run", str(tmp_path / "disk.toml"), "--machine", "qemu", "--kernel", KERNEL]
    assert main([*run, "--initrd", str(tmp_path / "initrd"), "-o", str(stored)]) == 0
    told = capfd.readouterr()
    assert "root: bin dev proc sbin, mounted: / /proc /dev\r\n" in told.err
    assert "50+0 records in" in told.err
    recording = Recording.read(stored)
    for kind in ("dma_map", "dma_unmap", "swiotlb_bounced"):
        assert len(recording.of_kind(kind)) > 50
    assert recording.platform.lost_events == 0


@pytest.mark.parametrize(
    ("start", "kind"), [(b"QFI\xfb\0\0\0\3", "qcow2"), (b"\0" * 1024, "raw"), (b"\xebX", "raw")]
)
def test_form_of_the_image(tmp_path: Path, start: bytes, kind: str) -> None:
    (tmp_path / "root.img").write_bytes(start)
    device = OwnSystem(rootfs=tmp_path / "root.img").disk(3, 41)
    assert device is not None
    assert device.pci is not None
    drive = device.pci.arguments()[1]
    assert drive.endswith(f"format={kind},snapshot=on")
    written = OwnSystem(rootfs=tmp_path / "root.img", written=True).disk(3, 41)
    assert written is not None
    assert written.pci is not None
    assert "snapshot" not in written.pci.arguments()[1]


@pytest.mark.parametrize("data", [b"", b"#!/bin/sh\n", b"\x7fELF", b"07070"])
def test_what_is_no_initramfs_is_refused(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "initrd").write_bytes(data)
    with pytest.raises(InputError, match=r"is empty|is no initramfs"):
        OwnSystem(initrd=tmp_path / "initrd")


@pytest.mark.parametrize("option", ["--initrd", "--rootfs"])
def test_files_that_cannot_be_read_are_named(
    tmp_path: Path, option: str, capsys: pytest.CaptureFixture[str]
) -> None:
    for path in (tmp_path / "absent", tmp_path):
        assert main(["run", "seed", "--machine", "qemu", option, str(path)]) == 2
        assert f"{option} {path}: cannot be read" in capsys.readouterr().err


def test_what_does_not_go_together_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"070701")
    with pytest.raises(UsageError, match="your own: it does not run a command"):
        OwnSystem(initrd=file, command="ls")
    with pytest.raises(UsageError, match="--rootfs-write"):
        OwnSystem(written=True)
    with pytest.raises(UsageError, match="takes 44 bits"):
        OwnSystem(rootfs=file).disk(1, 48)
    with pytest.raises(UsageError, match="31 devices"):
        OwnSystem(rootfs=file).disk(32, 41)
    assert OwnSystem().disk(1, 48) is None


def test_whose_init_runs(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"070701")
    assert OwnSystem(initrd=file).boots
    assert OwnSystem(rootfs=file).boots
    assert not OwnSystem(rootfs=file, command="ls").boots
    assert not OwnSystem(command="ls").boots
