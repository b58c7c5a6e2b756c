/*
 * Drives kernel/dma/swiotlb.c, compiled unchanged: arguments are RAM and pool in
 * bytes, areas and bits of the pool's device address; from stdin one operation
 * a line, to stdout its result and the slots used. Printed lines, a checksum of
 * RAM and the free run of each slot come at the end. With DYNAMIC, which pools
 * grow: 'p' says what the page allocator gives, 'g' has a new pool added.
 */
#include "kernel_stubs.h"
#include "swiotlb_of_the_tree.c"

char printed[1 << 20];
unsigned char *ram;
unsigned long ram_size, pool_bytes, nr_cpus, this_cpu, bus_bits, cc_attributes;
static size_t length;

void print(const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	length += vsnprintf(printed + length, sizeof(printed) - length, format, arguments);
	va_end(arguments);
	if (length && printed[length - 1] != '\n' && length + 1 < sizeof(printed))
		printed[length++] = '\n';
	if (length > sizeof(printed) - 1000)
		length = 0;
}

#ifdef DYNAMIC
struct rcu_work *later;
struct rcu_head *later_head;
static unsigned long next, largest, given_back;

struct page *alloc_pages(gfp_t gfp, unsigned int order)
{
	unsigned long size = PAGE_SIZE << order, at = ALIGN(next, size);

	if (order >= largest || at + size > ram_size - pool_bytes)
		return NULL;
	next = at + size;
	return (struct page *)((RAM_BASE + at) >> PAGE_SHIFT);
}

void __free_pages(struct page *page, unsigned int order) { given_back += 1UL << order; }

static void do_later(void)
{
	if (later)
		later->work.function(&later->work);
	if (later_head)
		later_head->function(later_head);
	later = NULL;
	later_head = NULL;
}
#else
#define given_back 0UL
#define do_later() do { } while (0)
#endif

static phys_addr_t map(struct device *dev, u64 orig, u64 size, u64 align)
{
	unsigned long attrs = 0;

	return swiotlb_tbl_map_single(dev, orig, size, align, DMA_BIDIRECTIONAL, ATTRS(attrs));
}

int main(int count, char **argument)
{
	static u64 mask = ~0ULL;
	struct device dev = { .dma_mask = &mask, .dma_io_tlb_mem = &io_tlb_default_mem };
	char setting[64], kind;
	u64 a, b, c, d;
	unsigned long sum = 0, i;

	ram_size = strtoul(argument[1], NULL, 0);
	pool_bytes = strtoul(argument[2], NULL, 0);
	nr_cpus = strtoul(argument[3], NULL, 0);
	bus_bits = strtoul(argument[4], NULL, 0);
	ram = calloc(1, ram_size);
#ifdef DYNAMIC
	INIT_LIST_HEAD(&dev.dma_io_tlb_pools);
#endif
	snprintf(setting, sizeof(setting), "%lu,%lu", pool_bytes >> IO_TLB_SHIFT, nr_cpus);
	setup_io_tlb_npages(setting);
	swiotlb_init(true, 0);
	if (!is_swiotlb_active(&dev))
		return 8;
	while (scanf(" %c %lu %lu %lu %lu", &kind, &a, &b, &c, &d) == 5) {
		u64 result = 0;

		switch (kind) {
		case 'd': /* the device: min_align_mask, boundary, cpu */
			dev.min_align_mask = a;
			dev.seg_boundary_mask = b;
			this_cpu = c;
			continue;
		case 'w': /* somebody writes */
			for (i = 0; i < b; i++)
				ram[a - RAM_BASE + i] = (unsigned char)(c + i * 7);
			continue;
		case 'm':
			result = map(&dev, a, b, c);
			break;
		case 'u':
			swiotlb_tbl_unmap_single(&dev, a, b, c, d);
			break;
		case 'c':
			swiotlb_sync_single_for_cpu(&dev, a, b, c);
			break;
		case 'f':
			swiotlb_sync_single_for_device(&dev, a, b, c);
			break;
#ifdef DYNAMIC
		case 'p': /* from where on, less than which order */
			next = max(next, a);
			largest = b;
			continue;
		case 'g':
			if (io_tlb_default_mem.dyn_alloc.wanted) {
				io_tlb_default_mem.dyn_alloc.wanted = false;
				swiotlb_dyn_alloc(&io_tlb_default_mem.dyn_alloc);
			}
			result = io_tlb_default_mem.nslabs;
			break;
#endif
		default:
			return 7;
		}
		do_later();
		printf("%lu %lu\n", result, mem_used(&io_tlb_default_mem) + (given_back << 32));
	}
	for (i = 0; i < ram_size; i++)
		sum += ram[i] * (i + 1);
	printf("%lu %lu\n", sum, swiotlb_max_mapping_size(&dev));
	for (i = 0; i < io_tlb_default_mem.defpool.nslabs; i++)
		printf("%u ", io_tlb_default_mem.defpool.slots[i].list);
	printf("\n%s", printed);
	return 0;
}
