"""Which kernel is in this file, and can it be a Realm?

Takes what an arm64 build leaves (Image, Image.gz, Image.xz, Image.zst) and what distributions
install (vmlinuz: any of these, or an EFI zboot image around them), and gives the plain Image that
a boot loader would put into memory.
"""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass
from pathlib import Path

from topbit.errors import InputError
from topbit.readers import unpack as packed_data

ARM64_MAGIC = b"ARM\x64"
CONFIG_START, CONFIG_END = b"IKCFG_ST", b"IKCFG_ED"
MAX_CONFIG = 4 << 20  # bytes of a configuration
MAX_IMAGE = 1 << 30  # bytes; what claims to unpack to more is not a kernel
PAGE_SIZES = {1: 4096, 2: 16384, 3: 65536}
# arm64_rsi_init logs it: arch/arm64/kernel/rsi.c, always built since Linux 6.13; from 7.4 on
# drivers/firmware/arm_rmm/rsi.c, an option that is y unless it is turned off.
RSI_BANNER = b"Using RSI version"


@dataclass(frozen=True, slots=True)
class Image:
    """What does a kernel Image say about itself? (Linux Documentation/arch/arm64/booting.rst)

    Attributes:
        data: the uncompressed Image.
        text_offset: bytes above a 2 MiB boundary at which it must be loaded.
        image_size: bytes of memory it takes, zeroed data included.
        page_size: 4096, 16384 or 65536; 0 if the Image does not say.
        release: ``uname -r``; empty if there is no banner.
        realm: has it the code to ask for RSI, so that it can be a Realm?
        real_time: is it built with PREEMPT_RT?
    """

    data: bytes
    text_offset: int
    image_size: int
    page_size: int
    release: str
    realm: bool
    real_time: bool = False

    @property
    def configuration(self) -> frozenset[str]:
        """Which options of its configuration are y? Empty if it does not hold it.

        CONFIG_IKCONFIG: kernel/configs.c puts it, gzipped, between two markers.
        """
        start, end = self.data.find(CONFIG_START), self.data.find(CONFIG_END)
        if not 0 <= start < end:
            return frozenset()
        packed = packed_data.unpack(self.data[start + len(CONFIG_START) : end], MAX_CONFIG)
        return frozenset(
            found.decode() for found in re.findall(rb"^CONFIG_(\w+)=y$", packed.data, re.M)
        )

    def check_realm(self, where: str) -> None:
        """Refuse a kernel that cannot be a Realm, after looking at it.

        Raises:
            InputError: the Image has no RSI support.
        """
        if not self.realm:
            raise InputError(
                f"Linux {self.release or '(unknown release)'} cannot be a Realm: "
                "this Image has no RSI support",
                where=where,
                hint="arm64 kernels have it since 6.13; from 7.4 on with CONFIG_ARM_RMM_RSI",
            )


def read_image(path: Path) -> Image:
    """Which kernel is in the file at `path`?

    Raises:
        InputError: no such file, or not an arm64 kernel.
    """
    try:
        packed = path.read_bytes()
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror}", where=str(path)) from error
    data = unpack(packed, str(path))
    if data[0x38:0x3C] != ARM64_MAGIC or len(data) < 64:
        raise InputError(
            "is not an arm64 kernel Image",
            where=str(path),
            hint="give arch/arm64/boot/Image, or a vmlinuz of an arm64 distribution",
        )
    text_offset, image_size, flags = struct.unpack_from("<QQQ", data, 8)
    if flags & 1:
        raise InputError("is a big-endian kernel", where=str(path))
    # init/version-timestamp.c:linux_banner; its end is UTS_VERSION: #1 SMP PREEMPT_RT Debian ...
    banner = re.search(rb"Linux version (\S{1,64}) \([^\n\0]{0,512}", data)
    # The banner is the first of the kernel's strings, and what the code says stands behind it.
    told = data.find(RSI_BANNER, banner.start() if banner else 0)
    return Image(
        data=data,
        text_offset=text_offset,
        image_size=max(image_size, len(data)),
        page_size=PAGE_SIZES.get(flags >> 1 & 3, 0),
        release=banner[1].decode("ascii", "replace") if banner else "",
        realm=told >= 0 or RSI_BANNER in data,
        real_time=banner is not None and b" PREEMPT_RT " in banner[0],
    )


def unpack(data: bytes, where: str) -> bytes:
    """What is inside this gzip, xz, zstd or EFI zboot file? Anything else is returned as it is.

    Raises:
        InputError: the compressed data is damaged, or in a form that is not known here.
    """
    if data[:2] == b"MZ" and data[4:8] == b"zimg" and len(data) >= 64:
        # Linux drivers/firmware/efi/libstub/zboot-header.S
        offset, size = struct.unpack_from("<II", data, 8)
        kind = data[24:56].split(b"\0")[0].decode("ascii", "replace")
        payload = data[offset : offset + size]
        inner = unpack(payload, where)
        if inner is payload:
            raise InputError(f"EFI zboot image: compression {kind!r} is not known", where=where)
        return inner
    try:
        unpacked = packed_data.unpack(data, MAX_IMAGE)
    except packed_data.BombError as error:
        raise InputError(f"is no kernel: it {error}", where=where) from error
    # A signature may stand behind the kernel.
    if unpacked.damage:
        raise InputError(unpacked.damage, where=where)
    return unpacked.data
