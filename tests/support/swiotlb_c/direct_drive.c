/*
 * Drives kernel/dma/direct.c with the tree's own dma-direct.h and swiotlb.c.
 * From stdin one word a line (see the switch), to stdout one result each, and
 * at the end what was printed.
 */
#define DIRECT 1
#include "kernel_stubs.h"
#include "swiotlb_of_the_tree.c"
#undef pr_fmt
#include "direct_of_the_tree.c"

char printed[1 << 20];
unsigned char *ram;
unsigned long ram_size, pool_bytes, nr_cpus, this_cpu, bus_bits, cc_attributes;
unsigned long max_pfn, min_low_pfn;
u64 encrypted_mask, unencrypted_mask;
static size_t length;
static bool forced;

bool force_dma_unencrypted(struct device *dev) { return forced; }

void print(const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	if (strstr(format, "swiotlb addr"))
		length += sprintf(printed + length, "swiotlb addr");
	else if (strstr(format, "DMA addr"))
		length += sprintf(printed + length, "DMA addr");
	else if (strstr(format, "is full"))
		length += sprintf(printed + length, "full");
	else
		length += sprintf(printed + length, "%s", format);
	va_end(arguments);
}

int main(int count, char **argument)
{
	static u64 mask = ~0ULL;
	struct bus_dma_region regions[2] = { { 0 } };
	struct device dev = { .dma_mask = &mask, .seg_boundary_mask = ~0UL };
	u64 w[8];
	int i;

	(void)count;
	ram_size = strtoul(argument[1], NULL, 0);
	pool_bytes = strtoul(argument[2], NULL, 0);
	nr_cpus = 1;
	ram = calloc(1, ram_size);
	max_pfn = (RAM_BASE + ram_size) >> PAGE_SHIFT;
	default_nslabs = pool_bytes >> IO_TLB_SHIFT;
	swiotlb_init(true, 0);
	while (true) {
		dma_addr_t address;

		for (i = 0; i < 8; i++)
			if (scanf("%lu", &w[i]) != 1)
				return 0;
		switch (w[0]) {
		case 0: /* the platform */
			encrypted_mask = w[1];
			unencrypted_mask = w[2];
			cc_attributes = w[3];
			io_tlb_default_mem.force_bounce = w[4];
			SHARED_POOL(w[5]);
			break;
		case 1: /* the device */
			mask = w[1];
			dev.coherent_dma_mask = w[1];
			dev.bus_dma_limit = w[2];
			forced = w[3];
			regions[0].cpu_start = w[4];
			regions[0].dma_start = w[5];
			regions[0].size = w[6];
			dev.dma_range_map = w[6] ? regions : NULL;
			dev.dma_io_tlb_mem = w[7] ? &io_tlb_default_mem : NULL;
			break;
		case 2: /* a mapping, and its end */
			length = 0;
			printed[0] = 0;
			address = dma_direct_map_phys(&dev, w[1], w[2], DMA_BIDIRECTIONAL, w[3], true);
			printf("%lu %lu %s\n", address, mem_used(&io_tlb_default_mem), printed);
			if (address != DMA_MAPPING_ERROR)
				dma_direct_unmap_phys(&dev, address, w[2], DMA_BIDIRECTIONAL, w[3], true);
			break;
		case 3: /* what may be asked besides */
			printf("%lu %d %lu\n", dma_direct_get_required_mask(&dev),
			       dma_direct_supported(&dev, w[1]), dma_direct_max_mapping_size(&dev));
			break;
		}
	}
}
