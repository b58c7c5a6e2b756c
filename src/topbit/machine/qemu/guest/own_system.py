"""Which system of the user's own boots in the Realm: an initramfs, a root file system?

Such a guest reports nothing to topbit: its console is the result, and its kernel's DMA trace, which
a program of topbit's hands out until the system's shutdown ends it. An initramfs has that program
before it in the archive, and its /init runs as it would alone. A root file system is a disk behind
virtio-blk; topbit's initramfs loads the drivers, mounts it and hands over to its init, or runs one
command in it.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from topbit.arch.ipa import IpaSpace
from topbit.errors import InputError, UsageError
from topbit.machine.qemu.guest import initramfs, outbox_program, steps
from topbit.machine.qemu.guest.device import GuestDevice
from topbit.machine.qemu.guest.init import EVENTS, MARK, PARAMETERS, following
from topbit.machine.qemu.guest.steps import Step
from topbit.machine.qemu.guest.transfer import Added, Wanted, get_step
from topbit.machine.qemu.host.shape import SMMU_BITS
from topbit.machine.qemu.process.pci import SLOTS, PciDevice
from topbit.scenario.tables import DeviceSpec
from topbit.store.modules import ModuleTree

# Linux lib/decompress.c:compressed_formats, and init/initramfs.c for the archive itself.
INITRAMFS_MAGICS = (
    b"070701", b"070702", b"\x1f\x8b", b"\x1f\x9e", b"BZh", b"\x5d\0\0", b"\xfd7zXZ\0",
    b"\x89LZO", b"\x02\x21\x4c\x18", b"\x28\xb5\x2f\xfd",
)  # fmt: skip
QCOW2_MAGIC = b"QFI\xfb"
FILE_SYSTEMS = ("ext4", "squashfs")  # loaded where they are modules

MOUNT_ROOT = """
mount_root() {{
    disk_below /sys/bus/pci/devices/{pci}; awaited $d
    [ -e ${{d}}1 ] && d=${{d}}1
    read -r words </proc/cmdline
    for word in $words; do
        case $word in root=*) d=${{word#root=}} ;; esac
    done
    mkdir -p /root
    for way in rw ro; do
        mount -o $way "$d" /root && return
    done
    echo "no file system that this kernel knows on $d"
    exit 1
}}
"""
UNMOUNT = """
for folder in proc sys dev tmp; do umount /root/$folder; done
umount /root || mount -o remount,ro /root
"""
# systemd's shutdown spares processes with an @ before their names (its ROOT_STORAGE_DAEMONS).
FOLLOWER = "@outbox"
FOLLOW = f"""
/bin/busybox mkdir -p /topbit/out
cd /topbit/out
mount -t tracefs trace /sys/kernel/tracing
PATH=$PATH:/topbit
{following(FOLLOWER)}
cd /
"""
# Where topbit's program is at home beside an initramfs of the user's, who sees nothing else of it.
HOME = "topbit/root"
FIRST = f"""#!/{HOME}/bin/busybox sh
busybox=/{HOME}/bin/busybox
$busybox unshare -m $busybox chroot /{HOME} /bin/busybox sh /topbit/beside
exec /init "$@"
"""
BESIDE = f"""
export PATH=/bin
busybox mount -t proc proc /proc
busybox mount -t sysfs sys /sys
busybox mount -t devtmpfs dev /dev
busybox --install -s /bin
exec </dev/null >/dev/null 2>&1
{FOLLOW}"""
RDINIT = "rdinit=/topbit/init"
INIT = """#!/bin/sh
export PATH=/bin:/sbin
/bin/busybox mount -t proc proc /proc
/bin/busybox mount -t sysfs sys /sys
/bin/busybox mount -t devtmpfs dev /dev
/bin/busybox --install -s /bin
exec </dev/console >/dev/console 2>&1
{helpers}
{follow}
while read -r module; do
    parameters_of "$module"
    insmod "/topbit/modules/$module.ko" $parameters
done </topbit/modules/order
mount_root
read -r now rest </proc/uptime
echo "{mark} $now root"
program=/sbin/init
for word in $words; do
    case $word in init=*) program=${{word#init=}} ;; esac
done
for folder in proc sys dev; do
    mount --move /$folder /root/$folder || umount -l /$folder
done
exec switch_root /root "$program"
"""


@dataclass(frozen=True, slots=True)
class OwnSystem:
    """What does the user bring along?

    Attributes:
        initrd: an initramfs, compressed or not.
        rootfs: a disk image, raw or qcow2.
        written: what the guest changes on it is kept.
        command: the command that is to run in the guest; empty for none.
        added, wanted: files that are put into the guest, and that come out at the end.

    Raises:
        UsageError: they do not go together.
        InputError: a file cannot be read or is of another kind.
    """

    initrd: Path | None = None
    rootfs: Path | None = None
    written: bool = False
    command: str = ""
    added: tuple[Added, ...] = ()
    wanted: tuple[Wanted, ...] = ()

    def __post_init__(self) -> None:
        if self.initrd and self.command:
            raise UsageError(
                "the init of --initrd is your own: it does not run a command for topbit",
                where="--run",
                hint="let its /init run the command, or give a root file system with --rootfs",
            )
        if self.boots and (self.added or self.wanted):
            raise UsageError(
                "a system of your own brings its files along",
                where="--add" if self.added else "--get",
                hint="give --run as well, or leave --initrd and --rootfs away",
            )
        if self.rootfs and not all(one.path.startswith("/tmp/") for one in self.added):
            raise UsageError(
                "of topbit's own files, a root file system shows only those below /tmp",
                where="--add",
                hint="--add FILE:/tmp/NAME",
            )
        if self.written and self.rootfs is None:
            raise UsageError("says what becomes of a disk", where="--rootfs-write", hint="--rootfs")
        if self.initrd and not _start(self.initrd, "--initrd").startswith(INITRAMFS_MAGICS):
            raise InputError(
                "is no initramfs: neither a cpio archive (newc) nor a compressed one",
                where=str(self.initrd),
                hint="find . | cpio -o -H newc | gzip >initrd.gz",
            )
        if self.rootfs:
            _start(self.rootfs, "--rootfs")

    @property
    def boots(self) -> bool:
        """Does the user's own init run, and not topbit's with its workload?"""
        return bool(self.initrd or (self.rootfs and not self.command))

    @property
    def begun(self) -> bytes:
        """What on the console tells that something else than the kernel's drivers is at work?"""
        # Linux init/main.c:run_init_process
        return b" as init process" if self.initrd else f"\n{MARK} ".encode()

    def disk(self, slot: int, ipa_bits: int) -> GuestDevice | None:
        """Which device holds the root file system, at this slot of the root bus?

        Raises:
            UsageError: there is no room for it.
        """
        if self.rootfs is None:
            return None
        if slot > SLOTS or ipa_bits > SMMU_BITS:
            raise UsageError(
                f"it is a disk behind the SMMU, which takes {SMMU_BITS} bits and {SLOTS} devices",
                where="--rootfs",
                hint="give fewer devices or IPA bits, or put the files into an --initrd",
            )
        kind = "qcow2" if _start(self.rootfs, "--rootfs").startswith(QCOW2_MAGIC) else "raw"
        device = PciDevice(
            "virtio-blk", slot, image=self.rootfs, kind=kind, snapshot=not self.written
        )
        return GuestDevice(DeviceSpec("rootfs", model="virtio-blk"), device)

    def archive(
        self,
        busybox: Path,
        tree: ModuleTree,
        drivers: list[str],
        pci: str,
        trace: IpaSpace | None = None,
        events: str = "",
    ) -> bytes:
        """Which initramfs boots the user's system?

        Args:
            busybox, tree, drivers: what it is made of.
            pci: the root file system's disk.
            trace: the kernel's trace is handed out, in a Realm of this IPA space.
            events: groups of events that are turned on for that first, separated by blanks.
        """
        traced: dict[str, bytes] = {}
        if trace:
            traced = outbox_program.files(trace)
            traced[f"topbit/{FOLLOWER}"] = traced[outbox_program.IN_GUEST]
            if events:
                traced[EVENTS] = events.encode()
        if self.initrd:
            beside = _beside(busybox, traced) if trace else b""
            return beside + self.initrd.read_bytes()
        helpers = steps.SHELL_HELPERS + PARAMETERS + MOUNT_ROOT.format(pci=pci)
        modules = tree.closure([*drivers, *file_systems(tree)])
        init = INIT.format(helpers=helpers, mark=MARK, follow=FOLLOW if trace else "")
        return initramfs.build(busybox, modules, init, traced)

    def command_step(self, pci: str, *, console: bool) -> Step:
        """How is the command run in the root file system? `console`: as for `run_command`."""
        prepare = f"""{steps.SHELL_HELPERS}{MOUNT_ROOT.format(pci=pci)}
mount_root
for folder in proc sys dev tmp; do mount --bind /$folder /root/$folder; done
"""
        return steps.run_command(
            self.command, prepare=prepare, within="chroot /root", console=console
        )

    def last_steps(self) -> list[Step]:
        """What is done when the command has ended: files come out, the disk is left clean."""
        root = "/root" if self.rootfs else ""
        found = [get_step(list(self.wanted), root)] if self.wanted else []
        if self.rootfs and self.command:
            found.append(Step("unmount", UNMOUNT))
        return found


def _beside(busybox: Path, files: dict[str, bytes]) -> bytes:
    """Which archive starts topbit's program, if it is unpacked before the user's?"""
    archive = initramfs.Archive()
    for folder in ("proc", "sys", "dev"):
        archive.folder(f"{HOME}/{folder}")
    archive.file(f"{HOME}/bin/busybox", initramfs.program(busybox), 0o755)
    archive.file("topbit/init", FIRST.encode(), 0o755)
    for path, data in (files | {"topbit/beside": BESIDE.encode()}).items():
        archive.file(f"{HOME}/{path}", data, 0o755)
    return archive.pack()


def file_systems(tree: ModuleTree) -> list[str]:
    """Which file systems can be on a disk that this kernel mounts?"""
    return [name for name in FILE_SYSTEMS if tree.has(name)]


def _start(path: Path, option: str) -> bytes:
    """What are the file's first bytes?"""
    try:
        with path.open("rb") as file:
            start = file.read(16)
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror}", where=f"{option} {path}") from error
    if not start:
        raise InputError("is empty", where=f"{option} {path}")
    return start
