import contextlib
import gzip
import lzma
import struct
from pathlib import Path

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from kernel_images import RSI, image, written
from topbit.errors import InputError
from topbit.store.image import Image, read_image, unpack


def zboot(payload: bytes, kind: bytes) -> bytes:
    head = b"MZ\0\0zimg" + struct.pack("<IIII", 0x1000, len(payload), 0, 0) + kind.ljust(32, b"\0")
    return head.ljust(0x1000, b"\0") + payload + b"trailing signature"


FORMS = {
    "Image": image(),
    "Image.gz": gzip.compress(image()),
    "Image.xz": lzma.compress(image()),
    "Image.zst": zstandard.compress(image()),
    "zboot-gzip": zboot(gzip.compress(image()), b"gzip"),
    "zboot-zstd": zboot(zstandard.compress(image()), b"zstd22"),
    "zboot-xz": zboot(lzma.compress(image()), b"xzkern"),
    "gzip and what a signature adds": gzip.compress(image()) + b"appended",
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_gives_the_plain_image(form: str, tmp_path: Path) -> None:
    assert read_image(written(tmp_path, FORMS[form])) == Image(
        data=image(),
        text_offset=0,
        image_size=0x10000,
        page_size=4096,
        release="6.18.15+deb13-cloud-arm64",
        realm=True,
    )


@pytest.mark.parametrize(
    ("banner", "real_time"),
    [
        (b" (x@y) (gcc) #1 SMP PREEMPT_RT Debian 7.3.4-1 (2026-09-01)\n", True),
        (b" (x@y) (gcc) #1 SMP PREEMPT_DYNAMIC Debian\n\0 PREEMPT_RT ", False),
        (b" (x@y) (gcc) #1 SMP Debian\n in the text: PREEMPT_RT ", False),
    ],
)
def test_a_real_time_kernel_says_so_in_its_banner(
    banner: bytes, real_time: bool, tmp_path: Path
) -> None:
    path = written(tmp_path, image(b"Linux version 7.3.4" + banner + b"\0" + RSI))
    assert read_image(path).real_time == real_time


CONFIG = b"CONFIG_A=y\n# CONFIG_B is not set\nCONFIG_C=m\nCONFIG_D_1=y\n"


@pytest.mark.parametrize(
    ("held", "options"),
    [
        (b"IKCFG_ST" + gzip.compress(CONFIG) + b"IKCFG_ED", {"A", "D_1"}),
        (b"IKCFG_ST" + gzip.compress(CONFIG), set()),
        (b"IKCFG_ED IKCFG_ST" + gzip.compress(CONFIG), set()),
        (b"IKCFG_ST" + b"\x1f\x8b damaged" + b"IKCFG_ED", set()),
        (b"", set()),
    ],
    ids=["whole", "no end", "end first", "damaged", "none"],
)
def test_the_configuration_is_in_the_image(held: bytes, options: set[str], tmp_path: Path) -> None:
    path = written(tmp_path, image(b"Linux version 7.3.4 (x)\0" + held))
    assert read_image(path).configuration == options


@pytest.mark.parametrize(("flags", "size"), [(0b0010, 4096), (0b0100, 16384), (0b0110, 65536)])
def test_page_size_is_read(flags: int, size: int, tmp_path: Path) -> None:
    assert read_image(written(tmp_path, image(flags=flags))).page_size == size


def test_kernel_without_rsi_is_refused_by_its_content(tmp_path: Path) -> None:
    old = read_image(written(tmp_path, image(b"Linux version 6.12.107 (x)\0")))
    with pytest.raises(InputError, match=r"6\.12\.107 cannot be a Realm.*since 6\.13.*ARM_RMM_RSI"):
        old.check_realm("Image")
    # A backport of the support counts, whatever the version says.
    backport = read_image(written(tmp_path, image(b"Linux version 6.12.107 (x)\0" + RSI)))
    backport.check_realm("Image")


def test_the_code_for_rsi_may_stand_before_the_banner(tmp_path: Path) -> None:
    assert read_image(written(tmp_path, image(RSI + b"\0Linux version 7.3.4 (x)\0"))).realm


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "not an arm64 kernel"),
        (b"\x7fELF" + bytes(100), "not an arm64 kernel"),
        (image(flags=1), "big-endian"),
        (gzip.compress(image(), mtime=0)[:40] + b"rubbish", "damaged"),
        (lzma.compress(image())[:40] + b"rubbish" * 9, "damaged"),
        (zstandard.compress(image())[:40] + b"rubbish" * 9, "damaged|cut off"),
        (zboot(b"\x02\x21\x4c\x18rubbish", b"lz4"), "compression 'lz4' is not known"),
    ],
)
def test_what_is_no_kernel_is_refused(data: bytes, says: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=says):
        read_image(written(tmp_path, data))


def test_missing_file_is_said(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="No such file"):
        read_image(tmp_path / "Image")


@settings(deadline=None)
@given(st.sampled_from([v[:n] for v in FORMS.values() for n in (8, 80)]), st.binary(max_size=200))
def test_any_bytes_are_unpacked_or_refused(start: bytes, rest: bytes) -> None:
    with contextlib.suppress(InputError):
        assert isinstance(unpack(start + rest, "x"), bytes)
