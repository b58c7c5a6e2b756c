/*
 * What the kernel headers that are compiled expect of all others. Every header
 * that they include and that is not taken from the tree leads here.
 */
#ifndef TOPBIT_KERNEL_H
#define TOPBIT_KERNEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef uint64_t u64;
typedef uint32_t u32;
typedef uint64_t phys_addr_t;
typedef uint64_t dma_addr_t;
typedef uint64_t pteval_t;
typedef unsigned int gfp_t;
typedef struct { pteval_t pte; } pte_t;
enum dma_data_direction { DMA_BIDIRECTIONAL };

#define pte_val(x) ((x).pte)
#define U64_MAX UINT64_MAX
#define _AC(X, Y) (X##Y)
#define _AT(T, X) ((T)(X))
#define UL(x) (x##UL)
#define BIT(n) (1UL << (n))
#define GENMASK(h, l) ((~0UL << (l)) & (~0UL >> (63 - (h))))
#define GENMASK_ULL(h, l) ((~0ULL << (l)) & (~0ULL >> (63 - (h))))
#define IS_ENABLED(option) 1
#define __pure __attribute__((pure))
#define __force
#define min(a, b) ((a) < (b) ? (a) : (b))
#define max(a, b) ((a) > (b) ? (a) : (b))
#define min_t(type, a, b) min((type)(a), (type)(b))
#define max_t(type, a, b) max((type)(a), (type)(b))
#define min_not_zero(a, b) ((a) == 0 ? (b) : (b) == 0 ? (a) : min(a, b))
#define PFN_PHYS(x) ((phys_addr_t)(x) << PAGE_SHIFT)
#define DMA_MAPPING_ERROR (~(dma_addr_t)0)
#define DMA_ATTR_CC_SHARED (1UL << 13)
#define PTE_MAYBE_SHARED 0UL

struct page;
struct bus_dma_region;
struct device {
	const struct bus_dma_region *dma_range_map;
	u64 *dma_mask;
	u64 coherent_dma_mask;
	u64 bus_dma_limit;
};

static unsigned long min_low_pfn;
static u64 sme_me_mask;
static unsigned long prot_ns_shared;
static bool in_realm;

static inline bool is_realm_world(void) { return in_realm; }
static inline bool is_protected_kvm_guest(void) { return false; }

#endif
