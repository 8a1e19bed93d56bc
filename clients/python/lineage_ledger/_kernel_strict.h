/* The strict encoding of entries, decided by tables (proto/README.md, "Strict encoding").
 *
 * The rules are said once, in Python, by `formats.strict_rules`; `formats.strict_tables` writes them as the flat tables
 * that `strict_load` reads. This file only decides whether a message is well-formed; what is wrong with it is said by
 * `formats.strict_scanner`.
 *
 * Hostile input: a length is read once, held against what is left, and only then used. Time is linear in the message's
 * size. A message holds only messages that come later in the tables, so no input nests deeper than the tables do. The
 * tables are held to account too: whatever bytes they are, nothing outside of them or of a message is read.
 */
#ifndef LINEAGE_KERNEL_STRICT_H
#define LINEAGE_KERNEL_STRICT_H

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

/* Words of 64 bits, little-endian: a header, then each message, field and check.
 *
 * header   STRICT_MAGIC, numbers of messages, fields, checks
 * message  place of its field 0, greatest field number, place of its first check, number of checks,
 *          a bit for each required field, whether it is one field and nothing else
 * field    wire type (WIRE_NONE: the message has no field of this number), whether text, most elements (0: comes once),
 *          ascending by this field of the elements (0: need not ascend; BY_ITSELF), message that it is or carries (0:
 *          none), least and most of the value or length, a bit for each known value of an enum (0: no enum)
 * check    name in 24 bytes, number of arguments, 8 arguments
 */
#define STRICT_MAGIC 0x31656c6261745f73 /* "s_table1" */
enum { HEADER_WORDS = 4, MESSAGE_WORDS = 6, FIELD_WORDS = 8, CHECK_WORDS = 12, CHECK_NAME = 24, CHECK_ARGUMENTS = 8 };
enum { MOST_MESSAGES = 64, MOST_FIELDS = 4096, MOST_CHECKS = 256, GREATEST_FIELD = 63, BY_ITSELF = 64 };
enum { STRICT_ENTRY = 0, STRICT_MAX_SIZE = 65535 };
enum { WIRE_VARINT = 0, WIRE_64 = 1, WIRE_BYTES = 2, WIRE_32 = 5, WIRE_NONE = 7 };

typedef struct {
    uint64_t least, most, known;
    uint32_t max_elements;
    uint8_t wire, is_text, ascending, message;
} strict_field;

typedef struct {
    const uint8_t *data;
    size_t size;
} span;

/* One message while it is checked: the last value of each field seen. */
typedef struct {
    span whole;
    const strict_field *fields;
    uint64_t seen;
    struct {
        const uint8_t *data; /* of bytes */
        uint64_t number;     /* the value, or the size of bytes */
    } values[GREATEST_FIELD + 1];
} found;

typedef struct {
    int (*holds)(const found *f, const uint64_t *arguments);
    uint64_t arguments[CHECK_ARGUMENTS];
} strict_check;

typedef struct {
    const strict_field *fields; /* by number, from 0 */
    const strict_check *checks;
    uint64_t required;
    uint32_t check_count;
    uint8_t greatest, is_one_field;
} strict_message;

typedef struct {
    size_t message_count;
    strict_message messages[MOST_MESSAGES];
    /* then all fields and all checks */
} strict_tables;

/* Read a minimal varint below 2^64; where it ends, or NULL. */
static const uint8_t *read_varint(const uint8_t *p, const uint8_t *end, uint64_t *value)
{
    if (p < end && *p < 0x80) {
        *value = *p;
        return p + 1;
    }
    uint64_t read = 0;
    for (int shift = 0; shift < 70 && p < end; shift += 7) {
        uint8_t byte = *p++;
        if (shift == 63 && byte > 1)
            return NULL;
        read |= (uint64_t)(byte & 0x7f) << shift;
        if (byte < 0x80) {
            *value = read;
            return byte ? p : NULL;
        }
    }
    return NULL;
}

static uint64_t read_little(const uint8_t *p, int size)
{
    uint64_t value = 0;
    while (size-- > 0)
        value = value << 8 | p[size];
    return value;
}

