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
        uint8_t *rows = malloc(w->count * ROW_SIZE + 1), *spare = malloc(count * ROW_SIZE + 1);
        REQUIRE(rows && spare);
        REQUIRE(make_rows(w, packed, first_offset, rows) == count);
        sort_rows(rows, spare, count);
        free(spare);
        REQUIRE(!memcmp(rows, expected, count * ROW_SIZE));
        REQUIRE(is_sorted(rows, count));
        free(rows);
    }
    free(expected);
}

/* The bytes are rows, alike in as many bytes as the first one says: sorted, and each found, also where they are not. */
static void check_sort_and_find(const uint8_t *data, size_t size)
{
    size_t count = size / ROW_SIZE, alike = size ? data[0] % (ROW_SIZE + 1) : 0;
    uint8_t *rows = exactly(data, count * ROW_SIZE), *spare = exactly(data, count * ROW_SIZE);
    for (size_t i = 1; i < count; i++)
        memcpy(rows + i * ROW_SIZE, rows, alike);
    uint8_t *expected = exactly(rows, count * ROW_SIZE);
    qsort(expected, count, ROW_SIZE, compare_plain_rows);
    REQUIRE(is_sorted(rows, count) == !memcmp(rows, expected, count * ROW_SIZE));
    for (size_t i = 0; i < count; i++)
        REQUIRE(find_row(rows, count, data + i * ROW_SIZE) <= count);
    sort_rows(rows, spare, count);
    REQUIRE(!memcmp(rows, expected, count * ROW_SIZE));
    for (size_t i = 0; i < 2 * count; i++) {
        const uint8_t *wanted = i < count ? rows + i * ROW_SIZE : data + (i - count) * ROW_SIZE;
        size_t place = find_row(rows, count, wanted);
        REQUIRE(place == count || compare_plain_rows(rows + place * ROW_SIZE, wanted) >= 0);
        REQUIRE(place == 0 || compare_plain_rows(rows + (place - 1) * ROW_SIZE, wanted) < 0);
    }
    free(rows);
    free(spare);
    free(expected);
}

#endif
