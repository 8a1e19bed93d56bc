/* Hashes messages as the kernel does and holds them against a file of what hashlib says.
 *
 *     vectors FILE            says "portable", and "instructions" and "side by side" where they are; exit status 1 if a hash differs
 *     vectors FILE portable   goes by the portable code alone
 *
 * The file: u32le size, the message, its 32-byte hash; repeated. Each message is hashed alone and beside others, as the
 * first and as a later one of 1 to MESSAGES at once.
 */
#include <stdio.h>
#include <stdlib.h>

#include "_kernel_sha256_many.h"

enum { MOST_VECTORS = 4096 };

typedef struct {
    size_t size;
    const uint8_t *data, *hash;
} vector;

static vector vectors[MOST_VECTORS];
static size_t vector_count;

static void read_vectors(const char *path)
{
    FILE *file = fopen(path, "rb");
    uint8_t size[4];
    if (!file) {
        perror(path);
        exit(2);
    }
    while (vector_count < MOST_VECTORS && fread(size, 1, 4, file) == 4) {
        size_t n = (size_t)size[0] | (size_t)size[1] << 8 | (size_t)size[2] << 16;
        uint8_t *data = malloc(n + HASH_SIZE);
        if (!data || fread(data, 1, n + HASH_SIZE, file) != n + HASH_SIZE) {
            fprintf(stderr, "%s is cut off\n", path);
            exit(2);
        }
        vectors[vector_count++] = (vector){n, data, data + n};
    }
    fclose(file);
}

static void hold(const vector *v, const uint8_t *hash, size_t at_once)
{
    if (!memcmp(hash, v->hash, HASH_SIZE))
        return;
    fprintf(stderr, "a message of %zu bytes, %zu at once: another hash\n", v->size, at_once);
    exit(1);
}

/* With and without a prefix: the first byte of a message may be given apart. */
static void check_all(void)
{
    message messages[MESSAGES];
    uint8_t hashes[MESSAGES * HASH_SIZE];
    for (size_t i = 0; i < vector_count; i++) {
        const vector *v = &vectors[i];
        hash_one(NO_PREFIX, v->data, v->size, hashes);
        hold(v, hashes, 1);
        if (v->size) {
            hash_one(v->data[0], v->data + 1, v->size - 1, hashes);
            hold(v, hashes, 1);
        }
    }
    pieces whole = {.prefix = NO_PREFIX}, rest;
    for (size_t first = 0; first + MESSAGES <= vector_count; first++) {
        for (size_t i = 0; i < MESSAGES; i++) {
            whole.data[i] = vectors[first + i].data;
            whole.sizes[i] = (uint32_t)vectors[first + i].size;
        }
        hash_pieces(&whole, MESSAGES, hashes);
        for (size_t i = 0; i < MESSAGES; i++)
            hold(&vectors[first + i], hashes + i * HASH_SIZE, MESSAGES);
        /* Sixteen times the same message, its first byte given apart. */
        if (!whole.sizes[0])
            continue;
        rest.prefix = whole.data[0][0];
        for (size_t i = 0; i < MESSAGES; i++) {
            rest.data[i] = whole.data[0] + 1;
            rest.sizes[i] = whole.sizes[0] - 1;
        }
        hash_pieces(&rest, MESSAGES, hashes);
        for (size_t i = 0; i < MESSAGES; i++)
            hold(&vectors[first], hashes + i * HASH_SIZE, MESSAGES);
    }
    for (size_t at_once = 1; at_once <= MESSAGES; at_once++) {
        for (size_t first = 0; first + at_once <= vector_count; first += at_once) {
            for (size_t i = 0; i < at_once; i++)
                message_set(&messages[i], NO_PREFIX, vectors[first + i].data, vectors[first + i].size);
            hash_messages(messages, at_once, hashes);
            for (size_t i = 0; i < at_once; i++)
                hold(&vectors[first + i], hashes + i * HASH_SIZE, at_once);
        }
    }
}

int main(int count, char **arguments)
{
    if (count < 2) {
        fprintf(stderr, "usage: vectors FILE [portable]\n");
        return 2;
    }
    read_vectors(arguments[1]);
    choose_sha256(PORTABLE);
    check_all();
    puts("portable");
    if (count == 2 && choose_sha256(NOT_SIDE_BY_SIDE)) {
        check_all();
        puts("instructions");
    }
    if (count == 2 && choose_sha256(BEST) && side_by_side) {
        check_all();
        puts("side by side");
    }
    printf("%zu messages\n", vector_count);
    for (size_t i = 0; i < vector_count; i++)
        free((void *)vectors[i].data);
    return 0;
}
