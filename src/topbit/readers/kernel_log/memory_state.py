"""Which messages tell that memory could not be shared, be made private, or be reached?

Sources: Linux 7.2 arch/arm64/kernel/rsi.c, arch/arm64/mm/pageattr.c:__set_memory_enc_dec,
kernel/dma/direct.c:dma_free_contiguous, arch/x86/mm/pat/set_memory.c:__set_memory_enc_pgtable,
arch/x86/coco/{tdx,sev}, arch/x86/virt/svm/sev.c; the series "arm64: Support for Arm CCA in KVM"
(v16, 2026) for the host's side of Realms.
"""

from __future__ import annotations

import re

from topbit.events import Event
from topbit.readers.kernel_log.message import HEX, Family, attributes, number, trouble

PAGES = re.compile(r"Failed to (de|en)crypt memory, (\d{1,10}) pages")
CPA = re.compile(r"numpages=(\d{1,10})\) to (shared|private|decrypted|encrypted): (-?\d{1,6})")
RSI = re.compile(r"RSI version (\d{1,6}\.\d{1,6})\. Supported range: (\d{1,6}\.\d{1,6}-\S{3,14})")
RANGE = re.compile(rf"protected: {HEX}-{HEX}")
RMPUPDATE = re.compile(
    r"RMPUPDATE failed for PFN (?:0x)?([0-9a-f]{1,13}),? ?"
    r"(?:pg_level: (\d{1,2}), )?ret: (-?\d{1,6})"
)
PFN = re.compile(r"PFN (?:range )?(?:0x)?([0-9a-f]{1,13})")
FAILS = re.compile(r"fail|error|unable|unsupported|not supported|ENXIO", re.I)


def _crypt(text: str) -> Event:
    pages, cpa = PAGES.search(text), CPA.search(text)
    if pages:
        wanted = "shared" if pages[1] == "de" else "private"
        return trouble("share_failed", text, attrs=attributes(pages=pages[2], wanted=wanted))
    if cpa:
        wanted = "shared" if cpa[2] in ("shared", "decrypted") else "private"
        return trouble("share_failed", text, attrs=attributes(pages=cpa[1], wanted=wanted))
    return trouble("share_failed", text)


def _crypt_call(text: str) -> Event | None:
    return trouble("share_failed", text) if FAILS.search(text) else None


def _leaked(text: str) -> Event:
    return trouble("leaked", text)


def _rsi(text: str) -> Event:
    match = RSI.search(text)
    told = attributes(wanted=match[1], supported=match[2]) if match else None
    return trouble("rsi_version", text, attrs=told)


def _rmi(text: str) -> Event | None:
    return trouble("rmi_version", text) if FAILS.search(text) else None


def _ripas(text: str) -> Event:
    match = RANGE.search(text)
    start = number(match[1]) if match else None
    end = number(match[2]) if match else None
    whole = start is not None and end is not None and end > start
    return trouble("ripas", text, phys=start, size=(end or 0) - (start or 0) if whole else None)


def _conversion(text: str) -> Event:
    return trouble("conversion_stopped", text)


def _granule(text: str) -> Event:
    return trouble("granule_protection", text)


def _rmp(text: str) -> Event:
    match = RMPUPDATE.search(text)
    pfn = match[1] if match else (PFN.search(text) or [None, None])[1]
    return trouble(
        "rmp_update",
        text,
        pa=int(pfn, 16) << 12 if pfn else None,
        attrs=attributes(ret=match[3], level=match[2]) if match else None,
    )


def _rmp_fault(text: str) -> Event:
    return trouble("rmp_fault", text)


FAMILIES = (
    Family(("Failed to decrypt memory", "Failed to encrypt memory", "CPA VMM failure"), _crypt),
    # drivers/hv/channel.c; arch/x86/hyperv/ivm.c
    Family(
        ("set_memory_decrypted", "set_memory_encrypted", "host visibility", "GPA visibility"),
        _crypt_call,
    ),
    Family(("leaking DMA memory", "SEV-SNP: Leaking PFN", "leaking page"), _leaked),
    Family(("RMM doesn't support RSI",), _rsi),
    Family(("RMI ABI",), _rmi),
    Family(("Failed to set memory range to protected",), _ripas),
    Family(("Failed to stop shared<->private conversions", "private<->shared"), _conversion),
    Family(("ranule protection fault", "ranule Protection Fault"), _granule),
    Family(("RMPUPDATE failed", "PSMASH failed", "PVALIDATE failed"), _rmp),
    Family(("RMP violation", "RMP fault"), _rmp_fault),
)
