/* SHA-256 (FIPS 180-4) of one message or many, with the processor's instructions where it has them. */
#ifndef LINEAGE_KERNEL_SHA256_H
#define LINEAGE_KERNEL_SHA256_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#if defined(__GNUC__) || defined(__clang__)
#define ALWAYS_INLINE __attribute__((always_inline)) static inline
#else
#define ALWAYS_INLINE static inline
#endif

#if defined(__x86_64__) && (defined(__GNUC__) || defined(__clang__))
#define HAVE_SHA_NI 1
#include <cpuid.h>
#include <immintrin.h>
#endif

/* On macOS every processor has them and the compiler knows it. Clang takes them into a single function from version 16
 * on. Little-endian only: that is how the words of a state lie in a vector. */
#if defined(__aarch64__) && !defined(__AARCH64EB__)
#if defined(__ARM_FEATURE_SHA2) && (defined(__linux__) || defined(__APPLE__))
#define ARM_SHA2
#elif defined(__linux__) && defined(__clang__) && __clang_major__ >= 16
#define ARM_SHA2 __attribute__((target("sha2")))
#elif defined(__linux__) && defined(__GNUC__) && !defined(__clang__)
#define ARM_SHA2 __attribute__((target("+crypto")))
#endif
#endif
#ifdef ARM_SHA2
#include <arm_neon.h>
#ifdef __linux__
#include <sys/auxv.h>
#endif
#endif

enum { HASH_SIZE = 32, BLOCK_SIZE = 64 };

static const uint32_t ROUND_CONSTANTS[64] = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2,
};
static const uint32_t INITIAL_STATE[8] = {
    0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19,
};

static uint32_t rotate_right(uint32_t word, int bits) { return word >> bits | word << (32 - bits); }

/* One round; the caller turns the names of the eight words by one place instead of moving them. */
#define ROUND(a, b, c, d, e, f, g, h, i)                                                                               \
    do {                                                                                                               \
        uint32_t t = h + (rotate_right(e, 6) ^ rotate_right(e, 11) ^ rotate_right(e, 25)) + (g ^ (e & (f ^ g))) +      \
                     ROUND_CONSTANTS[i] + words[i];                                                                    \
        d += t;                                                                                                        \
        h = t + (rotate_right(a, 2) ^ rotate_right(a, 13) ^ rotate_right(a, 22)) + ((a & b) | (c & (a | b)));          \
    } while (0)

static void compress_portable(uint32_t state[8], const uint8_t *block)
{
    uint32_t words[64];
    uint32_t a = state[0], b = state[1], c = state[2], d = state[3];
    uint32_t e = state[4], f = state[5], g = state[6], h = state[7];
    for (int i = 0; i < 16; i++)
        words[i] = (uint32_t)block[4 * i] << 24 | (uint32_t)block[4 * i + 1] << 16 | (uint32_t)block[4 * i + 2] << 8 |
                   block[4 * i + 3];
    for (int i = 16; i < 64; i++) {
        uint32_t older = words[i - 15], newer = words[i - 2];
        words[i] = words[i - 16] + words[i - 7] + (rotate_right(older, 7) ^ rotate_right(older, 18) ^ older >> 3) +
                   (rotate_right(newer, 17) ^ rotate_right(newer, 19) ^ newer >> 10);
    }
    for (int i = 0; i < 64; i += 8) {
        ROUND(a, b, c, d, e, f, g, h, i);
        ROUND(h, a, b, c, d, e, f, g, i + 1);
        ROUND(g, h, a, b, c, d, e, f, i + 2);
        ROUND(f, g, h, a, b, c, d, e, i + 3);
        ROUND(e, f, g, h, a, b, c, d, i + 4);
        ROUND(d, e, f, g, h, a, b, c, i + 5);
        ROUND(c, d, e, f, g, h, a, b, i + 6);
        ROUND(b, c, d, e, f, g, h, a, i + 7);
    }
    state[0] += a;
    state[1] += b;
    state[2] += c;
    state[3] += d;
    state[4] += e;
    state[5] += f;
    state[6] += g;
    state[7] += h;
}

