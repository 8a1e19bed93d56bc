/* What the checks are written with. */
#ifndef LINEAGE_TESTS_REQUIRE_H
#define LINEAGE_TESTS_REQUIRE_H

#include <stdio.h>

#include "plain.h"

#define REQUIRE(condition) ((condition) ? (void)0 : broken(__FILE__, __LINE__, #condition))

static void broken(const char *file, int line, const char *condition)
{
    fprintf(stderr, "%s:%d: this does not hold: %s\n", file, line, condition);
    abort();
}

static void *exactly(const void *data, size_t size)
{
    void *copy = malloc(size ? size : 1);
    REQUIRE(copy);
    if (size)
        memcpy(copy, data, size);
    return copy;
}

/* What follows is done with the portable code, then with the processor's instructions. */
#define FOR_EACH_SHA256 for (int instructions = 0; instructions < 2 && (choose_compress(instructions), 1); instructions++)

#endif
