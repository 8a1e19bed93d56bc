/* Rows of request ids: SHA-256(request id)[:10], u24be offset. Made of packed entries, sorted; sorted runs merged. */
#ifndef LINEAGE_KERNEL_ROWS_H
#define LINEAGE_KERNEL_ROWS_H

#include "_kernel_entries.h"

enum { ROW_SIZE = 13, REQUEST_HASH_SIZE = 10 };

static int compare_rows(const uint8_t *a, const uint8_t *b) { return memcmp(a, b, ROW_SIZE); }

/* Sort by the hashes, whatever they are in linear time: a stable pass for each byte of them, from the last on. Rows of
 * one hash stay in order. The number of passes is even, so the rows end where they were; `spare` is as large. */
static void sort_rows(uint8_t *rows, uint8_t *spare, size_t count)
{
    for (size_t column = REQUEST_HASH_SIZE; column-- > 0;) {
        size_t starts[257] = {0};
        for (size_t i = 0; i < count; i++)
            starts[rows[i * ROW_SIZE + column] + 1]++;
        for (int value = 0; value < 255; value++)
            starts[value + 1] += starts[value];
        for (size_t i = 0; i < count; i++)
            memcpy(spare + starts[rows[i * ROW_SIZE + column]]++ * ROW_SIZE, rows + i * ROW_SIZE, ROW_SIZE);
        uint8_t *sorted = spare;
        spare = rows;
        rows = sorted;
    }
}

/* Rows, sorted, of the entries that have a request id; their number. There is room for twice `w->count` rows. */
static size_t make_rows(const walk *w, const uint8_t *packed, uint32_t first_offset, uint8_t *rows)
{
    uint8_t hashes[MESSAGES * HASH_SIZE], *row = rows;
    uint32_t offsets[MESSAGES];
    message messages[MESSAGES];
    for (size_t place = 0; place < w->count;) {
        size_t n = 0;
        for (; n < MESSAGES && place < w->count; place++) {
            const entry *e = &w->entries[place];
            if (!e->request_id_size)
                continue;
            size_t row_field_size = e->binding_row < 0x80 ? 2 : 3;
            size_t start = prediction_start(e->size) + row_field_size + 2;
            message_set(&messages[n], NO_PREFIX, packed + e->offset + start, e->request_id_size);
            offsets[n++] = first_offset + (uint32_t)place;
        }
        hash_messages(messages, n, hashes);
        for (size_t i = 0; i < n; i++, row += ROW_SIZE) {
            memcpy(row, hashes + i * HASH_SIZE, REQUEST_HASH_SIZE);
            row[10] = (uint8_t)(offsets[i] >> 16);
            row[11] = (uint8_t)(offsets[i] >> 8);
            row[12] = (uint8_t)offsets[i];
        }
    }
    size_t count = (size_t)(row - rows) / ROW_SIZE;
    sort_rows(rows, row, count);
    return count;
}

typedef struct {
    const uint8_t *row, *end;
} cursor;

static void sift_down(cursor *heap, size_t count, size_t i)
{
    cursor moved = heap[i];
    for (size_t child; (child = 2 * i + 1) < count; i = child) {
        if (child + 1 < count && compare_rows(heap[child + 1].row, heap[child].row) < 0)
            child++;
        if (compare_rows(moved.row, heap[child].row) <= 0)
            break;
        heap[i] = heap[child];
    }
    heap[i] = moved;
}

/* Merge by a heap of what is left of each run; the runs are sorted and not empty. */
static void merge(cursor *heap, size_t count, uint8_t *merged)
{
    for (size_t i = count / 2; i-- > 0;)
        sift_down(heap, count, i);
    while (count) {
        memcpy(merged, heap->row, ROW_SIZE);
        merged += ROW_SIZE;
        heap->row += ROW_SIZE;
        if (heap->row == heap->end)
            *heap = heap[--count];
        if (count)
            sift_down(heap, count, 0);
    }
}

static int is_sorted(const uint8_t *row, size_t count)
{
    for (; count > 1; count--, row += ROW_SIZE)
        if (compare_rows(row, row + ROW_SIZE) > 0)
            return 0;
    return 1;
}

#endif