static void compress_two_portable(uint32_t a[8], const uint8_t *block_a, uint32_t b[8], const uint8_t *block_b)
{
    compress_portable(a, block_a);
    compress_portable(b, block_b);
}

#ifdef HAVE_SHA_NI
#define SHA_NI __attribute__((target("sha,sse4.1,ssse3")))
#define SHA_NI_INLINE SHA_NI __attribute__((always_inline)) static inline

/* The instructions want the state as ABEF and CDGH, the first letter in the highest lane. */
typedef struct {
    __m128i abef, cdgh, old_abef, old_cdgh, words[4];
} lanes;

SHA_NI_INLINE void lanes_load(lanes *l, const uint32_t state[8], const uint8_t *block)
{
    const __m128i swap_bytes = _mm_set_epi64x(0x0c0d0e0f08090a0bLL, 0x0405060700010203LL);
    __m128i cdab = _mm_shuffle_epi32(_mm_loadu_si128((const __m128i *)state), 0xb1);
    __m128i efgh = _mm_shuffle_epi32(_mm_loadu_si128((const __m128i *)(state + 4)), 0x1b);
    l->old_abef = l->abef = _mm_alignr_epi8(cdab, efgh, 8);
    l->old_cdgh = l->cdgh = _mm_blend_epi16(efgh, cdab, 0xf0);
    for (int i = 0; i < 4; i++)
        l->words[i] = _mm_shuffle_epi8(_mm_loadu_si128((const __m128i *)block + i), swap_bytes);
}

/* Four rounds; i, a constant once unrolled, counts them in fours. */
SHA_NI_INLINE void lanes_rounds(lanes *l, int i)
{
    __m128i *w = l->words;
    if (i >= 4) {
        __m128i older = _mm_sha256msg1_epu32(w[i & 3], w[(i + 1) & 3]);
        __m128i newer = _mm_alignr_epi8(w[(i + 3) & 3], w[(i + 2) & 3], 4);
        w[i & 3] = _mm_sha256msg2_epu32(_mm_add_epi32(older, newer), w[(i + 3) & 3]);
    }
    __m128i sum = _mm_add_epi32(w[i & 3], _mm_loadu_si128((const __m128i *)ROUND_CONSTANTS + i));
    l->cdgh = _mm_sha256rnds2_epu32(l->cdgh, l->abef, sum);
    l->abef = _mm_sha256rnds2_epu32(l->abef, l->cdgh, _mm_shuffle_epi32(sum, 0x0e));
}

SHA_NI_INLINE void lanes_store(lanes *l, uint32_t state[8])
{
    __m128i feba = _mm_shuffle_epi32(_mm_add_epi32(l->abef, l->old_abef), 0x1b);
    __m128i dchg = _mm_shuffle_epi32(_mm_add_epi32(l->cdgh, l->old_cdgh), 0xb1);
    _mm_storeu_si128((__m128i *)state, _mm_blend_epi16(feba, dchg, 0xf0));
    _mm_storeu_si128((__m128i *)(state + 4), _mm_alignr_epi8(dchg, feba, 8));
}

SHA_NI static void compress_sha_ni(uint32_t state[8], const uint8_t *block)
{
    lanes l;
    lanes_load(&l, state, block);
#pragma GCC unroll 16
    for (int i = 0; i < 16; i++)
        lanes_rounds(&l, i);
    lanes_store(&l, state);
}

/* Each round waits for the one before; a second message fills the time. */
SHA_NI static void compress_two_sha_ni(uint32_t a[8], const uint8_t *block_a, uint32_t b[8], const uint8_t *block_b)
{
    lanes l, m;
    lanes_load(&l, a, block_a);
    lanes_load(&m, b, block_b);
#pragma GCC unroll 16
    for (int i = 0; i < 16; i++) {
        lanes_rounds(&l, i);
        lanes_rounds(&m, i);
    }
    lanes_store(&l, a);
    lanes_store(&m, b);
}

