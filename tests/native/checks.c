/* What must hold of the kernel's C functions whatever bytes they are given; abort() where it does not.
 *
 * This is a fuzz target in the form that libFuzzer calls. fuzz.c drives it where there is only gcc. Everything that the
 * kernel is given lies in memory of its own and of the exact size, so that a sanitizer sees one byte too many.
 */
#include "check_hmac.h"
#include "check_packing.h"
#include "check_queue.h"
#include "check_rows.h"
#include "check_strict.h"
#include "require.h"

#include "_kernel_entries.h"
#include "_kernel_tree.h"

static void check_leaf_hashes(const walk *w, const uint8_t *packed)
{
    FOR_EACH_SHA256 {
        uint8_t *hashes = malloc(w->count * HASH_SIZE + 1), expected[HASH_SIZE];
        REQUIRE(hashes);
        hash_leaves(w, packed, hashes);
        for (size_t i = 0; i < w->count; i++) {
            plain_hash(LEAF_PREFIX, packed + w->entries[i].offset, w->entries[i].size, expected);
            REQUIRE(!memcmp(hashes + i * HASH_SIZE, expected, HASH_SIZE));
        }
        free(hashes);
    }
}

/* However a walk ended, what it found lies side by side inside the bytes. */
static void check_spans(const walk *w, enum walk_result result, const uint8_t *packed, size_t size, size_t max_entries)
{
    size_t position = 0, predictions = 0, counted = 0;
    REQUIRE(w->count <= max_entries);
    for (size_t i = 0; i < w->count; i++) {
        const entry *e = &w->entries[i];
        REQUIRE(e->size && e->offset == position + LENGTH_SIZE && e->size <= size - e->offset);
        REQUIRE((packed[position] << 8 | packed[position + 1]) == e->size);
        REQUIRE(!e->request_id_size || (e->binding_row && e->request_id_size <= 64));
        position = e->offset + e->size;
        predictions += e->binding_row != 0;
    }
    REQUIRE(w->position == position);
    REQUIRE(result == REFUSED || position == size);
    if (result == REFUSED)
        return;
    for (int row = 0; row < 256; row++)
        counted += w->binding_counts[row];
    REQUIRE(!w->binding_counts[0] && counted == predictions);
    REQUIRE(predictions ? w->earliest && w->earliest <= w->latest : !w->latest);
}

static void check_packed(const uint8_t *packed, size_t size)
{
    for (int scan = 0; scan < 3; scan++) {
        for (size_t max_entries = 1 << 25; max_entries; max_entries = max_entries > 5 ? 5 : 0) {
            walk w = {.strict = scan == 2 ? real_tables() : NULL};
            enum walk_result result = walk_entries(&w, packed, size, max_entries, scan > 0);
            REQUIRE(result != NO_MEMORY);
            check_spans(&w, result, packed, size, max_entries);
            if (result == WALKED && scan)
                check_rows(&w, packed, (uint32_t)size & 0xfffff);
            else if (result == WALKED)
                check_leaf_hashes(&w, packed);
            free(w.entries);
        }
    }
}

/* The bytes as the fields of one prediction, whose lengths are right: nothing lies behind its end. */
static void check_fields(const uint8_t *fields, size_t size)
{
    size_t varint_size = size < 0x80 ? 1 : 2, entry_size = 1 + varint_size + size;
    if (size > 200)
        return;
    uint8_t *packed = malloc(LENGTH_SIZE + entry_size), *p = packed;
    REQUIRE(packed);
    *p++ = 0;
    *p++ = (uint8_t)entry_size;
    *p++ = PREDICTION_TAG;
    *p++ = (uint8_t)(varint_size == 1 ? size : (size & 0x7f) | 0x80);
    if (varint_size == 2)
        *p++ = (uint8_t)(size >> 7);
    if (size)
        memcpy(p, fields, size);
    check_packed(packed, LENGTH_SIZE + entry_size);
    free(packed);
}

/* Leaves made by repeating the bytes: few bytes give trees over more than one tile, too. */
static void check_tree(const uint8_t *data, size_t size)
{
    static const size_t sizes[] = {0, 1, 2, 3, 0, 5, 7, 8, 0, 33, 100, 255, 256, 257, 511, 513, 770};
    size_t count = size ? sizes[data[0] % (sizeof sizes / sizeof *sizes)] : 0;
    uint8_t *hashes = malloc(count * HASH_SIZE + 1), expected[HASH_SIZE], root[HASH_SIZE];
    REQUIRE(hashes);
    for (size_t i = 0; i < count * HASH_SIZE; i++)
        hashes[i] = data[i % size] ^ (uint8_t)(i / size);
    plain_root(hashes, count, expected);
    FOR_EACH_SHA256 {
        any_root(hashes, count, root);
        REQUIRE(!memcmp(root, expected, HASH_SIZE));
        if (count && count <= TILE_WIDTH) {
            small_root(hashes, count, root);
            REQUIRE(!memcmp(root, expected, HASH_SIZE));
        }
    }
    free(hashes);
}

int LLVMFuzzerTestOneInput(const uint8_t *given, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *given, size_t size)
{
    uint8_t *data = exactly(given, size);
    check_packed(data, size);
    check_fields(data, size);
    check_tree(data, size);
    check_strict(data, size);
    check_hmac(data, size);
    check_packing(data, size);
    if (size)
        check_sort_and_find(data, size);
    if (size)
        check_queue(data, size);
    free(data);
    return 0;
}
