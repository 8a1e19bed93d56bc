/* SHA-256 of many messages: sixteen side by side where the processor has AVX-512, else as _kernel_sha256.h does it.
 *
 * Side by side, word j of sixteen blocks is one vector, and each step of the hash is one instruction for all. It wants
 * messages of equally many blocks, which predictions and the nodes of a tree have. On a Zen 5 leaves of 101 bytes take
 * 0.57 of the time that they take by SHA-NI, two messages at once. Three or four at once gained less than 5 % there.
 */
#ifndef LINEAGE_KERNEL_SHA256_MANY_H
#define LINEAGE_KERNEL_SHA256_MANY_H

#include "_kernel_sha256.h"

/* A message is its prefix, if it has one, and the bytes of a piece. */
typedef struct {
    const uint8_t *data[MESSAGES];
    uint32_t sizes[MESSAGES];
    int prefix;
} pieces;

#ifdef HAVE_SHA_NI /* which says that the compiler is one that compiles for single functions */
#define HAVE_AVX512 1
#define AVX512 __attribute__((target("avx512f,avx512bw")))
#define AVX512_INLINE AVX512 __attribute__((always_inline)) static inline

AVX512_INLINE __m512i swap_bytes(__m512i words)
{
    return _mm512_shuffle_epi8(
        words, _mm512_broadcast_i32x4(_mm_set_epi64x(0x0c0d0e0f08090a0bLL, 0x0405060700010203LL)));
}

/* Word j of row i becomes word i of row j. */
AVX512_INLINE void transpose(__m512i rows[MESSAGES])
{
    __m512i fours[MESSAGES]; /* squares of four words transposed, each where it was in its row */
    for (int i = 0; i < MESSAGES; i += 4) {
        __m512i low = _mm512_unpacklo_epi32(rows[i], rows[i + 1]);
        __m512i high = _mm512_unpackhi_epi32(rows[i], rows[i + 1]);
        __m512i next_low = _mm512_unpacklo_epi32(rows[i + 2], rows[i + 3]);
        __m512i next_high = _mm512_unpackhi_epi32(rows[i + 2], rows[i + 3]);
        fours[i] = _mm512_unpacklo_epi64(low, next_low);
        fours[i + 1] = _mm512_unpackhi_epi64(low, next_low);
        fours[i + 2] = _mm512_unpacklo_epi64(high, next_high);
        fours[i + 3] = _mm512_unpackhi_epi64(high, next_high);
    }
    for (int i = 0; i < 4; i++) { /* then the squares */
        __m512i even = _mm512_shuffle_i32x4(fours[i], fours[i + 4], 0x88);
        __m512i odd = _mm512_shuffle_i32x4(fours[i], fours[i + 4], 0xdd);
        __m512i next_even = _mm512_shuffle_i32x4(fours[i + 8], fours[i + 12], 0x88);
        __m512i next_odd = _mm512_shuffle_i32x4(fours[i + 8], fours[i + 12], 0xdd);
        rows[i] = _mm512_shuffle_i32x4(even, next_even, 0x88);
        rows[i + 4] = _mm512_shuffle_i32x4(odd, next_odd, 0x88);
        rows[i + 8] = _mm512_shuffle_i32x4(even, next_even, 0xdd);
        rows[i + 12] = _mm512_shuffle_i32x4(odd, next_odd, 0xdd);
    }
}

/* Three rotations (or, of words that are scheduled, two and a shift), exclusive or. */
#define ROTATED_3(x, a, b, c)                                                                                          \
    _mm512_ternarylogic_epi32(_mm512_ror_epi32(x, a), _mm512_ror_epi32(x, b), _mm512_ror_epi32(x, c), 0x96)
#define SCHEDULED(x, a, b, shift)                                                                                      \
    _mm512_ternarylogic_epi32(_mm512_ror_epi32(x, a), _mm512_ror_epi32(x, b), _mm512_srli_epi32(x, shift), 0x96)

/* One block of each message; `words` are lost. */
AVX512_INLINE void compress_sixteen(__m512i state[8], __m512i words[16])
{
    __m512i v[8];
    for (int i = 0; i < 8; i++)
        v[i] = state[i];
    for (int first = 0; first < 64; first += 16) {
#pragma GCC unroll 16
        for (int i = 0; i < 16; i++) {
            if (first) {
                __m512i older = words[(i + 1) & 15], newer = words[(i + 14) & 15];
                __m512i sum = _mm512_add_epi32(words[i], words[(i + 9) & 15]);
                sum = _mm512_add_epi32(sum, SCHEDULED(older, 7, 18, 3));
                words[i] = _mm512_add_epi32(sum, SCHEDULED(newer, 17, 19, 10));
            }
            /* The names of the eight words turn by one place each round; no word is moved. */
            __m512i a = v[(0 - i) & 7], b = v[(1 - i) & 7], c = v[(2 - i) & 7];
            __m512i e = v[(4 - i) & 7], f = v[(5 - i) & 7], g = v[(6 - i) & 7], *h = &v[(7 - i) & 7];
            __m512i t = _mm512_add_epi32(words[i], _mm512_set1_epi32((int)ROUND_CONSTANTS[first + i]));
            t = _mm512_add_epi32(_mm512_add_epi32(*h, t), ROTATED_3(e, 6, 11, 25));
            t = _mm512_add_epi32(t, _mm512_ternarylogic_epi32(e, f, g, 0xca)); /* e ? f : g */
            v[(3 - i) & 7] = _mm512_add_epi32(v[(3 - i) & 7], t);
            t = _mm512_add_epi32(t, ROTATED_3(a, 2, 13, 22));
            *h = _mm512_add_epi32(t, _mm512_ternarylogic_epi32(a, b, c, 0xe8)); /* what two of three say */
        }
    }
    for (int i = 0; i < 8; i++)
        state[i] = _mm512_add_epi32(state[i], v[i]);
}

