/* What must hold of _kernel_queue.h: what goes in comes out, in its order and within its bounds. */
#ifndef LINEAGE_TESTS_CHECK_QUEUE_H
#define LINEAGE_TESTS_CHECK_QUEUE_H

#include "require.h"

#include "_kernel_queue.h"

enum { MOST_NUMBERS = 2048 };

/* What went into a queue: the size of each number's entry, 0 if it was lost. */
typedef struct {
    size_t sizes[MOST_NUMBERS];
    uint64_t numbers, taken;
    size_t pending;
} went_in;

static void check_batch(const queue *q, const batch *b, uint64_t end, const went_in *in)
{
    size_t at = 0, count = 0, range = 0;
    REQUIRE(b->first_number == in->taken && end > b->first_number && end <= in->numbers && q->drained == end);
    REQUIRE(b->count <= q->batch_entries && b->size <= q->batch_bytes && b->lost_count <= MAX_LOST_RANGES);
    for (uint64_t number = b->first_number; number < end; number++) {
        size_t size = in->sizes[number];
        if (size) {
            REQUIRE(size <= b->size - at && b->data[at] == (uint8_t)number && b->data[at + size - 1] == (uint8_t)size);
            at += size;
            count++;
        } else {
            REQUIRE(range < b->lost_count && b->lost[range].first <= number && number < b->lost[range].end);
            range += number + 1 == b->lost[range].end;
        }
    }
    REQUIRE(at == b->size && count == b->count && range == b->lost_count);
    for (size_t i = 1; i < b->lost_count; i++)
        REQUIRE(b->lost[i - 1].end < b->lost[i].first);
}

static void take_one(queue *q, went_in *in, int restore_first)
{
    uint64_t end;
    batch *b = queue_take(q, &end);
    REQUIRE((b != NULL) == (in->taken < in->numbers));
    if (!b)
        return;
    check_batch(q, b, end, in);
    if (restore_first) {
        queue_restore(q, b);
        REQUIRE(q->pending == in->pending && q->drained == in->taken);
        b = queue_take(q, &end);
        REQUIRE(b);
        check_batch(q, b, end, in);
    }
    in->taken = end;
    in->pending -= b->count;
    queue_give_back(q, b);
}

static void place_one(queue *q, went_in *in, size_t size)
{
    uint8_t *to = queue_room(q, size > MAX_FRAMED_PREDICTION ? size : MAX_FRAMED_PREDICTION);
    REQUIRE((to != NULL) == (in->pending < q->capacity));
    if (!to)
        return;
    memset(to, 0, size);
    to[0] = (uint8_t)in->numbers;
    to[size - 1] = (uint8_t)size;
    REQUIRE(queue_placed(q, size) == in->numbers);
    in->sizes[in->numbers++] = size;
    in->pending++;
}

/* Each byte is something that is done to a queue, whose bounds the first three say. */
static void check_queue(const uint8_t *data, size_t size)
{
    went_in *in = calloc(1, sizeof *in);
    queue q = {.capacity = data[0] % 40u + 1,
               .batch_entries = data[size / 2] % 9u + 1,
               .batch_bytes = MAX_FRAMED_ENTRY + (data[size - 1] & 1) * 1000u};
    REQUIRE(in);
    for (size_t i = 0; i < size && in->numbers < MOST_NUMBERS - 8; i++) {
        uint64_t lost = (uint64_t)(data[i] >> 5) + 1;
        switch (data[i] % 8) {
        case 0:
            take_one(&q, in, data[i] >> 7);
            break;
        case 1:
            REQUIRE(queue_lose(&q, lost) == 0);
            in->numbers += lost;
            break;
        case 2:
            place_one(&q, in, (size_t)(data[i] >> 3) * 2114 + 3);
            break;
        default:
            place_one(&q, in, 50 + data[i] % 109u);
        }
        REQUIRE(q.pending == in->pending && q.pending <= q.capacity && q.next_number == in->numbers);
        REQUIRE(q.spare_count <= MAX_SPARE_BATCHES);
        REQUIRE(!queue_has_batch(&q) || q.front->next || q.front->count == q.batch_entries);
    }
    if (data[0] & 1)
        while (in->taken < in->numbers)
            take_one(&q, in, 0);
    queue_free(&q);
    free(in);
}

#endif