/* One step through the fields of a message; its number, or 0 at the end or if the bytes are no field. */
static uint64_t next_field(span *rest, uint64_t *number, span *content)
{
    const uint8_t *p = rest->data, *end = p + rest->size;
    uint64_t tag;
    if (!rest->size || !(p = read_varint(p, end, &tag)))
        return 0;
    size_t left = (size_t)(end - p), fixed = (tag & 7) == WIRE_64 ? 8 : 4;
    *number = 0;
    *content = (span){p, 0};
    switch (tag & 7) {
    case WIRE_VARINT:
        if (!(p = read_varint(p, end, number)))
            return 0;
        break;
    case WIRE_64:
    case WIRE_32:
        if (left < fixed)
            return 0;
        *number = read_little(p, (int)fixed);
        p += fixed;
        break;
    case WIRE_BYTES:
        if (!(p = read_varint(p, end, number)) || *number > (size_t)(end - p))
            return 0;
        *content = (span){p, (size_t)*number};
        p += *number;
        break;
    default:
        return 0;
    }
    *rest = (span){p, (size_t)(end - p)};
    return tag >> 3;
}

/* The first field `wanted` of a message that was checked; whether there is one. */
static int find_field(span message, uint64_t wanted, uint64_t *number, span *content)
{
    uint64_t at;
    while ((at = next_field(&message, number, content)) && at <= wanted)
        if (at == wanted)
            return 1;
    *number = 0;
    *content = (span){NULL, 0};
    return 0;
}

static int is_seen(const found *f, uint64_t field) { return field <= GREATEST_FIELD && f->seen >> field & 1; }

static uint64_t number_of(const found *f, uint64_t field) { return is_seen(f, field) ? f->values[field].number : 0; }

static span bytes_of(const found *f, uint64_t field)
{
    if (!is_seen(f, field) || f->fields[field].wire != WIRE_BYTES)
        return (span){NULL, 0};
    return (span){f->values[field].data, (size_t)f->values[field].number};
}

/* Bytes are compared as Python compares them. */
static int compare(span a, span b)
{
    size_t both = a.size < b.size ? a.size : b.size;
    int order = both ? memcmp(a.data, b.data, both) : 0;
    return order ? order : (a.size > b.size) - (a.size < b.size);
}

/* The checks that span fields, each named as in `formats.strict_checks`. Arguments are field numbers, unless said. */

/* seal; most bytes of an entry with one */
static int seal_is_small(const found *entry, const uint64_t *a)
{
    return !is_seen(entry, a[0]) || entry->whole.size <= a[1];
}

/* output_commitment, status_code */
static int output_unless_failed(const found *prediction, const uint64_t *a)
{
    return is_seen(prediction, a[0]) || is_seen(prediction, a[1]);
}

/* chain_nonce, previous_seal_hash, predecessor, batch_sequence */
static int first_seal_opens(const found *body, const uint64_t *a)
{
    int first = number_of(body, a[3]) == 0;
    return is_seen(body, a[0]) == first && is_seen(body, a[1]) != first && (first || !is_seen(body, a[2]));
}

/* the two fields */
static int both_or_none(const found *message, const uint64_t *a)
{
    return is_seen(message, a[0]) == is_seen(message, a[1]);
}

/* the field of ranges; first and count of a range */
static int ranges_apart(const found *message, const uint64_t *a)
{
    uint64_t at, end = 0, number;
    int any = 0;
    span rest = message->whole, range, none;
    while ((at = next_field(&rest, &number, &range)) && at <= a[0]) {
        uint64_t first, count;
        if (at != a[0])
            continue;
        find_field(range, a[1], &first, &none);
        find_field(range, a[2], &count, &none);
        if ((any && first <= end) || count > UINT64_MAX - first)
            return 0;
        end = first + count;
        any = 1;
    }
    return 1;
}

/* algorithm, value; the lengths of values by algorithm, from 1 on; 0: no such algorithm */
static int digest_length(const found *digest, const uint64_t *a)
{
    uint64_t algorithm = number_of(digest, a[0]);
    size_t size = bytes_of(digest, a[1]).size;
    return algorithm >= 1 && algorithm <= CHECK_ARGUMENTS - 2 && size && size == a[algorithm + 1];
}

