/* Drives checks.c with mutated seeds, led by coverage, where there is gcc and no libFuzzer.
 *
 *     fuzz RUNS RANDOM_SEED LAST_INPUT SEED_FILE...   the same inputs each time; what crashes is in the file LAST_INPUT
 *     fuzz again FILE
 *
 * checks.c is compiled with -fsanitize-coverage=trace-pc, this file without: an input that reaches a new pair of places
 * becomes a seed itself.
 */
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { MOST_BYTES = 2048, MOST_SEEDS = 4096, PAIRS = 1 << 16 };

typedef struct {
    uint8_t *data;
    size_t size;
} input;

static input seeds[MOST_SEEDS];
static size_t seed_count;
static uint8_t seen[PAIRS];
static size_t seen_count, last_place;

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
void __sanitizer_cov_trace_pc(void);

void __sanitizer_cov_trace_pc(void)
{
    /* Counted from a function of ours: addresses themselves differ from process to process. */
    size_t place = (size_t)__builtin_return_address(0) - (size_t)&__sanitizer_cov_trace_pc;
    uint8_t *pair = &seen[(place ^ last_place << 5) % PAIRS];
    seen_count += !*pair;
    *pair = 1;
    last_place = place;
}

static uint64_t random_state;

static size_t below(size_t bound)
{
    random_state += 0x9e3779b97f4a7c15u; /* splitmix64 */
    uint64_t z = random_state;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return (size_t)((z ^ z >> 31) % bound);
}

static void die(const char *what)
{
    perror(what);
    exit(2);
}

static void keep(const uint8_t *data, size_t size)
{
    uint8_t *copy = malloc(size + 1);
    if (!copy)
        die("malloc");
    memcpy(copy, data, size);
    seeds[seed_count < MOST_SEEDS ? seed_count++ : below(MOST_SEEDS)] = (input){copy, size};
}

static size_t read_file(const char *path, uint8_t *data)
{
    FILE *file = fopen(path, "rb");
    if (!file)
        die(path);
    size_t size = fread(data, 1, MOST_BYTES, file);
    fclose(file);
    return size;
}

/* Replace `removed` bytes at `at` by `added` bytes; what does not fit is not done. */
static size_t replace(uint8_t *data, size_t size, size_t at, size_t removed, const uint8_t *piece, size_t added)
{
    if (size - removed + added > MOST_BYTES)
        return size;
    memmove(data + at + added, data + at + removed, size - at - removed);
    memcpy(data + at, piece, added);
    return size - removed + added;
}

static size_t mutate(uint8_t *data, size_t size)
{
    static const uint8_t bytes[] = {0x00, 0x01, 0x08, 0x0a, 0x12, 0x1a, 0x20, 0x22, 0x29, 0x35, 0x38, 0x40, 0x7f, 0x80, 0xff};
    uint8_t piece[MOST_BYTES];
    size_t at = below(size + 1), left = size - at, n = below((left < 160 ? left : 160) + 1);
    switch (below(7)) {
    case 0:
        if (left)
            data[at] ^= (uint8_t)(1u << below(8));
        return size;
    case 1:
        if (left)
            data[at] = bytes[below(sizeof bytes)];
        return size;
    case 2:
        if (left)
            data[at] += (uint8_t)(below(2) ? 1 : -1);
        return size;
    case 3:
        return replace(data, size, at, n, piece, 0);
    case 4: /* repeat */
        memcpy(piece, data + at, n);
        return replace(data, size, at, 0, piece, n);
    case 5: /* from another seed */
    {
        const input *other = &seeds[below(seed_count)];
        size_t from = below(other->size + 1), most = other->size - from;
        size_t added = below((most < 300 ? most : 300) + 1);
        memcpy(piece, other->data + from, added);
        return replace(data, size, at, below(2) ? n : 0, piece, added);
    }
    default: /* as the length of an entry here: all that is left, or nearly */
        if (left >= 2) {
            size_t length = left - 2 - (below(3) ? 0 : below(left - 1)) + (below(8) ? 0 : 1);
            data[at] = (uint8_t)(length >> 8), data[at + 1] = (uint8_t)length;
        }
        return size;
    }
}

int main(int count, char **arguments)
{
    uint8_t data[MOST_BYTES];
    if (count == 3 && !strcmp(arguments[1], "again"))
        return LLVMFuzzerTestOneInput(data, read_file(arguments[2], data));
    if (count < 5) {
        fprintf(stderr, "usage: fuzz RUNS RANDOM_SEED LAST_INPUT SEED_FILE...\n");
        return 2;
    }
    size_t runs = strtoul(arguments[1], NULL, 10), first_seeds = (size_t)count - 4;
    random_state = strtoul(arguments[2], NULL, 10);
    int last = open(arguments[3], O_RDWR | O_CREAT | O_TRUNC, 0600);
    if (last < 0)
        die(arguments[3]);
    for (size_t run = 0; run < runs + first_seeds; run++) {
        size_t size, before = seen_count;
        if (run < first_seeds)
            size = read_file(arguments[4 + run], data);
        else {
            const input *seed = &seeds[below(seed_count)];
            memcpy(data, seed->data, size = seed->size);
            for (size_t times = 1 + below(4); times; times--)
                size = mutate(data, size);
        }
        if (pwrite(last, data, size, 0) != (ssize_t)size || ftruncate(last, (off_t)size))
            die(arguments[3]);
        last_place = 0;
        LLVMFuzzerTestOneInput(data, size);
        if (run < first_seeds || seen_count > before)
            keep(data, size);
    }
    for (size_t i = 0; i < seed_count; i++)
        free(seeds[i].data);
    printf("%zu inputs, %zu of them kept, %zu pairs of places reached\n", runs, seed_count, seen_count);
    return 0;
}
