/*
 * What kernel/dma/swiotlb.c (and direct.c, with DIRECT; pool.c, with POOL) expect of the rest of a
 * kernel, as far as a pool of flat RAM and one thread need it. Every header that
 * they include, but their own, leads here.
 */
#ifndef KERNEL_STUBS_H
#define KERNEL_STUBS_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef uint64_t u64;
typedef uint32_t u32;
typedef uint64_t phys_addr_t;
typedef uint64_t dma_addr_t;
typedef unsigned int gfp_t;
typedef int spinlock_t;

enum dma_data_direction {
	DMA_BIDIRECTIONAL = 0,
	DMA_TO_DEVICE = 1,
	DMA_FROM_DEVICE = 2,
	DMA_NONE = 3,
};

#if defined(POOL) || defined(DYNAMIC)
struct list_head { struct list_head *next, *prev; };
#endif
struct io_tlb_mem;
struct dentry;
struct page;
struct reserved_mem;
struct scatterlist;
struct bus_dma_region;
struct device {
	const struct bus_dma_region *dma_range_map;
	u64 coherent_dma_mask;
	u64 *dma_mask;
	u64 bus_dma_limit;
	unsigned int min_align_mask;
	unsigned long seg_boundary_mask;
	struct io_tlb_mem *dma_io_tlb_mem;
#ifdef DYNAMIC
	struct list_head dma_io_tlb_pools;
	spinlock_t dma_io_tlb_lock;
	bool dma_uses_io_tlb;
#endif
};

#define __init
#define __ro_after_init
#define __read_mostly
#define __always_inline inline __attribute__((always_inline))
#define __initdata
#define likely(x) (x)
#define unlikely(x) (x)
#define READ_ONCE(x) (x)
#define EXPORT_SYMBOL(x)
#define EXPORT_SYMBOL_GPL(x)
#define early_param(name, function)
#define late_initcall(function)
#define IS_ENABLED(option) ON_##option
enum {
	ON_CONFIG_ARCH_DMA_ADDR_T_64BIT = 1,
	ON_CONFIG_ARCH_HAS_DMA_ALLOC = 0,
	ON_CONFIG_ARCH_HAS_DMA_CLEAR_UNCACHED = 0,
	ON_CONFIG_ARCH_HAS_DMA_SET_UNCACHED = 0,
	ON_CONFIG_DMA_COHERENT_POOL = 0,
	ON_CONFIG_DMA_DIRECT_REMAP = 0,
	ON_CONFIG_DMA_GLOBAL_POOL = 0,
	ON_CONFIG_DMA_NONCOHERENT_MMAP = 0,
	ON_CONFIG_ZONE_DMA = 0,
	ON_CONFIG_ZONE_DMA32 = 0,
};

#define PAGE_SHIFT 12
#define PAGE_SIZE (1UL << PAGE_SHIFT)
#define PAGE_MASK (~(PAGE_SIZE - 1))
#define SMP_CACHE_BYTES 64
#define SZ_1M (1UL << 20)
#define SZ_64M (64UL << 20)
#define CONFIG_SWIOTLB 1
#define CONFIG_SWIOTLB_DEFAULT_SIZE_MB 64
#define GFP_KERNEL 0u
#define __GFP_NOWARN 0u
#define __GFP_ZERO 0u
#define __GFP_DMA 0u
#define __GFP_DMA32 0u
#define INVALID_PHYS_ADDR (~(phys_addr_t)0)
#define DMA_MAPPING_ERROR (~(dma_addr_t)0)
#define DMA_ATTR_SKIP_CPU_SYNC (1UL << 5)
#define DMA_ATTR_NO_WARN (1UL << 8)
#define DMA_ATTR_CC_SHARED (1UL << 13)
#define __DMA_ATTR_ALLOC_CC_SHARED (1UL << 14)
#define ENOMEM 12

#define DIV_ROUND_UP(n, d) (((n) + (d) - 1) / (d))
#define ALIGN(x, a) (((x) + ((__typeof__(x))(a) - 1)) & ~((__typeof__(x))(a) - 1))
#define PAGE_ALIGN(x) ALIGN((unsigned long)(x), PAGE_SIZE)
#define PAGE_ALIGNED(x) (!((x) & (PAGE_SIZE - 1)))
#define PFN_UP(x) (((x) + PAGE_SIZE - 1) >> PAGE_SHIFT)
#define PFN_DOWN(x) ((x) >> PAGE_SHIFT)
#define roundup(x, y) (DIV_ROUND_UP(x, y) * (y))
#define array_size(a, b) ((size_t)(a) * (size_t)(b))
#define min(a, b) ((a) < (b) ? (a) : (b))
#define max(a, b) ((a) > (b) ? (a) : (b))
#define min_t(type, a, b) min((type)(a), (type)(b))

