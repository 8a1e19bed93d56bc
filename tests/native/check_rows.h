/* What must hold of _kernel_rows.h. */
#ifndef LINEAGE_TESTS_CHECK_ROWS_H
#define LINEAGE_TESTS_CHECK_ROWS_H

#include "require.h"

#include "_kernel_rows.h"

/* The request id of a prediction that was accepted, looked for from its first byte on. */
static const uint8_t *request_id(const uint8_t *prediction, size_t *size)
{
    const uint8_t *p = prediction + 1;
    while (*p++ & 0x80)
        ;
    REQUIRE(*p++ == 0x08);
    while (*p++ & 0x80)
        ;
    *size = *p == 0x12 ? p[1] : 0;
    return p + 2;
}

static int compare_plain_rows(const void *a, const void *b) { return memcmp(a, b, ROW_SIZE); }

static void check_rows(const walk *w, const uint8_t *packed, uint32_t first_offset)
{
    uint8_t *expected = malloc(w->count * ROW_SIZE + 1);
    size_t count = 0;
    REQUIRE(expected);
    for (size_t i = 0; i < w->count; i++) {
        const uint8_t *entry = packed + w->entries[i].offset;
        uint8_t *row = expected + count * ROW_SIZE, hash[HASH_SIZE];
        size_t size;
        if (*entry != PREDICTION_TAG)
            continue;
        const uint8_t *id = request_id(entry, &size);
        if (!size)
            continue;
        plain_hash(NO_PREFIX, id, size, hash);
        memcpy(row, hash, REQUEST_HASH_SIZE);
        uint32_t offset = first_offset + (uint32_t)i;
        row[10] = (uint8_t)(offset >> 16), row[11] = (uint8_t)(offset >> 8), row[12] = (uint8_t)offset;
        count++;
    }
    qsort(expected, count, ROW_SIZE, compare_plain_rows);
    FOR_EACH_SHA256 {
        uint8_t *rows = malloc(2 * w->count * ROW_SIZE + 1);
        REQUIRE(rows);
        REQUIRE(make_rows(w, packed, first_offset, rows) == count);
        REQUIRE(!memcmp(rows, expected, count * ROW_SIZE));
        REQUIRE(is_sorted(rows, count));
        free(rows);
    }
    free(expected);
}

/* The bytes are rows, in runs whose sizes the first bytes say. */
static void check_merge(const uint8_t *data, size_t size)
{
    enum { RUNS = 9 };
    cursor heap[RUNS];
    uint8_t *runs[RUNS] = {0};
    size_t count = 0, rows = size / ROW_SIZE, first = 0;
    for (size_t run = 0; run < RUNS; run++) {
        size_t left = rows - first, n = run + 1 < RUNS ? data[run % (size ? size : 1)] % 17u : left;
        n = n < left ? n : left;
        uint8_t *sorted = runs[run] = exactly(data + first * ROW_SIZE, n * ROW_SIZE);
        int in_order = 1;
        for (size_t i = 1; i < n; i++)
            in_order &= compare_plain_rows(sorted + (i - 1) * ROW_SIZE, sorted + i * ROW_SIZE) <= 0;
        REQUIRE(is_sorted(sorted, n) == in_order);
        qsort(sorted, n, ROW_SIZE, compare_plain_rows);
        if (n)
            heap[count++] = (cursor){sorted, sorted + n * ROW_SIZE};
        first += n;
    }
    uint8_t *merged = malloc(rows * ROW_SIZE + 1), *expected = exactly(data, rows * ROW_SIZE);
    REQUIRE(merged);
    merge(heap, count, merged);
    qsort(expected, rows, ROW_SIZE, compare_plain_rows);
    REQUIRE(!memcmp(merged, expected, rows * ROW_SIZE));
    for (size_t run = 0; run < RUNS; run++)
        free(runs[run]);
    free(merged);
    free(expected);
}

#endif