/* code, kind; the kind that may have it */
static int code_only_for_code(const found *artifact, const uint64_t *a)
{
    return !is_seen(artifact, a[0]) || number_of(artifact, a[1]) == a[2];
}

/* commit, algorithm of a digest; the two algorithms that it may have */
static int commit_is_gits(const found *code, const uint64_t *a)
{
    uint64_t algorithm;
    span none;
    return find_field(bytes_of(code, a[0]), a[1], &algorithm, &none) && (algorithm == a[2] || algorithm == a[3]);
}

/* path */
static int path_is_plain(const found *file, const uint64_t *a)
{
    span path = bytes_of(file, a[0]);
    size_t start = 0;
    for (size_t i = 0; i <= path.size; i++) {
        uint8_t byte = i < path.size ? path.data[i] : '/';
        if (byte == '\n' || byte == '\r' || byte == '\\')
            return 0;
        if (byte != '/')
            continue;
        size_t part = i - start;
        if (part == 0 || (part <= 2 && path.data[start] == '.' && path.data[i - 1] == '.'))
            return 0;
        start = i + 1;
    }
    return 1;
}

/* signature, body, public_key of the body */
static int signed_if_keyed(const found *attestation, const uint64_t *a)
{
    uint64_t size;
    span key;
    return is_seen(attestation, a[0]) == find_field(bytes_of(attestation, a[1]), a[2], &size, &key);
}

static span seal_body(span entry, const uint64_t *a)
{
    uint64_t size;
    span seal, body;
    find_field(entry, a[2], &size, &seal);
    find_field(seal, a[3], &size, &body);
    return body;
}

/* first_seal, second_seal, seal of an entry, body of a seal */
static int seals_differ(const found *conflict, const uint64_t *a)
{
    return compare(seal_body(bytes_of(conflict, a[0]), a), seal_body(bytes_of(conflict, a[1]), a)) != 0;
}

static const struct {
    const char *name;
    uint64_t arguments;
    int (*holds)(const found *f, const uint64_t *arguments);
} STRICT_CHECKS[] = {
    {"seal_is_small", 2, seal_is_small},
    {"output_unless_failed", 2, output_unless_failed},
    {"first_seal_opens", 4, first_seal_opens},
    {"both_times_or_none", 2, both_or_none},
    {"ranges_apart", 3, ranges_apart},
    {"digest_length", 7, digest_length},
    {"code_only_for_code", 3, code_only_for_code},
    {"commit_is_gits", 4, commit_is_gits},
    {"diff_if_dirty", 2, both_or_none},
    {"path_is_plain", 1, path_is_plain},
    {"signed_if_keyed", 3, signed_if_keyed},
    {"seals_differ", 4, seals_differ},
};

/* UTF-8 as Python decodes it strictly (no overlong forms, no surrogates, nothing above U+10FFFF), without U+0000. */
static int is_text(const uint8_t *p, size_t size)
{
    const uint8_t *end = p + size;
    while (p < end) {
        if (end - p >= 8) {
            uint64_t eight;
            memcpy(&eight, p, 8);
            /* Eight bytes of ASCII of which none is zero. */
            if (!((eight | (eight - 0x0101010101010101)) & 0x8080808080808080)) {
                p += 8;
                continue;
            }
        }
        uint8_t lead = *p++, low = 0x80, high = 0xbf;
        int more;
        if (lead < 0x80) {
            if (!lead)
                return 0;
            continue;
        }
        if (lead >= 0xc2 && lead <= 0xdf)
            more = 1;
        else if ((lead & 0xf0) == 0xe0) {
            more = 2;
            if (lead == 0xe0)
                low = 0xa0;
            else if (lead == 0xed)
                high = 0x9f;
        } else if (lead >= 0xf0 && lead <= 0xf4) {
            more = 3;
            if (lead == 0xf0)
                low = 0x90;
            else if (lead == 0xf4)
                high = 0x8f;
        } else
            return 0;
        if (end - p < more)
            return 0;
        for (; more; more--, p++, low = 0x80, high = 0xbf)
            if (*p < low || *p > high)
                return 0;
    }
    return 1;
}

