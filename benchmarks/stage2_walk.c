/*
 * How fast does plain C translate through a stage-2 table (4 KiB granule, VMSAv8-64)?
 *
 * The baseline of translate.py: one call walks `n` addresses with the checks that the SMMU makes:
 * input size, memory bounds of each fetch, descriptor type, output size, access flag, permission.
 * A result is the output address, or 0 with the event type in `codes`.
 */
#include <stddef.h>
#include <stdint.h>

enum { OK = 0, F_WALK_EABT = 0x0b, F_TRANSLATION = 0x10, F_ADDR_SIZE, F_ACCESS, F_PERMISSION };

struct table {
    const uint64_t *words; /* physical memory */
    uint64_t base, size;   /* its range of physical addresses */
    uint64_t root;
    int32_t start_level, input_bits, output_bits, access_flag;
};

static inline uint8_t walk(const struct table *t, uint64_t ipa, uint64_t need, uint64_t *pa)
{
    *pa = 0;
    if (ipa >> t->input_bits)
        return F_TRANSLATION;
    uint64_t table = t->root;
    uint64_t index = ipa >> (39 - 9 * t->start_level);
    for (int level = t->start_level; ; level++) {
        uint64_t where = table + 8 * index - t->base;
        if (where >= t->size)
            return F_WALK_EABT;
        uint64_t d = t->words[where >> 3];
        int shift = 39 - 9 * level;
        if (level < 3 && (d & 3) == 3) {
            table = d & 0x0000fffffffff000ull;
            if (table >> t->output_bits)
                return F_ADDR_SIZE;
            index = ipa >> (shift - 9) & 511;
            continue;
        }
        if (level == 0 || (d & 3) != (level == 3 ? 3 : 1))
            return F_TRANSLATION;
        uint64_t offset = (1ull << shift) - 1;
        uint64_t oa = d & 0x0000fffffffff000ull & ~offset;
        if (oa >> t->output_bits)
            return F_ADDR_SIZE;
        if (t->access_flag && !(d & 1 << 10))
            return F_ACCESS;
        if (!(d & need))
            return F_PERMISSION;
        *pa = oa | (ipa & offset);
        return OK;
    }
}

void translate(const struct table *t, const uint64_t *ipas, size_t n, int write, uint64_t *pas,
               uint8_t *codes)
{
    uint64_t need = write ? 1 << 7 : 1 << 6;
    for (size_t i = 0; i < n; i++)
        codes[i] = walk(t, ipas[i], need, &pas[i]);
}
