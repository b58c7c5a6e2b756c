"""Messages about memory that could not be shared, made private or reached."""

from __future__ import annotations

from typing import Any

import pytest

from log_lines import events_of, one

MESSAGES: dict[str, dict[str, Any]] = {
    "Failed to decrypt memory, 4 pages will be leaked": {
        "status": "share_failed",
        "attrs": "pages=4|wanted=shared",
    },
    "Failed to encrypt memory, 16 pages will be leaked": {
        "status": "share_failed",
        "attrs": "pages=16|wanted=private",
    },
    "CPA VMM failure to convert memory (addr=00000000deadbeef, numpages=4) to shared: -5": {
        "status": "share_failed",
        "attrs": "pages=4|wanted=shared",
    },
    "CPA VMM failure to convert memory (addr=00000000deadbeef, numpages=1) to private: -22": {
        "status": "share_failed",
        "attrs": "pages=1|wanted=private",
    },
    "hv_vmbus f8615163-0001: Failed to set host visibility for new GPADL -22.": {
        "status": "share_failed",
    },
    "foo 1.bar: set_memory_decrypted() failed: -5": {"status": "share_failed"},
    "leaking DMA memory that can't be re-encrypted": {"status": "leaked"},
    "RME: RMM doesn't support RSI version 1.0. Supported range: 2.0-2.1": {
        "status": "rsi_version",
        "attrs": "wanted=1.0|supported=2.0-2.1",
    },
    "kvm [1]: unsupported RMI ABI (v2.0 - v2.0) we want v1.0": {"status": "rmi_version"},
    "Failed to set memory range to protected: 0x80000000-0x100000000": {
        "status": "ripas",
        "phys": 0x80000000,
        "size": 0x80000000,
    },
    "x86/mm: Failed to stop shared<->private conversions": {"status": "conversion_stopped"},
    "Internal error: Granule Protection Fault not on table walk: 96000028": {
        "status": "granule_protection"
    },
    "SEV-SNP: RMPUPDATE failed for PFN 56700, pg_level: 1, ret: 2": {
        "status": "rmp_update",
        "pa": 0x56700000,
        "attrs": "ret=2|level=1",
    },
    "SEV-SNP: RMPUPDATE failed for PFN 0x56700, ret: -5": {
        "status": "rmp_update",
        "pa": 0x56700000,
        "attrs": "ret=-5",
    },
    "#PF: error_code(0x80000003) - RMP violation": {"status": "rmp_fault"},
    "vfio_pin_pages_remote: RLIMIT_MEMLOCK (8388608) exceeded": {
        "status": "vfio_map",
        "attrs": "reason=RLIMIT_MEMLOCK",
    },
}


@pytest.mark.parametrize(("text", "expected"), MESSAGES.items(), ids=MESSAGES.keys())
def test_messages(text: str, expected: dict[str, Any]) -> None:
    event = one(text)
    assert (event.event, event.detail) == ("trouble", text)
    assert {name: getattr(event, name) for name in expected} == expected


@pytest.mark.parametrize(
    "text",
    [
        "kvm [1]: RMI ABI version 1.0",
        "SEV-SNP: RMP table physical range [0x000000002fe00000 - 0x00000000503fffff]",
        "SEV-SNP: PFN 0x56700 unassigned, dumping non-zero entries in 2M PFN region",
        "foo: calling set_memory_decrypted() for the ring",
    ],
)
def test_what_is_no_trouble(text: str) -> None:
    assert events_of(text) == []