/* Whether the element, which comes after the value that `f` has of its field, is above that. */
static int is_above(const strict_field *field, span before, span element)
{
    uint64_t size;
    if (field->ascending != BY_ITSELF) {
        find_field(before, field->ascending, &size, &before);
        find_field(element, field->ascending, &size, &element);
    }
    return compare(element, before) > 0;
}

static int check_message(const strict_tables *tables, const strict_message *message, const uint8_t *data, size_t size)
{
    const uint8_t *p = data, *end = data + size;
    found f;
    uint64_t last = 0, tag, number;
    uint32_t elements = 0;
    f.whole = (span){data, size};
    f.fields = message->fields;
    f.seen = 0;
    while (p < end) {
        if (!(p = read_varint(p, end, &tag)) || tag >> 3 > message->greatest)
            return 0;
        unsigned at = (unsigned)(tag >> 3);
        const strict_field *field = &message->fields[at];
        if ((tag & 7) != field->wire || field->wire == WIRE_NONE)
            return 0;
        if (at != last)
            elements = 0;
        if (at < last || (elements && elements >= field->max_elements))
            return 0;
        last = at;
        const uint8_t *content = NULL;
        if (field->wire == WIRE_BYTES) {
            if (!(p = read_varint(p, end, &number)) || number > (size_t)(end - p))
                return 0;
            content = p;
            p += number;
        } else if (field->wire == WIRE_VARINT) {
            if (!(p = read_varint(p, end, &number)))
                return 0;
        } else {
            int fixed = field->wire == WIRE_64 ? 8 : 4;
            if (end - p < fixed)
                return 0;
            number = read_little(p, fixed);
            p += fixed;
        }
        if (number < field->least || number > field->most)
            return 0;
        if (field->known && (number > 63 || !(field->known >> number & 1)))
            return 0;
        if (field->message && !check_message(tables, &tables->messages[field->message], content, (size_t)number))
            return 0;
        if (field->is_text && !is_text(content, (size_t)number))
            return 0;
        if (field->ascending && elements &&
            !is_above(field, (span){f.values[at].data, (size_t)f.values[at].number}, (span){content, (size_t)number}))
            return 0;
        f.values[at].data = content;
        f.values[at].number = number;
        f.seen |= (uint64_t)1 << at;
        elements++;
        if (message->is_one_field && p != end)
            return 0;
    }
    if (message->required & ~f.seen)
        return 0;
    for (uint32_t i = 0; i < message->check_count; i++)
        if (!message->checks[i].holds(&f, message->checks[i].arguments))
            return 0;
    return 1;
}

/* Whether the message `place` of the tables, below `message_count`, is strictly encoded. */
static int is_strict(const strict_tables *tables, size_t place, const uint8_t *data, size_t size)
{
    return size <= STRICT_MAX_SIZE && (size || place != STRICT_ENTRY) &&
           check_message(tables, &tables->messages[place], data, size);
}

static uint64_t word_at(const uint8_t *words, size_t place) { return read_little(words + place * 8, 8); }

static int load_field(strict_field *field, const uint8_t *words, size_t message, size_t message_count)
{
    uint64_t w[FIELD_WORDS];
    for (int i = 0; i < FIELD_WORDS; i++)
        w[i] = word_at(words, (size_t)i);
    int is_bytes = w[0] == WIRE_BYTES;
    if (!is_bytes && w[0] != WIRE_VARINT && w[0] != WIRE_64 && w[0] != WIRE_32 && w[0] != WIRE_NONE)
        return 0;
    if (w[1] > 1 || w[2] > UINT32_MAX || w[3] > BY_ITSELF || ((w[1] || w[3] || w[4]) && !is_bytes) || (w[7] && is_bytes))
        return 0;
    if (w[4] && (w[4] <= message || w[4] >= message_count)) /* so that nesting ends */
        return 0;
    if (w[3] && (!w[2] || (w[3] != BY_ITSELF && !w[4])))
        return 0;
    if (w[0] != WIRE_NONE && (w[5] < 1 || w[5] > w[6])) /* a default is not written */
        return 0;
    *field = (strict_field){.least = w[5],
                            .most = w[6],
                            .known = w[7],
                            .max_elements = (uint32_t)w[2],
                            .wire = (uint8_t)w[0],
                            .is_text = (uint8_t)w[1],
                            .ascending = (uint8_t)w[3],
                            .message = (uint8_t)w[4]};
    return 1;
}

