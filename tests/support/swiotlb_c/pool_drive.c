/*
 * Drives kernel/dma/pool.c on lib/genalloc.c, both compiled unchanged: arguments
 * are RAM in bytes and whether the platform shares the pool; from stdin one
 * operation a line, to stdout its result, what is free, the pool's size and the
 * pages given back. A checksum of RAM and what was printed come at the end.
 */
#define POOL 1
#include "kernel_stubs.h"
#include "genalloc_of_the_tree.c"
#include "pool_of_the_tree.c"

char printed[1 << 20];
unsigned char *ram;
unsigned long ram_size, pool_bytes, nr_cpus, this_cpu, bus_bits, cc_attributes;
static size_t length;
static unsigned long next, largest = MAX_PAGE_ORDER + 1, given_back, refused;

void print(const char *format, ...)
{
	va_list arguments;
	const char *flags = strstr(format, "%pGg");

	if (flags) {
		char other[200];

		snprintf(other, sizeof(other), "%.*sGFP_KERNEL%s", (int)(flags - format), format,
			 flags + 4);
		va_start(arguments, format);
		length += vsprintf(printed + length, other, arguments);
		va_end(arguments);
		return;
	}
	va_start(arguments, format);
	length += vsprintf(printed + length, format, arguments);
	va_end(arguments);
	if (length > sizeof(printed) - 1000)
		length = 0;
}

struct page *alloc_pages(gfp_t gfp, unsigned int order)
{
	unsigned long size = PAGE_SIZE << order, at = ALIGN(next, size);

	if (order >= largest || at + size > ram_size)
		return NULL;
	next = at + size;
	return (struct page *)((RAM_BASE + at) >> PAGE_SHIFT);
}

void __free_pages(struct page *page, unsigned int order) { given_back += 1UL << order; }

int share(unsigned long address, int pages) { return refused ? -EINVAL : 0; }

static u64 limit;
static bool fits(struct device *dev, phys_addr_t phys, size_t size)
{
	return phys + size - 1 <= limit;
}

int main(int count, char **argument)
{
	struct device dev = { 0 };
	unsigned long sum = 0, i;
	char kind;
	u64 a, b;

	(void)count;
	ram_size = strtoul(argument[1], NULL, 0);
	cc_attributes = strtoul(argument[2], NULL, 0) << CC_ATTR_MEM_ENCRYPT;
	ram = calloc(1, ram_size);
	dma_atomic_pool_init();
	while (scanf(" %c %lu %lu", &kind, &a, &b) == 3) {
		u64 result = 0;
		void *address;

		switch (kind) {
		case 'a': /* bytes, the last address that fits */
			limit = b;
			result = (u64)FROM_POOL(&dev, a, &address, fits) << PAGE_SHIFT;
			if (result) /* somebody uses it */
				memset(address, 0xa5, a);
			break;
		case 'f':
			result = dma_free_from_pool(&dev, phys_to_virt(a), b);
			break;
		case 'w': /* there is time for what was put off */
			if (atomic_pool_work.wanted) {
				atomic_pool_work.wanted = false;
				atomic_pool_work.function(&atomic_pool_work);
			}
			break;
		case 'l': /* the page allocator gives less than this order; sharing is refused */
			largest = a;
			refused = b;
			break;
		default:
			return 7;
		}
		printf("%lu %lu %lu %lu\n", result, THE_POOL ? gen_pool_avail(THE_POOL) : 0,
		       THE_POOL ? gen_pool_size(THE_POOL) : 0, given_back);
	}
	for (i = 0; i < ram_size; i++)
		sum += ram[i] * (i + 1);
	printf("%lu\n%s", sum, printed);
	return 0;
}
