/* HMAC-SHA256 (RFC 2104), and commitments under derived keys (proto/README.md, "Commitments").
 *
 * The one part of the kernel that sees secrets. What it does depends on lengths only: SHA-256, here as in the
 * processor's instructions, neither branches on data nor looks anything up by it. Keys, and states made of them, are
 * overwritten after use; what a compiler left in registers is beyond C. Like the other headers it knows nothing of
 * Python.
 */
#ifndef LINEAGE_KERNEL_HMAC_H
#define LINEAGE_KERNEL_HMAC_H

#include "_kernel_sha256.h"

enum { INNER_PAD = 0x36, OUTER_PAD = 0x5c };

/* What a key comes to: SHA-256's state after the first block of the inner and of the outer hash. */
typedef struct {
    uint32_t inner[8], outer[8];
} hmac_key;

/* Bytes at a place. */
typedef struct {
    const uint8_t *data;
    size_t size;
} piece;

static void wipe(void *data, size_t size)
{
    volatile uint8_t *byte = data;
    while (size--)
        *byte++ = 0;
}

static void hmac_key_set(hmac_key *k, const uint8_t *key, size_t size)
{
    uint8_t inner[BLOCK_SIZE] = {0}, outer[BLOCK_SIZE];
    if (size > BLOCK_SIZE)
        hash_one(NO_PREFIX, key, size, inner);
    else if (size)
        memcpy(inner, key, size);
    for (int i = 0; i < BLOCK_SIZE; i++) {
        outer[i] = inner[i] ^ OUTER_PAD;
        inner[i] ^= INNER_PAD;
    }
    memcpy(k->inner, INITIAL_STATE, sizeof k->inner);
    memcpy(k->outer, INITIAL_STATE, sizeof k->outer);
    compress_two(k->inner, inner, k->outer, outer);
    wipe(inner, sizeof inner);
    wipe(outer, sizeof outer);
}

/* A message that comes after one block, which `state` is the state after. */
static void message_after_block(message *m, const uint32_t state[8], const uint8_t *data, size_t size)
{
    message_set(m, NO_PREFIX, data, size);
    memcpy(m->state, state, sizeof m->state);
    uint64_t bits = ((uint64_t)size + BLOCK_SIZE) * 8;
    uint8_t *length = m->tail + (m->blocks - m->head_blocks - m->middle_blocks) * BLOCK_SIZE - 8;
    store_big_endian(length, (uint32_t)(bits >> 32));
    store_big_endian(length + 4, (uint32_t)bits);
}

/* `codes` takes 32 bytes for each of at most MESSAGES pieces; each has a key of its own, or all have one. */
static void hmac_pieces(const hmac_key *keys, int one_key, const piece *pieces, size_t count, uint8_t *codes)
{
    message messages[MESSAGES];
    for (size_t i = 0; i < count; i++)
        message_after_block(&messages[i], keys[one_key ? 0 : i].inner, pieces[i].data, pieces[i].size);
    hash_messages(messages, count, codes);
    for (size_t i = 0; i < count; i++)
        message_after_block(&messages[i], keys[one_key ? 0 : i].outer, codes + i * HASH_SIZE, HASH_SIZE);
    hash_messages(messages, count, codes);
    wipe(messages, sizeof messages);
}

static void hmac_one(const uint8_t *key, size_t key_size, piece value, uint8_t *code)
{
    hmac_key k;
    hmac_key_set(&k, key, key_size);
    message m;
    message_after_block(&m, k.inner, value.data, value.size);
    message_finish(&m, 0, code);
    message_after_block(&m, k.outer, code, HASH_SIZE);
    message_finish(&m, 0, code);
    wipe(&m, sizeof m);
    wipe(&k, sizeof k);
}

/* Commit to each value under the key that is derived of `period` for `context` and its counter. `scratch` has room for
 * MESSAGES times context and longest counter. */
static void commit_pieces(const hmac_key *period, piece context, const piece *counters, const piece *values,
                          size_t count, uint8_t *scratch, uint8_t *commitments)
{
    uint8_t derived[MESSAGES * HASH_SIZE];
    hmac_key keys[MESSAGES];
    piece named[MESSAGES];
    for (size_t first = 0, n; first < count; first += n) {
        uint8_t *name = scratch;
        for (n = 0; n < MESSAGES && first + n < count; n++) {
            const piece *counter = &counters[first + n];
            memcpy(name, context.data, context.size);
            memcpy(name + context.size, counter->data, counter->size);
            named[n] = (piece){name, context.size + counter->size};
            name += named[n].size;
        }
        hmac_pieces(period, 1, named, n, derived);
        for (size_t i = 0; i < n; i++)
            hmac_key_set(&keys[i], derived + i * HASH_SIZE, HASH_SIZE);
        hmac_pieces(keys, 0, values + first, n, commitments + first * HASH_SIZE);
    }
    wipe(derived, sizeof derived);
    wipe(keys, sizeof keys);
}

#endif
