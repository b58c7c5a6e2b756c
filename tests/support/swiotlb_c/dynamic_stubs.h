/* What kernel/dma/swiotlb.c expects besides with CONFIG_SWIOTLB_DYNAMIC. */
#ifndef DYNAMIC_STUBS_H
#define DYNAMIC_STUBS_H

#include "list_stubs.h"

#define CONFIG_SWIOTLB_DYNAMIC 1
#define DMA_BIT_MASK(n) ((n) == 64 ? ~0ULL : (1ULL << (n)) - 1)
#define EAGAIN 11
#define MAX_PAGE_ORDER 10
#define GFP_NOWAIT 1u
#define GFP_ZONEMASK 0u
#define gfpflags_allow_blocking(gfp) ((gfp) != GFP_NOWAIT)
#define ERR_PTR(error) ((void *)(long)(error))
#define IS_ERR(pointer) ((unsigned long)(pointer) >= (unsigned long)-4095L)
#define min_not_zero(a, b) ((a) == 0 ? (b) : (b) == 0 ? (a) : min(a, b))
#define WRITE_ONCE(place, value) ((place) = (value))
#define pr_warn_ratelimited(...) print(__VA_ARGS__)
#define ARCH_LOW_ADDRESS_LIMIT 0xffffffffUL
#define high_memory (ram + ram_size)
static u64 zone_dma_limit;

#define page_to_phys(page) ((phys_addr_t)(page) << PAGE_SHIFT)
#define virt_to_page(address) ((struct page *)(virt_to_phys(address) >> PAGE_SHIFT))
#define kzalloc(size, gfp) calloc(1, size)
#define kfree(pointer) free(pointer)
#undef __get_free_pages
#undef free_pages
#define __get_free_pages(gfp, order) ((unsigned long)calloc(1, PAGE_SIZE << (order)))
#define free_pages(address, order) free((void *)(address))
struct page *alloc_pages(gfp_t gfp, unsigned int order);
void __free_pages(struct page *page, unsigned int order);
#define dma_alloc_from_pool(...) NULL
#define dma_free_from_pool(...) false
#define dma_coherent_ok NULL

struct work_struct { void (*function)(struct work_struct *work); bool wanted; };
#define __WORK_INITIALIZER(work, what) { .function = (what) }
#define INIT_WORK(work, what) ((work)->function = (what))
#define schedule_work(work) ((work)->wanted = true)

/* What is freed later is freed when the operation is over. */
struct rcu_work { struct work_struct work; };
struct rcu_head { void (*function)(struct rcu_head *head); };
extern struct rcu_work *later;
extern struct rcu_head *later_head;
#define to_rcu_work(work) ((struct rcu_work *)(work))
#define INIT_RCU_WORK(rcu, what) ((rcu)->work.function = (what))
#define queue_rcu_work(queue, rcu) (later = (rcu))
#define call_rcu(head, what) ((head)->function = (what), later_head = (head))

#endif
