/* What must hold of _kernel_strict.h. What it should say of a message is known to Python alone (tests/fuzz). */
#ifndef LINEAGE_TESTS_CHECK_STRICT_H
#define LINEAGE_TESTS_CHECK_STRICT_H

#include "require.h"

#include "_kernel_strict.h"

#include "strict_tables.h" /* STRICT_TABLES, as formats.strict_tables wrote them when this was built */

static const strict_tables *real_tables(void)
{
    static strict_tables *tables;
    const char *problem = NULL;
    if (!tables)
        tables = strict_load(STRICT_TABLES, sizeof STRICT_TABLES, &problem);
    REQUIRE(tables && !problem);
    return tables;
}

static void check_messages(const strict_tables *tables, const uint8_t *data, size_t size)
{
    for (size_t place = 0; place < tables->message_count; place++)
        REQUIRE((is_strict(tables, place, data, size) & ~1) == 0);
}

/* The real tables with some bytes changed, as the data says, hold a message to other rules; or they are refused. */
static void check_other_tables(const uint8_t *data, size_t size)
{
    enum { CHANGES = 4, CHANGE_SIZE = 4 };
    const char *problem = NULL;
    if (size < CHANGES * CHANGE_SIZE)
        return;
    size_t kept = data[0] % 16 ? sizeof STRICT_TABLES : (size_t)(data[1] << 8 | data[2]) % sizeof STRICT_TABLES;
    uint8_t *bytes = exactly(STRICT_TABLES, kept);
    for (int changes = data[0] % CHANGES; kept && changes >= 0; changes--, data += CHANGE_SIZE, size -= CHANGE_SIZE) {
        size_t place = (size_t)(data[1] << 8 | data[2]) % kept;
        if (data[3] % 4) /* the low byte of a word: few tables have others */
            place &= ~(size_t)7;
        bytes[place] = data[3] & 0x80 ? data[3] : data[3] >> 3;
    }
    strict_tables *tables = strict_load(bytes, kept, &problem);
    REQUIRE(!tables == (problem != NULL));
    free(bytes);
    if (!tables)
        return;
    uint8_t *message = exactly(data, size);
    check_messages(tables, message, size);
    free(message);
    free(tables);
}

static void check_strict(const uint8_t *data, size_t size)
{
    check_messages(real_tables(), data, size);
    check_other_tables(data, size);
}

#endif