static int has_sha_ni(void)
{
    unsigned a, b, c, d, ssse3_and_sse41 = 1u << 9 | 1u << 19;
    if (!__get_cpuid(1, &a, &b, &c, &d) || (c & ssse3_and_sse41) != ssse3_and_sse41)
        return 0;
    return __get_cpuid_count(7, 0, &a, &b, &c, &d) && (b & 1u << 29);
}
#endif

#ifdef ARM_SHA2
#define ARM_SHA2_INLINE ARM_SHA2 __attribute__((always_inline)) static inline

typedef struct {
    uint32x4_t abcd, efgh, old_abcd, old_efgh, words[4];
} lanes;

ARM_SHA2_INLINE void lanes_load(lanes *l, const uint32_t state[8], const uint8_t *block)
{
    l->old_abcd = l->abcd = vld1q_u32(state);
    l->old_efgh = l->efgh = vld1q_u32(state + 4);
    for (int i = 0; i < 4; i++)
        l->words[i] = vreinterpretq_u32_u8(vrev32q_u8(vld1q_u8(block + 16 * i)));
}

/* Four rounds; i, a constant once unrolled, counts them in fours. */
ARM_SHA2_INLINE void lanes_rounds(lanes *l, int i)
{
    uint32x4_t *w = l->words, abcd = l->abcd;
    if (i >= 4)
        w[i & 3] = vsha256su1q_u32(vsha256su0q_u32(w[i & 3], w[(i + 1) & 3]), w[(i + 2) & 3], w[(i + 3) & 3]);
    uint32x4_t sum = vaddq_u32(w[i & 3], vld1q_u32(ROUND_CONSTANTS + 4 * i));
    l->abcd = vsha256hq_u32(abcd, l->efgh, sum);
    l->efgh = vsha256h2q_u32(l->efgh, abcd, sum);
}

ARM_SHA2_INLINE void lanes_store(lanes *l, uint32_t state[8])
{
    vst1q_u32(state, vaddq_u32(l->abcd, l->old_abcd));
    vst1q_u32(state + 4, vaddq_u32(l->efgh, l->old_efgh));
}

ARM_SHA2 static void compress_arm(uint32_t state[8], const uint8_t *block)
{
    lanes l;
    lanes_load(&l, state, block);
#pragma GCC unroll 16
    for (int i = 0; i < 16; i++)
        lanes_rounds(&l, i);
    lanes_store(&l, state);
}

ARM_SHA2 static void compress_two_arm(uint32_t a[8], const uint8_t *block_a, uint32_t b[8], const uint8_t *block_b)
{
    lanes l, m;
    lanes_load(&l, a, block_a);
    lanes_load(&m, b, block_b);
#pragma GCC unroll 16
    for (int i = 0; i < 16; i++) {
        lanes_rounds(&l, i);
        lanes_rounds(&m, i);
    }
    lanes_store(&l, a);
    lanes_store(&m, b);
}

static int has_arm_sha2(void)
{
#ifdef __linux__
    enum { HAS_SHA2 = 1 << 6 }; /* HWCAP_SHA2 of <asm/hwcap.h>, which not every libc brings */
    return (getauxval(AT_HWCAP) & HAS_SHA2) != 0;
#else
    return 1;
#endif
}
#endif

static void (*compress)(uint32_t state[8], const uint8_t *block) = compress_portable;
static void (*compress_two)(uint32_t a[8], const uint8_t *block_a, uint32_t b[8], const uint8_t *block_b) =
    compress_two_portable;

/* Use the processor's instructions if they are wanted and there; whether they are used. */
static int choose_compress(int want_instructions)
{
    compress = compress_portable;
    compress_two = compress_two_portable;
#ifdef HAVE_SHA_NI
    if (want_instructions && has_sha_ni()) {
        compress = compress_sha_ni;
        compress_two = compress_two_sha_ni;
        return 1;
    }
#elif defined(ARM_SHA2)
    if (want_instructions && has_arm_sha2()) {
        compress = compress_arm;
        compress_two = compress_two_arm;
        return 1;
    }
#else
    (void)want_instructions;
#endif
    return 0;
}

