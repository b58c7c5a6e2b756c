/* The loops that benchmarks/dma_helpers.py measures against: one call each for a whole array. */
#include <stdint.h>

void unencrypted(const uint64_t *in, uint64_t *out, long n, uint64_t bit)
{
	for (long i = 0; i < n; i++)
		out[i] = in[i] | bit;
}

void unencrypted_behind(const uint64_t *in, uint64_t *out, long n, uint64_t bit, uint64_t cpu,
			uint64_t bus, uint64_t size)
{
	for (long i = 0; i < n; i++)
		out[i] = (in[i] - cpu < size ? in[i] - cpu + bus : UINT64_MAX) | bit;
}

void to_phys_behind(const uint64_t *in, uint64_t *out, long n, uint64_t bit, uint64_t bus,
		    uint64_t cpu, uint64_t size)
{
	for (long i = 0; i < n; i++) {
		uint64_t address = in[i] & ~bit;

		out[i] = address - bus < size ? address - bus + cpu : UINT64_MAX;
	}
}
