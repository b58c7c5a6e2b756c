"""A kernel source tree of a few lines, written for the tests: the helpers and nothing else."""

from __future__ import annotations

from pathlib import Path

from topbit.kernel_tree.tree import (
    ARM64_MEM_ENCRYPT,
    DMA_DIRECT,
    HWDEF,
    MEM_ENCRYPT,
    PGTABLE,
    PGTABLE_PROT,
    RSI,
)

MAKEFILE = "VERSION = 7\nPATCHLEVEL = 9\nSUBLEVEL = 1\nEXTRAVERSION =\n"

HELPERS = """\
#include <linux/dma-mapping.h>
#include <linux/mem_encrypt.h>

struct bus_dma_region {
	phys_addr_t cpu_start;
	dma_addr_t dma_start;
	u64 size;
};

static inline dma_addr_t to_bus(struct device *dev, phys_addr_t phys)
{
	const struct bus_dma_region *r = dev->dma_range_map;

	if (!r)
		return phys;
	for (; r->size; r++)
		if (phys >= r->cpu_start && phys - r->cpu_start < r->size)
			return r->dma_start + (phys - r->cpu_start);
	return DMA_MAPPING_ERROR;
}

static inline phys_addr_t from_bus(struct device *dev, dma_addr_t bus)
{
	const struct bus_dma_region *r = dev->dma_range_map;

	if (!r)
		return bus;
	for (; r->size; r++)
		if (bus >= r->dma_start && bus - r->dma_start < r->size)
			return r->cpu_start + (bus - r->dma_start);
	return (phys_addr_t)-1;
}

static inline dma_addr_t phys_to_dma_unencrypted(struct device *dev, phys_addr_t phys)
{
	return dma_addr_unencrypted(to_bus(dev, phys));
}

static inline dma_addr_t phys_to_dma(struct device *dev, phys_addr_t phys)
{
	return dma_addr_encrypted(to_bus(dev, phys));
}

static inline phys_addr_t dma_to_phys(struct device *dev, dma_addr_t addr)
{
	return from_bus(dev, dma_addr_canonical(addr));
}
"""

GENERIC = """\
#ifdef CONFIG_ARCH_HAS_MEM_ENCRYPT
#include <asm/mem_encrypt.h>
#endif
#ifdef CONFIG_AMD_MEM_ENCRYPT
#define dma_addr_encrypted(x) ((x) | sme_me_mask)
#define dma_addr_canonical(x) ((x) & ~sme_me_mask)
#endif
#ifndef dma_addr_encrypted
#define dma_addr_encrypted(x) (x)
#endif
#ifndef dma_addr_unencrypted
#define dma_addr_unencrypted(x) (x)
#endif
#ifndef dma_addr_canonical
#define dma_addr_canonical(x) (x)
#endif
"""

ARM64 = """\
#include <asm/rsi.h>

#define dma_addr_unencrypted(x) ((x) | PROT_NS_SHARED)
#define dma_addr_canonical(x) ((x) & ~PROT_NS_SHARED)
"""

ENTRY = """\
#include <asm/memory.h>

#ifdef CONFIG_ARM64_PA_BITS_52
static inline pteval_t __phys_to_pte_val(phys_addr_t phys)
{
	return (phys & LOW_BITS) | ((phys >> HIGH_SHIFT) & HIGH_BITS);
}
#else
#define __phys_to_pte_val(phys) (phys)
#endif
"""

HARDWARE = """\
#include <asm/memory.h>

#define LOW_BITS (((1UL << 50) - 1) & ~((1UL << PAGE_SHIFT) - 1))
#ifdef CONFIG_ARM64_64K_PAGES
#define HIGH_SHIFT 36
#define HIGH_BITS 0xf000UL
#else
#define HIGH_SHIFT 42
#define HIGH_BITS 0x300UL
#endif
"""

PROTECTION = "#define PROT_NS_SHARED \\\n\t(is_realm_world() ? prot_ns_shared : 0)\n"
REALM = "void init(void)\n{\n\tprot_ns_shared = BIT(config.ipa_bits - 1);\n}\n"

GOOD = {
    "Makefile": MAKEFILE,
    DMA_DIRECT: HELPERS,
    MEM_ENCRYPT: GENERIC,
    ARM64_MEM_ENCRYPT: ARM64,
    HWDEF: HARDWARE,
    PGTABLE: ENTRY,
    PGTABLE_PROT: PROTECTION,
    RSI[0]: REALM,
}
"""Devices get right addresses. (The CPU's page tables are wrong with 52-bit addresses.)"""


def write(root: Path, changes: dict[str, tuple[str, str] | None] | None = None) -> Path:
    """Write `GOOD` with changes: file -> (old, new); None: without that file."""
    for name, text in GOOD.items():
        change = (changes or {}).get(name, ("", ""))
        if change is None:
            continue
        assert change[0] in text, change[0]
        place = root / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text.replace(*change) if change[0] else text, encoding="utf-8")
    return root
