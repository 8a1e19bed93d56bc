/* SHA-256 of one message and the root of a tree, as their specifications put it, whatever that costs. Of the kernel only
 * the portable compression of one block is used, which hashlib is held against (vectors.c). */
#ifndef LINEAGE_TESTS_PLAIN_H
#define LINEAGE_TESTS_PLAIN_H

#include <stdlib.h>

#include "_kernel_sha256.h"

static void plain_hash(int prefix, const uint8_t *data, size_t size, uint8_t *hash)
{
    size_t prefix_size = prefix == NO_PREFIX ? 0 : 1, total = prefix_size + size;
    size_t padded_size = (total + 9 + BLOCK_SIZE - 1) / BLOCK_SIZE * BLOCK_SIZE;
    uint8_t *padded = calloc(padded_size, 1);
    uint32_t state[8];
    if (!padded)
        abort();
    if (prefix_size)
        padded[0] = (uint8_t)prefix;
    if (size)
        memcpy(padded + prefix_size, data, size);
    padded[total] = 0x80;
    for (int i = 0; i < 8; i++)
        padded[padded_size - 1 - (size_t)i] = (uint8_t)((uint64_t)total * 8 >> 8 * i);
    memcpy(state, INITIAL_STATE, sizeof state);
    for (size_t at = 0; at < padded_size; at += BLOCK_SIZE)
        compress_portable(state, padded + at);
    for (int i = 0; i < HASH_SIZE; i++)
        hash[i] = (uint8_t)(state[i / 4] >> (24 - 8 * (i % 4)));
    free(padded);
}

/* RFC 6962, section 2.1: the left subtree is the largest perfect one that leaves something for the right. */
static void plain_root(const uint8_t *hashes, size_t count, uint8_t *root)
{
    uint8_t children[2 * HASH_SIZE];
    size_t left = 1;
    if (count == 0) {
        plain_hash(NO_PREFIX, NULL, 0, root);
        return;
    }
    if (count == 1) {
        memcpy(root, hashes, HASH_SIZE);
        return;
    }
    while (2 * left < count)
        left *= 2;
    plain_root(hashes, left, children);
    plain_root(hashes + left * HASH_SIZE, count - left, children + HASH_SIZE);
    plain_hash(NODE_PREFIX, children, sizeof children, root);
}

#endif
