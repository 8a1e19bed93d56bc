/* A prediction's framed entry (u16be length, entry), as `formats.prediction` packs it; nothing of Python in here. */
#ifndef LINEAGE_KERNEL_PACKING_H
#define LINEAGE_KERNEL_PACKING_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

enum {
    COMMITMENT_SIZE = 32,
    MAX_REQUEST_ID_SIZE = 64,
    MAX_STATUS_CODE = 16,
    MAX_FRAMED_PREDICTION = 158,
};

typedef struct {
    const uint8_t *input;  /* 32 bytes */
    const uint8_t *output; /* 32 bytes; NULL: absent */
    const uint8_t *request_id;
    size_t request_id_size; /* 0: absent */
    uint64_t start_time_unix_ns;
    uint64_t duration_us; /* 0: absent; above 2^32 - 1: written so */
    uint64_t status_code; /* 0: absent */
    uint8_t binding_row;
} prediction;

/* Whether it may be packed: what a server would refuse must never be sealed. */
static inline int is_packable(const prediction *p)
{
    return p->binding_row && p->request_id_size <= MAX_REQUEST_ID_SIZE && p->start_time_unix_ns &&
           p->status_code <= MAX_STATUS_CODE && (p->output || p->status_code);
}

static inline uint8_t *put_little_endian(uint8_t *to, uint64_t value, int size)
{
    for (int i = 0; i < size; i++)
        to[i] = (uint8_t)(value >> 8 * i);
    return to + size;
}

/* A minimal varint of a number below 2^14. */
static inline uint8_t *put_varint(uint8_t *to, size_t value)
{
    if (value >= 0x80) {
        *to++ = (uint8_t)(value | 0x80);
        value >>= 7;
    }
    *to++ = (uint8_t)value;
    return to;
}

/* `to` has room for MAX_FRAMED_PREDICTION bytes; how many were written. */
static inline size_t pack_prediction(const prediction *p, uint8_t *to)
{
    uint8_t *const frame = to;
    size_t fields = (p->binding_row < 0x80 ? 2u : 3u) + (p->request_id_size ? 2 + p->request_id_size : 0) + 34 +
                    (p->output ? 34u : 0u) + 9 + (p->duration_us ? 5u : 0u) + (p->status_code ? 2u : 0u);
    size_t entry = 1 + (fields < 0x80 ? 1u : 2u) + fields;
    *to++ = (uint8_t)(entry >> 8);
    *to++ = (uint8_t)entry;
    *to++ = 0x0a;
    to = put_varint(to, fields);
    *to++ = 0x08;
    to = put_varint(to, p->binding_row);
    if (p->request_id_size) {
        *to++ = 0x12;
        *to++ = (uint8_t)p->request_id_size;
        memcpy(to, p->request_id, p->request_id_size);
        to += p->request_id_size;
    }
    *to++ = 0x1a;
    *to++ = COMMITMENT_SIZE;
    memcpy(to, p->input, COMMITMENT_SIZE);
    to += COMMITMENT_SIZE;
    if (p->output) {
        *to++ = 0x22;
        *to++ = COMMITMENT_SIZE;
        memcpy(to, p->output, COMMITMENT_SIZE);
        to += COMMITMENT_SIZE;
    }
    *to++ = 0x29;
    to = put_little_endian(to, p->start_time_unix_ns, 8);
    if (p->duration_us) {
        *to++ = 0x35;
        to = put_little_endian(to, p->duration_us > UINT32_MAX ? UINT32_MAX : p->duration_us, 4);
    }
    if (p->status_code) {
        *to++ = 0x38;
        *to++ = (uint8_t)p->status_code;
    }
    return (size_t)(to - frame);
}

#endif
