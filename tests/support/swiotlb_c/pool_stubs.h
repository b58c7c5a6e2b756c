/* What kernel/dma/pool.c and lib/genalloc.c expect besides. */
#ifndef POOL_STUBS_H
#define POOL_STUBS_H

#include "list_stubs.h"

#define CONFIG_DMA_DIRECT_REMAP 1
#define CONFIG_ARCH_HAVE_NMI_SAFE_CMPXCHG 1
#define __maybe_unused __attribute__((unused))
#define postcore_initcall(function)
#define DMA_BIT_MASK(n) ((n) == 64 ? ~0ULL : (1ULL << (n)) - 1)
#define EINVAL 22
#define EBUSY 16
#define GFP_DMA 0u
#define GFP_DMA32 0u
#define SZ_128K (128UL << 10)
#define SZ_1G (1UL << 30)
#define MAX_PAGE_ORDER 10
#define MAX_ORDER_NR_PAGES (1UL << MAX_PAGE_ORDER)
#define NUMA_NO_NODE (-1)
#define PAGE_KERNEL 0
#define max_t(type, a, b) max((type)(a), (type)(b))
#define WARN_ON(condition) (condition)
#define WARN(condition, ...) do { if (condition) print(__VA_ARGS__); } while (0)
#define pr_err(...) print(__VA_ARGS__)
#define BUG() exit(9)
#define ERR_PTR(error) ((void *)(long)(error))
#define dev_name(dev) "dev"
#define memparse(text, end) strtoul(text, end, 0)
#define totalram_pages() (ram_size >> PAGE_SHIFT)

typedef unsigned long pgprot_t;
#define pgprot_decrypted(prot) (prot)
#define pgprot_dmacoherent(prot) (prot)
#define arch_dma_prep_coherent(page, size) (void)(page)
#define dma_common_contiguous_remap(page, size, prot, caller) page_to_virt(page)
#define dma_common_free_remap(address, size) (void)(address)
#define page_to_phys(page) ((phys_addr_t)(page) << PAGE_SHIFT)
#define page_to_virt(page) phys_to_virt(page_to_phys(page))
#define page_address page_to_virt
#define __phys_to_pfn(phys) ((phys) >> PAGE_SHIFT)

struct cma;
static u64 zone_dma_limit;
#define dev_get_cma_area(dev) ((struct cma *)NULL)
#define cma_get_size(cma) 0UL
#define cma_get_base(cma) 0UL
#define dma_alloc_from_contiguous(...) NULL
#define ZONE_NORMAL 2
#define has_managed_zone(zone) ((zone) == ZONE_NORMAL)
#define has_managed_dma() false

/* The page allocator, and sharing, do as the driver says. */
struct page *alloc_pages(gfp_t gfp, unsigned int order);
void __free_pages(struct page *page, unsigned int order);
int share(unsigned long address, int pages);
#undef set_memory_decrypted
#define set_memory_decrypted share

struct work_struct { void (*function)(struct work_struct *work); bool wanted; };
#define INIT_WORK(work, what) ((work)->function = (what))
#define schedule_work(work) ((work)->wanted = true)
#define debugfs_create_dir(name, parent) NULL
#define debugfs_create_ulong(...) do { } while (0)

#define kmalloc_node(size, gfp, node) malloc(size)
#define vzalloc_node(size, node) calloc(1, size)
#define vfree(pointer) free(pointer)
#define kfree(pointer) free(pointer)
#define kfree_const(pointer) (void)(pointer)
#define kstrdup_const(text, gfp) (text)
#define devres_find(...) NULL
#define devres_alloc(...) NULL
#define devres_add(...) do { } while (0)
#define devres_free(...) do { } while (0)

typedef struct { long value; } atomic_long_t;
#define in_nmi() false
#define cpu_relax() do { } while (0)
#define atomic_long_read(count) ((count)->value)
#define atomic_long_set(count, to) ((count)->value = (to))
#define atomic_long_add(more, count) ((count)->value += (more))
#define atomic_long_sub(less, count) ((count)->value -= (less))
#define try_cmpxchg(place, old, new) \
	(*(place) == *(old) ? (*(place) = (new), true) : (*(old) = *(place), false))

#define BITS_PER_LONG 64
#define BIT_WORD(bit) ((bit) / BITS_PER_LONG)
#define BITS_TO_LONGS(bits) DIV_ROUND_UP(bits, BITS_PER_LONG)
#define BITMAP_FIRST_WORD_MASK(start) (~0UL << ((start) & (BITS_PER_LONG - 1)))
#define BITMAP_LAST_WORD_MASK(bits) (~0UL >> (-(bits) & (BITS_PER_LONG - 1)))
static inline bool is_set(const unsigned long *map, unsigned long bit)
{
	return map[BIT_WORD(bit)] >> (bit % BITS_PER_LONG) & 1;
}
static inline unsigned long find_next_bit(const unsigned long *map, unsigned long size,
					  unsigned long bit)
{
	while (bit < size && !is_set(map, bit))
		bit++;
	return bit < size ? bit : size;
}
#define find_first_bit(map, size) find_next_bit(map, size, 0)
static inline unsigned long bitmap_find_next_zero_area_off(unsigned long *map, unsigned long size,
	unsigned long bit, unsigned int count, unsigned long align_mask, unsigned long offset)
{
	unsigned long end;

	for (;; bit++) {
		bit = ((bit + offset + align_mask) & ~align_mask) - offset;
		if (bit + count > size)
			return bit + count;
		end = find_next_bit(map, bit + count, bit);
		if (end >= bit + count)
			return bit;
	}
}
#define bitmap_find_next_zero_area(map, size, start, count, mask) \
	bitmap_find_next_zero_area_off(map, size, start, count, mask, 0)

#endif
