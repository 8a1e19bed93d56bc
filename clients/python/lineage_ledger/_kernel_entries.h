/* Packed entries: where each lies, whether it is strictly encoded, leaf hashes.
 *
 * Hostile input: a length is read once, held against what is left, and only then used. This file only decides whether
 * an entry is well-formed; what is wrong with it is said by `_kernel_checks.explain`.
 */
#ifndef LINEAGE_KERNEL_ENTRIES_H
#define LINEAGE_KERNEL_ENTRIES_H

#include <stdlib.h>

#include "_kernel_sha256_many.h"
#include "_kernel_strict.h"

enum { LENGTH_SIZE = 2, PREDICTION_TAG = 0x0a, SEAL_TAG = 0x12 };

typedef struct {
    uint32_t offset; /* of the entry's first byte */
    uint16_t size;
    uint8_t binding_row;     /* 0: not a prediction */
    uint8_t request_id_size; /* 0: absent */
} entry;

typedef struct {
    entry *entries; /* malloc'ed */
    size_t count;
    size_t position; /* where the walk ended: of the entry refused, if one was */
    uint32_t binding_counts[256];
    uint64_t earliest, latest;
    const strict_tables *strict; /* NULL: entries that are no predictions are not looked into */
} walk;

enum walk_result { WALKED, REFUSED, NO_MEMORY };

static int is_zero(const uint8_t *data, size_t size)
{
    uint8_t any = 0;
    while (size--)
        any |= *data++;
    return !any;
}

/* Bytes before a prediction's first field: tag and length. */
static size_t prediction_start(size_t size) { return size - 2 < 0x80 ? 2 : 3; }

/* Whether the entry, which has the tag of a prediction, is strictly encoded. */
static int scan_prediction(const uint8_t *data, entry *e, uint64_t *start_time)
{
    const uint8_t *p = data, *end = data + e->size;
    int has_output = 0;
    /* The shortest prediction has 49 bytes: row 2, input commitment 34, start 9, status 2, tag and length 2. */
    if (e->size < 49)
        return 0;
    size_t start = prediction_start(e->size), inner = e->size - start;
    if (start == 2 ? p[1] != inner : inner < 0x80 || p[1] != ((inner & 0x7f) | 0x80) || p[2] != inner >> 7)
        return 0;
    p += start;
    if (*p++ != 0x08 || *p == 0)
        return 0;
    e->binding_row = *p++;
    if (e->binding_row >= 0x80 && *p++ != 1)
        return 0;
    if (*p == 0x12) {
        e->request_id_size = p[1];
        if (e->request_id_size < 1 || e->request_id_size > 64 || end - p < 2 + e->request_id_size)
            return 0;
        p += 2 + e->request_id_size;
    }
    if (end - p < 34 + 9 || p[0] != 0x1a || p[1] != HASH_SIZE)
        return 0;
    p += 34;
    if (*p == 0x22) {
        if (end - p < 34 + 9 || p[1] != HASH_SIZE)
            return 0;
        p += 34;
        has_output = 1;
    }
    if (*p != 0x29 || is_zero(p + 1, 8))
        return 0;
    *start_time = 0;
    for (int i = 8; i > 0; i--)
        *start_time = *start_time << 8 | p[i];
    p += 9;
    if (p < end && *p == 0x35) {
        if (end - p < 5 || is_zero(p + 1, 4))
            return 0;
        p += 5;
    }
    if (p == end)
        return has_output;
    return end - p == 2 && p[0] == 0x38 && p[1] >= 1 && p[1] <= 16;
}

static int is_kind_tag(uint8_t byte) { return (byte & 0x87) == 0x02 && byte != 0x02; }

/* Walk over the entries; look into them only if `scan`. The walk is released by the caller, however it ends. */
static enum walk_result walk_entries(walk *w, const uint8_t *packed, size_t size, size_t max_entries, int scan)
{
    size_t most = size / (LENGTH_SIZE + 1);
    if (most > max_entries)
        most = max_entries;
    w->entries = malloc((most + 1) * sizeof *w->entries);
    if (!w->entries)
        return NO_MEMORY;
    while (w->position < size) {
        const uint8_t *p = packed + w->position;
        size_t left = size - w->position;
        if (w->count == most || left <= LENGTH_SIZE)
            return REFUSED;
        entry *e = &w->entries[w->count];
        *e = (entry){.offset = (uint32_t)(w->position + LENGTH_SIZE), .size = (uint16_t)(p[0] << 8 | p[1])};
        if (!e->size || e->size > left - LENGTH_SIZE)
            return REFUSED;
        p += LENGTH_SIZE;
        if (scan && *p == PREDICTION_TAG) {
            uint64_t start_time;
            if (!scan_prediction(p, e, &start_time))
                return REFUSED;
            w->binding_counts[e->binding_row]++;
            if (!w->earliest || start_time < w->earliest)
                w->earliest = start_time;
            if (start_time > w->latest)
                w->latest = start_time;
        } else if (scan && (!is_kind_tag(*p) || (w->strict && !is_strict(w->strict, STRICT_ENTRY, p, e->size))))
            return REFUSED;
        w->count++;
        w->position += LENGTH_SIZE + e->size;
    }
    return WALKED;
}

/* Entries before the seal that ends a batch; all of them if none does. */
static size_t body_count(const walk *w, const uint8_t *packed)
{
    return w->count - (w->count && packed[w->entries[w->count - 1].offset] == SEAL_TAG);
}

static void hash_leaves(const walk *w, const uint8_t *packed, uint8_t *hashes)
{
    pieces leaves = {.prefix = LEAF_PREFIX};
    for (size_t first = 0, n; first < w->count; first += n) {
        const entry *e = w->entries + first;
        for (n = 0; n < MESSAGES && first + n < w->count; n++) {
            leaves.data[n] = packed + e[n].offset;
            leaves.sizes[n] = e[n].size;
        }
        hash_pieces(&leaves, n, hashes + first * HASH_SIZE);
    }
}

#endif