static int load_check(strict_check *check, const uint8_t *words)
{
    uint64_t count = word_at(words, CHECK_NAME / 8);
    for (size_t i = 0; i < sizeof STRICT_CHECKS / sizeof *STRICT_CHECKS; i++) {
        char name[CHECK_NAME] = {0};
        memcpy(name, STRICT_CHECKS[i].name, strlen(STRICT_CHECKS[i].name));
        if (memcmp(name, words, CHECK_NAME) || count != STRICT_CHECKS[i].arguments)
            continue;
        check->holds = STRICT_CHECKS[i].holds;
        for (size_t argument = 0; argument < CHECK_ARGUMENTS; argument++)
            check->arguments[argument] = word_at(words, CHECK_NAME / 8 + 1 + argument);
        return 1;
    }
    return 0;
}

/* The tables that the bytes say, to be freed; NULL, with what is wrong, if they say none. */
static strict_tables *strict_load(const uint8_t *data, size_t size, const char **problem)
{
    *problem = "the tables are cut off, too large, or of another version";
    if (size < HEADER_WORDS * 8 || word_at(data, 0) != STRICT_MAGIC)
        return NULL;
    uint64_t messages = word_at(data, 1), fields = word_at(data, 2), checks = word_at(data, 3);
    if (!messages || messages > MOST_MESSAGES || fields > MOST_FIELDS || checks > MOST_CHECKS ||
        size != 8 * (HEADER_WORDS + MESSAGE_WORDS * messages + FIELD_WORDS * fields + CHECK_WORDS * checks))
        return NULL;
    *problem = "there is no memory for the tables";
    strict_tables *tables =
        calloc(1, sizeof *tables + fields * sizeof(strict_field) + checks * sizeof(strict_check));
    if (!tables)
        return NULL;
    strict_check *all_checks = (strict_check *)(tables + 1);
    strict_field *all_fields = (strict_field *)(all_checks + checks);
    const uint8_t *message_words = data + 8 * HEADER_WORDS, *field_words = message_words + 8 * MESSAGE_WORDS * messages,
                  *check_words = field_words + 8 * FIELD_WORDS * fields;
    tables->message_count = (size_t)messages;
    *problem = "a check is not known to this kernel; was it built before the rules changed?";
    for (size_t i = 0; i < checks; i++)
        if (!load_check(&all_checks[i], check_words + 8 * CHECK_WORDS * i))
            goto refused;
    *problem = "a message of the tables, or a field of one, makes no sense";
    for (size_t i = 0; i < messages; i++) {
        uint64_t w[MESSAGE_WORDS];
        for (size_t j = 0; j < MESSAGE_WORDS; j++)
            w[j] = word_at(message_words, MESSAGE_WORDS * i + j);
        if (w[1] > GREATEST_FIELD || w[0] >= fields || w[1] >= fields - w[0])
            goto refused;
        if (w[2] > checks || w[3] > checks - w[2] || w[4] & 1 || (w[1] < 63 && w[4] >> (w[1] + 1)) || w[5] > 1)
            goto refused;
        for (uint64_t number = 0; number <= w[1]; number++)
            if (!load_field(&all_fields[w[0] + number], field_words + 8 * FIELD_WORDS * (w[0] + number), i, messages))
                goto refused;
        if (all_fields[w[0]].wire != WIRE_NONE) /* no field has the number 0 */
            goto refused;
        tables->messages[i] = (strict_message){.fields = all_fields + w[0],
                                               .checks = all_checks + w[2],
                                               .required = w[4],
                                               .check_count = (uint32_t)w[3],
                                               .greatest = (uint8_t)w[1],
                                               .is_one_field = (uint8_t)w[5]};
    }
    *problem = NULL;
    return tables;
refused:
    free(tables);
    return NULL;
}

#endif
