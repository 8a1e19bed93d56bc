/* Merkle tree hashes (RFC 6962, section 2.1) over leaf hashes, in memory that does not grow with the tree. */
#ifndef LINEAGE_KERNEL_TREE_H
#define LINEAGE_KERNEL_TREE_H

#include "_kernel_sha256_many.h"

enum { TILE_WIDTH = 256 };

/* Root of 1 to 256 hashes, level by level; the odd node at the end goes up unchanged. */
static void small_root(const uint8_t *hashes, size_t count, uint8_t *root)
{
    enum { CHILDREN_SIZE = 2 * HASH_SIZE };
    uint8_t level[TILE_WIDTH / 2 * HASH_SIZE];
    pieces nodes = {.prefix = NODE_PREFIX};
    for (int i = 0; i < MESSAGES; i++)
        nodes.sizes[i] = CHILDREN_SIZE;
    while (count > 1) {
        size_t parents = count / 2;
        for (size_t first = 0, n; first < parents; first += n) {
            for (n = 0; n < MESSAGES && first + n < parents; n++)
                nodes.data[n] = hashes + (first + n) * CHILDREN_SIZE;
            /* Over children that are taken in already, if these are in `level` too. */
            hash_pieces(&nodes, n, level + first * HASH_SIZE);
        }
        if (count % 2)
            memmove(level + parents * HASH_SIZE, hashes + (count - 1) * HASH_SIZE, HASH_SIZE);
        count = parents + count % 2;
        hashes = level;
    }
    memmove(root, hashes, HASH_SIZE);
}

/* Any number of hashes: roots of runs of 256 on a stack that holds one perfect subtree for each bit of their number. */
static void any_root(const uint8_t *hashes, size_t count, uint8_t *root)
{
    uint8_t stack[8 * sizeof(size_t) + 2][HASH_SIZE];
    size_t height = 0, runs = 0;
    if (!count) {
        hash_one(NO_PREFIX, NULL, 0, root);
        return;
    }
    for (; count >= TILE_WIDTH; count -= TILE_WIDTH, hashes += TILE_WIDTH * HASH_SIZE) {
        small_root(hashes, TILE_WIDTH, stack[height++]);
        runs++;
        for (size_t bits = runs; !(bits & 1); bits >>= 1, height--)
            hash_one(NODE_PREFIX, stack[height - 2], 2 * HASH_SIZE, stack[height - 2]);
    }
    if (count)
        small_root(hashes, count, stack[height++]);
    for (; height > 1; height--)
        hash_one(NODE_PREFIX, stack[height - 2], 2 * HASH_SIZE, stack[height - 2]);
    memcpy(root, stack[0], HASH_SIZE);
}

#endif
