/* What must hold of _kernel_hmac.h: commitments are what RFC 2104 and proto/README.md say. */
#ifndef LINEAGE_TESTS_CHECK_HMAC_H
#define LINEAGE_TESTS_CHECK_HMAC_H

#include "require.h"

#include "_kernel_hmac.h"

static void plain_hmac(const uint8_t *key, size_t key_size, const uint8_t *data, size_t size, uint8_t *code)
{
    uint8_t block[BLOCK_SIZE] = {0}, outer[BLOCK_SIZE + HASH_SIZE], *inner = malloc(BLOCK_SIZE + size);
    REQUIRE(inner);
    if (key_size > BLOCK_SIZE)
        plain_hash(NO_PREFIX, key, key_size, block);
    else if (key_size)
        memcpy(block, key, key_size);
    for (int i = 0; i < BLOCK_SIZE; i++) {
        inner[i] = block[i] ^ 0x36;
        outer[i] = block[i] ^ 0x5c;
    }
    if (size)
        memcpy(inner + BLOCK_SIZE, data, size);
    plain_hash(NO_PREFIX, inner, BLOCK_SIZE + size, outer + BLOCK_SIZE);
    plain_hash(NO_PREFIX, outer, sizeof outer, code);
    free(inner);
}

/* The data is a key, a context, and then counters and values in turn, of the sizes that its first bytes say. */
static void check_hmac(const uint8_t *data, size_t size)
{
    enum { MOST = 2 * MESSAGES + 3 };
    piece parts[2 + 2 * MOST], counters[MOST], values[MOST];
    uint8_t code[HASH_SIZE], key[HASH_SIZE], name[256], *copies[2 + 2 * MOST];
    size_t count = size ? data[size - 1] % (MOST + 1u) : 0, at = 0, longest = 0;
    if (!size)
        return;
    for (size_t i = 0; i < 2 + 2 * count; i++) {
        size_t wanted = data[i % size] % (i == 0 ? 150u : i % 2 ? 70u : 20u), left = size - at;
        size_t n = wanted < left ? wanted : left;
        copies[i] = exactly(data + at, n);
        parts[i] = (piece){copies[i], n};
        at += n;
        if (i >= 2 && i % 2 == 0)
            longest = n > longest ? n : longest;
    }
    for (size_t i = 0; i < count; i++) {
        counters[i] = parts[2 + 2 * i];
        values[i] = parts[3 + 2 * i];
    }
    FOR_EACH_SHA256 {
        uint8_t expected[HASH_SIZE], *scratch = malloc(MESSAGES * (parts[1].size + longest) + 1);
        uint8_t *commitments = malloc(count * HASH_SIZE + 1);
        hmac_key period;
        REQUIRE(scratch && commitments);
        plain_hmac(parts[0].data, parts[0].size, parts[1].data, parts[1].size, expected);
        hmac_one(parts[0].data, parts[0].size, parts[1], code);
        REQUIRE(!memcmp(code, expected, HASH_SIZE));
        hmac_key_set(&period, parts[0].data, parts[0].size);
        commit_pieces(&period, parts[1], counters, values, count, scratch, commitments);
        for (size_t i = 0; i < count; i++) {
            memcpy(name, parts[1].data, parts[1].size);
            memcpy(name + parts[1].size, counters[i].data, counters[i].size);
            plain_hmac(parts[0].data, parts[0].size, name, parts[1].size + counters[i].size, key);
            plain_hmac(key, HASH_SIZE, values[i].data, values[i].size, expected);
            REQUIRE(!memcmp(commitments + i * HASH_SIZE, expected, HASH_SIZE));
        }
        free(scratch);
        free(commitments);
    }
    for (size_t i = 0; i < 2 + 2 * count; i++)
        free(copies[i]);
}

#endif
