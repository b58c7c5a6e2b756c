/*
 * Asks the helpers of a tree. From stdin, for each case: ipa_bits, number of
 * regions, their (cpu_start, dma_start, size), number of addresses, the
 * addresses; all 64 bits, ipa_bits 0 at the end. To stdout, for each case: the
 * page-table form of the shared bit, prot_ns_shared, and for each address four
 * results.
 */
#include <stdio.h>
#include <stdlib.h>

#include "topbit_kernel.h"
#include "excerpts.h"
#include <linux/dma-direct.h>

static u64 word(void)
{
	u64 value;

	if (fread(&value, sizeof(value), 1, stdin) != 1)
		exit(3);
	return value;
}

static void answer(u64 value)
{
	if (fwrite(&value, sizeof(value), 1, stdout) != 1)
		exit(4);
}

int main(void)
{
	struct bus_dma_region regions[9] = { { 0 } };
	u64 ipa_bits;

	(void)min_low_pfn;
	while ((ipa_bits = word()) != 0) {
		u64 mask = ~0ULL, number = word(), count, i;
		struct device dev = { 0, &mask, mask, 0 };

		if (number > 8)
			exit(5);
		for (i = 0; i < number; i++) {
			regions[i].cpu_start = word();
			regions[i].dma_start = word();
			regions[i].size = word();
#ifdef REGION_HAS_OFFSET /* up to 6.7 */
			regions[i].offset = regions[i].cpu_start - regions[i].dma_start;
#endif
		}
		regions[number].size = 0;
		if (number)
			dev.dma_range_map = regions;
		in_realm = true;
		sme_me_mask = BIT(ipa_bits - 1);
		set_shared_bit(ipa_bits);
		answer(__phys_to_pte_val(BIT(ipa_bits - 1)));
		answer(prot_ns_shared);
		for (count = word(); count; count--) {
			u64 address = word();

			answer(phys_to_dma_unencrypted(&dev, address));
			answer(phys_to_dma(&dev, address));
			answer(dma_to_phys(&dev, ASKED(&dev, address)));
			answer(dma_to_phys(&dev, address));
		}
	}
	return 0;
}