/* A message cut into blocks: whole blocks of the data stay where they are, what is at its ends is copied. */
typedef struct {
    const uint8_t *middle;
    size_t head_blocks, middle_blocks, blocks;
    uint8_t head[BLOCK_SIZE], tail[2 * BLOCK_SIZE];
    uint32_t state[8];
} message;

static void store_big_endian(uint8_t *bytes, uint32_t word)
{
    bytes[0] = (uint8_t)(word >> 24);
    bytes[1] = (uint8_t)(word >> 16);
    bytes[2] = (uint8_t)(word >> 8);
    bytes[3] = (uint8_t)word;
}

enum { LEAF_PREFIX = 0, NODE_PREFIX = 1, NO_PREFIX = -1 };

ALWAYS_INLINE void message_set(message *m, int prefix, const uint8_t *data, size_t size)
{
    size_t prefix_size = prefix == NO_PREFIX ? 0 : 1;
    size_t total = prefix_size + size, rest = total % BLOCK_SIZE;
    uint64_t bits = (uint64_t)total * 8;
    memset(m->tail, 0, sizeof m->tail);
    if (prefix_size)
        m->head[0] = m->tail[0] = (uint8_t)prefix; /* the head's, if there is one, else the tail's */
    m->head_blocks = m->middle_blocks = 0;
    m->middle = NULL;
    if (total < BLOCK_SIZE) {
        if (size)
            memcpy(m->tail + prefix_size, data, size);
    } else {
        memcpy(m->head + prefix_size, data, BLOCK_SIZE - prefix_size);
        m->middle = data + BLOCK_SIZE - prefix_size;
        m->head_blocks = 1;
        m->middle_blocks = total / BLOCK_SIZE - 1;
        memcpy(m->tail, m->middle + m->middle_blocks * BLOCK_SIZE, rest);
    }
    size_t tail_blocks = rest < BLOCK_SIZE - 8 ? 1 : 2;
    m->blocks = m->head_blocks + m->middle_blocks + tail_blocks;
    m->tail[rest] = 0x80;
    store_big_endian(m->tail + tail_blocks * BLOCK_SIZE - 8, (uint32_t)(bits >> 32));
    store_big_endian(m->tail + tail_blocks * BLOCK_SIZE - 4, (uint32_t)bits);
    memcpy(m->state, INITIAL_STATE, sizeof m->state);
}

ALWAYS_INLINE const uint8_t *message_block(const message *m, size_t i)
{
    if (i < m->head_blocks)
        return m->head;
    i -= m->head_blocks;
    return i < m->middle_blocks ? m->middle + i * BLOCK_SIZE : m->tail + (i - m->middle_blocks) * BLOCK_SIZE;
}

/* Compress what is left from block i on, and write the hash. */
static void message_finish(message *m, size_t i, uint8_t *hash)
{
    for (; i < m->blocks; i++)
        compress(m->state, message_block(m, i));
    for (i = 0; i < 8; i++)
        store_big_endian(hash + 4 * i, m->state[i]);
}

/* Messages are taken in some at a time before any is hashed: blocks read right after they were put together from
 * odd pieces would stall the processor. */
enum { MESSAGES = 16 };

static void hash_messages(message *m, size_t count, uint8_t *hashes)
{
    for (; count >= 2; count -= 2, m += 2, hashes += 2 * HASH_SIZE) {
        size_t i = 0, both = m[0].blocks < m[1].blocks ? m[0].blocks : m[1].blocks;
        for (; i < both; i++)
            compress_two(m[0].state, message_block(m, i), m[1].state, message_block(m + 1, i));
        message_finish(m, i, hashes);
        message_finish(m + 1, i, hashes + HASH_SIZE);
    }
    if (count)
        message_finish(m, 0, hashes);
}

static void hash_one(int prefix, const uint8_t *data, size_t size, uint8_t *hash)
{
    message m;
    message_set(&m, prefix, data, size);
    message_finish(&m, 0, hash);
}

#endif
