/* What kernel/dma/direct.c and include/linux/dma-direct.h expect besides. */
#ifndef DIRECT_STUBS_H
#define DIRECT_STUBS_H

#define CONFIG_ARCH_HAS_FORCE_DMA_UNENCRYPTED 1
#include <limits.h>

typedef unsigned long pgoff_t;
#define U64_MAX UINT64_MAX
#define DMA_BIT_MASK(n) ((n) == 64 ? ~0ULL : (1ULL << (n)) - 1)
#define DMA_ATTR_NO_KERNEL_MAPPING (1UL << 4)
#define DMA_ATTR_MMIO (1UL << 10)
#define DMA_ATTR_REQUIRE_COHERENT (1UL << 12)
#define PFN_PHYS(pfn) ((phys_addr_t)(pfn) << PAGE_SHIFT)
#define PHYS_PFN(phys) ((unsigned long)(phys) >> PAGE_SHIFT)
#define min_not_zero(a, b) ((a) == 0 ? (b) : (b) == 0 ? (a) : min(a, b))
#define WARN_ON_ONCE(condition) (condition)
#define fallthrough __attribute__((fallthrough))
#define fls64(x) ((x) ? 64 - __builtin_clzll(x) : 0)
#define EIO 5
#define EREMOTEIO 121
#define ENXIO 6
#define EINVAL 22
#define GFP_DMA 0u
#define GFP_DMA32 0u
#define __GFP_NOWARN 0u
#define PAGE_KERNEL 0

extern u64 encrypted_mask, unencrypted_mask;
extern unsigned long max_pfn, min_low_pfn;
#define dma_addr_encrypted(x) ((x) | encrypted_mask)
#define dma_addr_unencrypted(x) ((x) | unencrypted_mask)
#define dma_addr_canonical(x) ((x) & ~(encrypted_mask | unencrypted_mask))

typedef unsigned long pgprot_t;
struct scatterlist {
	dma_addr_t dma_address;
	unsigned int length, dma_length;
};
struct sg_table { struct scatterlist *sgl; };
struct vm_area_struct { unsigned long vm_start, vm_pgoff; pgprot_t vm_page_prot; };
struct pci_p2pdma_map_state { void *mem; };
enum { PCI_P2PDMA_MAP_THRU_HOST_BRIDGE, PCI_P2PDMA_MAP_NONE, PCI_P2PDMA_MAP_BUS_ADDR };
#define for_each_sg(list, sg, count, i) for (i = 0, sg = (list); i < (count); i++, sg++)
#define sg_dma_address(sg) ((sg)->dma_address)
#define sg_dma_len(sg) ((sg)->dma_length)
#define dma_kmalloc_needs_bounce(dev, size, dir) false
#define arch_sync_dma_for_cpu(...) do { } while (0)
#define arch_sync_dma_for_cpu_all(...) do { } while (0)
#define kzalloc_objs(object, count) calloc(count, sizeof(object))
#define kcalloc(count, size, gfp) calloc(count, size)
#define dma_addressing_limited(dev) \
	(min_not_zero(*(dev)->dma_mask, (dev)->bus_dma_limit) < dma_direct_get_required_mask(dev))
/* Never called here. */
struct page *dma_alloc_contiguous(), *alloc_pages_node(), *dma_alloc_from_pool(), *sg_page();
struct page *page_of_nothing();
void *page_address(), *dma_common_contiguous_remap(), *dma_alloc_from_global_coherent();
void *arch_dma_alloc(), *arch_dma_set_uncached();

#endif