/* Block k of a message, padded, without its length. Bytes that are masked are not read, so it does not matter that a
 * block may begin before the data, where the prefix belongs, or end after it. */
AVX512_INLINE __m512i padded_block(const uint8_t *data, size_t size, int prefix, size_t k)
{
    size_t prefix_size = prefix == NO_PREFIX ? 0 : 1, begin = k * BLOCK_SIZE, total = prefix_size + size;
    size_t left = total > begin ? total - begin : 0;
    __mmask64 of_data = left < BLOCK_SIZE ? ((__mmask64)1 << left) - 1 : ~(__mmask64)0;
    if (k == 0 && prefix_size)
        of_data &= ~(__mmask64)1;
    __m512i block = _mm512_maskz_loadu_epi8(of_data, (const void *)((uintptr_t)data + begin - prefix_size));
    if (k == 0 && prefix_size)
        block = _mm512_mask_set1_epi8(block, 1, (char)prefix);
    if (total >= begin && left < BLOCK_SIZE)
        block = _mm512_mask_set1_epi8(block, (__mmask64)1 << left, (char)0x80);
    return block;
}

/* MESSAGES pieces, which give messages of so many blocks each. All is read before anything is written. */
AVX512 static void hash_sixteen(const pieces *p, size_t blocks, uint8_t *hashes)
{
    __m512i state[MESSAGES], words[MESSAGES];
    __m512i sizes = _mm512_loadu_si512(p->sizes);
    if (p->prefix != NO_PREFIX)
        sizes = _mm512_add_epi32(sizes, _mm512_set1_epi32(1));
    for (int i = 0; i < 8; i++)
        state[i] = _mm512_set1_epi32((int)INITIAL_STATE[i]);
    for (size_t k = 0; k < blocks; k++) {
        for (int i = 0; i < MESSAGES; i++)
            words[i] = swap_bytes(padded_block(p->data[i], p->sizes[i], p->prefix, k));
        transpose(words);
        if (k + 1 == blocks) { /* the length in bits */
            words[14] = _mm512_srli_epi32(sizes, 29);
            words[15] = _mm512_slli_epi32(sizes, 3);
        }
        compress_sixteen(state, words);
    }
    for (int i = 8; i < MESSAGES; i++)
        state[i] = _mm512_setzero_si512();
    transpose(state);
    for (int i = 0; i < MESSAGES; i++)
        _mm256_storeu_si256((__m256i *)(hashes + i * HASH_SIZE), _mm512_castsi512_si256(swap_bytes(state[i])));
}

static int has_avx512(void)
{
    __builtin_cpu_init();
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw");
}
#endif

enum sha256_choice { PORTABLE, BEST, NOT_SIDE_BY_SIDE };

static int side_by_side;

/* Whether anything but portable code is used. */
static int choose_sha256(enum sha256_choice choice)
{
    int by_instructions = choose_compress(choice != PORTABLE);
    side_by_side = 0;
#ifdef HAVE_AVX512
    side_by_side = choice == BEST && has_avx512();
#endif
    return by_instructions || side_by_side;
}

static size_t blocks_of(const pieces *p, size_t i)
{
    return ((size_t)p->sizes[i] + (p->prefix != NO_PREFIX) + 8) / BLOCK_SIZE + 1;
}

/* At most MESSAGES pieces. All is read before anything is written, of pieces up to a block: hashes of children may be
 * where their parents come. */
static void hash_pieces(const pieces *p, size_t count, uint8_t *hashes)
{
    message messages[MESSAGES];
#ifdef HAVE_AVX512
    if (side_by_side && count == MESSAGES) {
        size_t blocks = blocks_of(p, 0), alike = 1;
        while (alike < MESSAGES && blocks_of(p, alike) == blocks)
            alike++;
        if (alike == MESSAGES) {
            hash_sixteen(p, blocks, hashes);
            return;
        }
    }
#endif
    for (size_t i = 0; i < count; i++)
        message_set(&messages[i], p->prefix, p->data[i], p->sizes[i]);
    hash_messages(messages, count, hashes);
}

#endif