static inline bool is_power_of_2(unsigned long n) { return n && !(n & (n - 1)); }
static inline unsigned long roundup_pow_of_two(unsigned long n)
{
	unsigned long power = 1;

	while (power < n)
		power <<= 1;
	return power;
}
static inline int get_order(unsigned long size)
{
	int order = 0;

	while ((PAGE_SIZE << order) < size)
		order++;
	return order;
}

/* What is printed is kept: the tests compare it. */
extern char printed[];
void print(const char *format, ...);
#define pr_fmt_own(text) "software IO TLB: " text
#define pr_info(...) do { } while (0)
#define pr_warn(...) print(__VA_ARGS__)
#define pr_warn_once(...) do { } while (0)
#define dev_err(dev, ...) print(__VA_ARGS__)
#define dev_warn_ratelimited(dev, ...) print(__VA_ARGS__)
#define dev_WARN_ONCE(dev, condition, ...) do { if (condition) print(__VA_ARGS__); } while (0)
#define WARN_ON_ONCE(condition) (condition)
#define BUG_ON(condition) do { if (condition) exit(9); } while (0)

#define spin_lock_init(lock) (void)(lock)
#define __SPIN_LOCK_UNLOCKED(lock) 0
#define spin_lock_irqsave(lock, flags) ((void)(lock), (flags) = 0)
#define spin_unlock_irqrestore(lock, flags) ((void)(lock), (void)(flags))
#define local_irq_save(flags) ((flags) = 0)
#define local_irq_restore(flags) (void)(flags)

#define RAM_BASE 0x40000000UL
extern unsigned char *ram;
extern unsigned long ram_size, pool_bytes, nr_cpus, this_cpu, bus_bits;
static inline void *phys_to_virt(phys_addr_t phys) { return ram + (phys - RAM_BASE); }
static inline phys_addr_t virt_to_phys(const void *virtual)
{
	return (phys_addr_t)((const unsigned char *)virtual - ram) + RAM_BASE;
}
#define __pa(virtual) virt_to_phys((void *)(virtual))
#define PhysHighMem(phys) 0
#define PageHighMem(page) 0
#define pfn_to_page(pfn) ((struct page *)(pfn))
#define memcpy_from_page(to, page, offset, size) (void)(page)
#define memcpy_to_page(page, offset, from, size) (void)(page)
#define kmsan_unpoison_memory(address, size) (void)(address)

/* The pool lies at the end of RAM; all else comes from the host. */
static inline void *memblock_alloc(size_t size, size_t align) { return calloc(1, size); }
static inline void *memblock_alloc_low(size_t size, size_t align)
{
	return size == pool_bytes ? ram + ram_size - size : NULL;
}
#define memblock_free(pointer, size) (void)(pointer)
#define memblock_free_late(phys, size) (void)(phys)
#define memblock_phys_free(phys, size) (void)(phys)
#define __get_free_pages(gfp, order) ((unsigned long)0)
#define free_pages(address, order) (void)(address)
#define set_memory_decrypted(address, pages) 0
#define set_memory_encrypted(address, pages) 0
#define CC_ATTR_MEM_ENCRYPT 1
#define CC_ATTR_GUEST_MEM_ENCRYPT 2
#define CC_ATTR_HOST_MEM_ENCRYPT 3
extern unsigned long cc_attributes; /* a bit for each */
#define cc_platform_has(attribute) (cc_attributes >> (attribute) & 1)
#define num_possible_cpus() nr_cpus
#define raw_smp_processor_id() this_cpu

#define simple_strtoul(text, end, base) strtoul(text, end, base)
#define isdigit(c) ((c) >= '0' && (c) <= '9')

static inline unsigned int dma_get_min_align_mask(struct device *dev) { return dev->min_align_mask; }
static inline unsigned long dma_get_seg_boundary(struct device *dev) { return dev->seg_boundary_mask; }
#ifdef DIRECT
#include "direct_stubs.h"
#else
static inline dma_addr_t phys_to_dma(struct device *dev, phys_addr_t phys) { return phys | bus_bits; }
#define phys_to_dma_unencrypted phys_to_dma
#define phys_to_dma_encrypted phys_to_dma
#define dma_capable(...) true
#define force_dma_unencrypted(dev) false
#endif
#ifdef POOL
#include "pool_stubs.h"
#endif
#ifdef DYNAMIC
#include "dynamic_stubs.h"
#endif
#define dev_is_dma_coherent(dev) true
#define dma_reset_need_sync(dev) (void)(dev)
#define arch_sync_dma_for_device(...) do { } while (0)
#define arch_sync_dma_flush() do { } while (0)
#define trace_swiotlb_bounced(...) do { } while (0)

static inline int iommu_is_span_boundary(unsigned int index, unsigned int nr, unsigned long shift,
					 unsigned long boundary_size)
{
	return ((shift + index) & (boundary_size - 1)) + nr > boundary_size;
}

#endif
