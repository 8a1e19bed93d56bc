/* What must hold of _kernel_packing.h: the strict scan takes what it packs, and finds in it what was given. */
#ifndef LINEAGE_TESTS_CHECK_PACKING_H
#define LINEAGE_TESTS_CHECK_PACKING_H

#include "check_strict.h"
#include "require.h"

#include "_kernel_entries.h"
#include "_kernel_packing.h"

/* The data is a prediction: which fields it has, a row, numbers, then what fills its bytes. */
static void check_packing(const uint8_t *data, size_t size)
{
    enum { HEADER = 20 };
    uint8_t bytes[2 * COMMITMENT_SIZE + MAX_REQUEST_ID_SIZE + 1];
    if (size < HEADER)
        return;
    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = data[i % size];
    uint8_t *id = exactly(bytes + 2 * COMMITMENT_SIZE, data[1] % (MAX_REQUEST_ID_SIZE + 2u));
    prediction p = {
        .input = bytes,
        .output = data[0] & 1 ? bytes + COMMITMENT_SIZE : NULL,
        .request_id = id,
        .request_id_size = data[1] % (MAX_REQUEST_ID_SIZE + 2u),
        .binding_row = data[2],
        .status_code = data[0] & 2 ? data[3] % (MAX_STATUS_CODE + 2u) : 0,
        .start_time_unix_ns = data[0] & 4 ? read_little(data + 4, 8) : data[4] % 2u,
        .duration_us = data[0] & 8 ? read_little(data + 12, 8) : data[12] % 2u,
    };
    uint8_t room[MAX_FRAMED_PREDICTION + 8];
    size_t packed_size = pack_prediction(&p, room);
    uint8_t *packed = exactly(room, packed_size);
    walk w = {.strict = real_tables()};
    enum walk_result result = walk_entries(&w, packed, packed_size, 2, 1);
    REQUIRE((result == WALKED) == is_packable(&p));
    if (result == WALKED) {
        const entry *e = w.entries;
        REQUIRE(packed_size <= MAX_FRAMED_PREDICTION && w.count == 1 && e->size == packed_size - LENGTH_SIZE);
        REQUIRE(e->binding_row == p.binding_row && e->request_id_size == p.request_id_size);
        REQUIRE(w.earliest == p.start_time_unix_ns);
        REQUIRE(is_strict(real_tables(), STRICT_ENTRY, packed + e->offset, e->size));
        uint8_t *exact_room = malloc(packed_size);
        REQUIRE(exact_room && pack_prediction(&p, exact_room) == packed_size);
        REQUIRE(!memcmp(exact_room, packed, packed_size));
        free(exact_room);
    }
    free(w.entries);
    free(packed);
    free(id);
}

#endif
