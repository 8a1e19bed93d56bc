/* Rows of request ids: SHA-256(request id)[:10], u24be offset. Made of packed entries, sorted, merged, searched.
 *
 * The hashes spread evenly, and all of this is fast because they do; but whoever sends request ids can choose some whose
 * hashes begin alike, so nothing here takes more than linear time, or a search more than bisection, if they do not.
 */
#ifndef LINEAGE_KERNEL_ROWS_H
#define LINEAGE_KERNEL_ROWS_H

#include "_kernel_entries.h"

enum { ROW_SIZE = 13, REQUEST_HASH_SIZE = 10 };

static int compare_rows(const uint8_t *a, const uint8_t *b) { return memcmp(a, b, ROW_SIZE); }

static uint64_t load_big_endian(const uint8_t *p)
{
    uint64_t value = 0;
    for (int i = 0; i < 8; i++)
        value = value << 8 | p[i];
    return value;
}

static void store_big_endian_64(uint8_t *p, uint64_t value)
{
    store_big_endian(p, (uint32_t)(value >> 32));
    store_big_endian(p + 4, (uint32_t)value);
}

/* So few rows are sorted by insertion. */
enum { FEW_ROWS = 24 };

/* Sort few rows of `rows` into `sorted`, which may be the same. A row is two numbers that overlap, its first eight bytes
 * and its last eight. */
static void sort_few_rows(const uint8_t *rows, uint8_t *sorted, size_t count)
{
    struct {
        uint64_t first, last;
    } keys[FEW_ROWS];
    for (size_t n = 0; n < count; n++) {
        uint64_t first = load_big_endian(rows + n * ROW_SIZE), last = load_big_endian(rows + n * ROW_SIZE + 5);
        size_t i = n;
        for (; i && (first < keys[i - 1].first || (first == keys[i - 1].first && last < keys[i - 1].last)); i--)
            keys[i] = keys[i - 1];
        keys[i].first = first;
        keys[i].last = last;
    }
    for (size_t n = 0; n < count; n++) {
        store_big_endian_64(sorted + n * ROW_SIZE, keys[n].first);
        store_big_endian_64(sorted + n * ROW_SIZE + 5, keys[n].last);
    }
}

/* Sort rows that are alike before `column`: into 256 by the byte there, and so on with each of them. The result is in
 * `rows`, or if `moved` in `spare`, which has as much room. */
static void sort_rows_from(uint8_t *rows, uint8_t *spare, size_t count, size_t column, int moved)
{
    if (count <= FEW_ROWS) {
        sort_few_rows(rows, moved ? spare : rows, count);
        return;
    }
    uint32_t starts[257];
    for (;; column++) {
        if (column == ROW_SIZE) {
            if (moved)
                memcpy(spare, rows, count * ROW_SIZE);
            return;
        }
        memset(starts, 0, sizeof starts);
        for (size_t i = 0; i < count; i++)
            starts[rows[i * ROW_SIZE + column] + 1]++;
        if (starts[rows[column] + 1] != count)
            break; /* else all are alike here too */
    }
    for (int value = 0; value < 256; value++)
        starts[value + 1] += starts[value];
    uint32_t ends[256];
    memcpy(ends, starts, sizeof ends);
    for (size_t i = 0; i < count; i++)
        memcpy(spare + (size_t)ends[rows[i * ROW_SIZE + column]]++ * ROW_SIZE, rows + i * ROW_SIZE, ROW_SIZE);
    for (int value = 0; value < 256; value++) {
        size_t start = starts[value], size = starts[value + 1] - start;
        if (size)
            sort_rows_from(spare + start * ROW_SIZE, rows + start * ROW_SIZE, size, column + 1, !moved);
    }
}

/* Sort by all bytes of a row; at most 2^32 - 1 of them. `spare` is as large as `rows`, and what is in it is lost. */
static void sort_rows(uint8_t *rows, uint8_t *spare, size_t count) { sort_rows_from(rows, spare, count, 0, 0); }

/* Append a row for each entry that has a request id, in the order of the entries; the number of rows. There is room for
 * `w->count`. */
static size_t make_rows(const walk *w, const uint8_t *packed, uint32_t first_offset, uint8_t *rows)
{
    uint8_t hashes[MESSAGES * HASH_SIZE], *row = rows;
    uint32_t offsets[MESSAGES];
    pieces ids = {.prefix = NO_PREFIX};
    for (size_t place = 0; place < w->count;) {
        size_t n = 0;
        for (; n < MESSAGES && place < w->count; place++) {
            const entry *e = &w->entries[place];
            if (!e->request_id_size)
                continue;
            size_t row_field_size = e->binding_row < 0x80 ? 2 : 3;
            size_t start = prediction_start(e->size) + row_field_size + 2;
            ids.data[n] = packed + e->offset + start;
            ids.sizes[n] = e->request_id_size;
            offsets[n++] = first_offset + (uint32_t)place;
        }
        hash_pieces(&ids, n, hashes);
        for (size_t i = 0; i < n; i++, row += ROW_SIZE) {
            memcpy(row, hashes + i * HASH_SIZE, REQUEST_HASH_SIZE);
            row[10] = (uint8_t)(offsets[i] >> 16);
            row[11] = (uint8_t)(offsets[i] >> 8);
            row[12] = (uint8_t)offsets[i];
        }
    }
    return (size_t)(row - rows) / ROW_SIZE;
}

static int is_sorted(const uint8_t *row, size_t count)
{
    for (; count > 1; count--, row += ROW_SIZE)
        if (compare_rows(row, row + ROW_SIZE) > 0)
            return 0;
    return 1;
}

/* So often a search guesses where a row is; then it bisects. */
enum { GUESSES = 8 };

/* The first row that is not before `wanted`, among sorted rows. If they are not sorted it is some place in [0, count].
 * The place of a hash among hashes that are spread evenly can be told within a few rows: that is two or three reads of
 * memory far apart, where bisection is twenty. */
static size_t find_row(const uint8_t *rows, size_t count, const uint8_t *wanted)
{
    uint64_t key = load_big_endian(wanted), low_key = 0, high_key = UINT64_MAX;
    size_t low = 0, high = count;
    for (int guesses = 0; low < high; guesses++) {
        size_t middle = low + (high - low) / 2;
        if (guesses < GUESSES && low_key < high_key && low_key <= key && key <= high_key) {
            double share = (double)(key - low_key) / (double)(high_key - low_key);
            size_t guess = (size_t)(share * (double)(high - low));
            middle = guess < high - low ? low + guess : high - 1;
        }
        const uint8_t *row = rows + middle * ROW_SIZE;
        if (compare_rows(row, wanted) < 0) {
            low = middle + 1;
            low_key = load_big_endian(row);
        } else {
            high = middle;
            high_key = load_big_endian(row);
        }
    }
    return low;
}

#endif
