/* What the checks are written with. */
#ifndef LINEAGE_TESTS_REQUIRE_H
#define LINEAGE_TESTS_REQUIRE_H

#include <stdio.h>

#include "plain.h"

#include "_kernel_sha256_many.h"

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

/* What follows is done with the portable code, then with each of the processor's instructions. */
#define FOR_EACH_SHA256                                                                                                \
    for (int choice = PORTABLE; choice <= NOT_SIDE_BY_SIDE && (choose_sha256((enum sha256_choice)choice), 1); choice++)

#endif
