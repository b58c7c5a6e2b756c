/* The fields of a trace's lines, one thread, by hand: what a C parser of the same lines costs.
 *
 *     gcc -O3 -march=native -o trace_fields trace_fields.c && ./trace_fields FILE
 *
 * Of each line that tells a mapping, unmapping, sync, bounce, allocation or scatterlist it takes the
 * time, device, direction, addresses, sizes and attributes, and adds them up, so that none of it is
 * left out by the compiler. Prints lines, events, a sum, and the seconds that it took.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>

static uint64_t events, sum;

static const char *hex(const char *at, uint64_t *value)
{
	uint64_t found = 0;
	for (;; at++) {
		unsigned c = (unsigned char)*at;
		if (c - '0' < 10)
			found = found << 4 | (c - '0');
		else if (c - 'a' < 6)
			found = found << 4 | (c - 'a' + 10);
		else
			break;
	}
	*value = found;
	return at;
}

static const char *decimal(const char *at, uint64_t *value)
{
	uint64_t found = 0;
	while ((unsigned)(*at - '0') < 10)
		found = found * 10 + (*at++ - '0');
	*value = found;
	return at;
}

static uint64_t word(const char *at, const char *end)
{
	uint64_t hash = 14695981039346656037u;
	while (at < end)
		hash = (hash ^ (unsigned char)*at++) * 1099511628211u;
	return hash;
}

static const char *list(const char *at, const char *end)
{
	uint64_t value;
	while (at < end && *at != '}') {
		at = hex(at + 3, &value); /* behind "{0x" or ",0x" */
		sum += value;
		events++;
	}
	return at + 1;
}

/* The body's fields, "key=value" behind one another. */
static void fields(const char *at, const char *end)
{
	while (at < end) {
		const char *equals = memchr(at, '=', end - at);
		uint64_t value = 0;
		if (!equals)
			break;
		size_t length = equals - at;
		const char *text = equals + 1;
		const char *stop = text;
		if (*text == '{' && text < end) {
			stop = list(text, end);
		} else if (length > 4 && !memcmp(equals - 4, "size", 4)) {
			stop = decimal(text, &value);
		} else if (!memcmp(equals - 4, "addr", 4) || !memcmp(equals - 4, "mask", 4)) {
			stop = hex(text, &value);
		} else {
			while (stop < end && *stop != ' ')
				stop++;
			value = word(text, stop);
		}
		sum += value;
		at = stop + 1;
	}
	sum += word(end - 6, end);
}

static void line(const char *at, const char *end)
{
	const char *name = memmem(at, end - at, ": ", 2);
	uint64_t seconds, micro;
	if (!name || end - name < 12 || (memcmp(name + 2, "dma_", 4) && memcmp(name + 2, "swio", 4)))
		return;
	const char *stamp = name;
	while (stamp > at && stamp[-1] != ' ')
		stamp--;
	stamp = decimal(stamp, &seconds);
	decimal(stamp + 1, &micro);
	const char *body = memchr(name + 2, ':', end - name - 2);
	if (!body)
		return;
	sum += word(name + 2, body) + seconds * 1000000 + micro;
	body += 2;
	if (!memcmp(body, "dev_name: ", 10))
		body += 10;
	const char *device = body;
	while (body < end && *body != ' ')
		body++;
	sum += word(device, body);
	events++;
	fields(body + 1, end);
}

int main(int count, char **arguments)
{
	struct stat about;
	struct timespec start, stop;
	uint64_t lines = 0;
	int file = count > 1 ? open(arguments[1], O_RDONLY) : -1;
	if (file < 0 || fstat(file, &about))
		return 2;
	clock_gettime(CLOCK_MONOTONIC, &start);
	const char *at = mmap(NULL, about.st_size, PROT_READ, MAP_PRIVATE | MAP_POPULATE, file, 0);
	if (at == MAP_FAILED)
		return 2;
	const char *end = at + about.st_size;
	while (at < end) {
		const char *stop_at = memchr(at, '\n', end - at);
		if (!stop_at)
			stop_at = end;
		line(at, stop_at);
		lines++;
		at = stop_at + 1;
	}
	clock_gettime(CLOCK_MONOTONIC, &stop);
	printf("%lu %lu %lx %.6f\n", lines, events, sum,
	       stop.tv_sec - start.tv_sec + (stop.tv_nsec - start.tv_nsec) / 1e9);
	return 0;
}
