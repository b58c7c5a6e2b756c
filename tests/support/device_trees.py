"""QEMU's own device tree, and the tool that owns the format."""

import lzma
import subprocess

import needs
from paths import DATA

# ``-machine virt,virtualization=on,gic-version=3,iommu=smmuv3,dumpdtb=`` of QEMU 10.0.2, 4 CPUs.
DUMP = DATA / "qemu/virt-10.0-smmuv3-gicv3.dtb.xz"


def dump() -> bytes:
    return lzma.decompress(DUMP.read_bytes())


def dts(blob: bytes) -> str:
    """Oracle: dtc, the tool that owns the format."""
    command = [needs.tool("dtc"), "-q", "-I", "dtb", "-O", "dts"]
    return subprocess.run(command, input=blob, capture_output=True, check=True).stdout.decode()
