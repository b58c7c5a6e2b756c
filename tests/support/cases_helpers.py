"""H: the kernel's address helpers."""

from __future__ import annotations

import dataclasses

from rule_events import (
    BUFFER,
    FAILED,
    PLAIN,
    POOL,
    REALM,
    SME,
    WIDE,
    Case,
    S,
    dma_alloc,
    dma_map,
    helper,
)

CASES = {
    "H1: the old order loses the page": Case(
        "H1",
        "guest",
        [
            helper("phys_to_dma_unencrypted", BUFFER, 0x80000000 | S),
            helper("dma_to_phys", FAILED, 0x80000000 | S),
        ],
        [
            helper("phys_to_dma_unencrypted", BUFFER, 0x80000000 | S),
            helper("dma_to_phys", BUFFER, 0x80000000 | S),
        ],
        device=None,
        says="c380931712d1",
    ),
    "H2: lookup with the bit set": Case(
        "H2",
        "guest",
        [helper("translate_dma_to_phys", FAILED, BUFFER | S)],
        [helper("translate_dma_to_phys", BUFFER, BUFFER)],
        device=None,
    ),
    "H3: unencrypted without the bit": Case(
        "H3",
        "guest",
        [helper("dma_addr_unencrypted", BUFFER, BUFFER)],
        [
            helper("dma_addr_unencrypted", BUFFER, BUFFER | S),
            helper("phys_to_dma_unencrypted", 1, FAILED),
        ],
        device=None,
    ),
    "H3: encrypted with the bit": Case(
        "H3",
        "guest",
        [helper("dma_addr_encrypted", BUFFER, BUFFER | S)],
        [helper("dma_addr_encrypted", BUFFER, BUFFER)],
        device=None,
    ),
    "H4: encrypted without C bit": Case(
        "H4",
        "guest",
        [helper("dma_addr_encrypted", BUFFER, BUFFER)],
        [
            helper("dma_addr_encrypted", BUFFER, BUFFER | 1 << 47),
            helper("dma_addr_unencrypted", BUFFER, BUFFER),
        ],
        platform=SME,
        device=None,
    ),
    "H5: a bit where there is none": Case(
        "H5",
        "guest",
        [helper("dma_addr_unencrypted", BUFFER, BUFFER | S)],
        [helper("dma_addr_unencrypted", BUFFER, BUFFER)],
        platform=PLAIN,
        device=None,
    ),
    "H6: canonical masks every high bit": Case(
        "H6",
        "guest",
        [helper("dma_addr_canonical", BUFFER | S | 1 << 45, BUFFER)],
        [helper("dma_addr_canonical", BUFFER | S | 1 << 45, BUFFER | 1 << 45)],
        device=None,
    ),
    "H7: bit 9 instead of bit 51": Case(
        "H7",
        "guest",
        [dma_alloc(0x7BC20200, size=10246), dma_map(FAILED, status="error")],
        [dma_alloc(0x7BC20000 | 1 << 51, size=10246), dma_map(POOL | 0x200 | 1 << 51)],
        platform=WIDE,
        says="bit 9 (0x200) instead of bit 51",
    ),
    "H7: 64K pages at 49 bits": Case(
        "H7",
        "guest",
        [dma_alloc(0x1_0000_4001_1000), dma_alloc(0x1_0000_4002_1000)],
        # 4K pages: one of them may well lie at an odd page.
        [dma_alloc(0x1_0000_4001_1000), dma_alloc(0x1_0000_4002_2000)],
        platform=dataclasses.replace(REALM, ipa_bits=49),
        count=2,
    ),
}
