/* What waits to be sealed: framed entries in the order of their numbers, in one piece of memory for each batch.
 *
 * Nothing of Python in here, and no lock: the caller sees to it that one thread at a time is in any of this. Taking a
 * number and writing the entry are one step, so there are no holes. An entry is written where it will be taken from,
 * and a batch is taken whole, whatever it holds.
 *
 * Memory: entries that wait are bounded by their number, a prediction's size by 158 bytes; room is made for a batch at
 * a time, and a few pieces are kept for the next ones.
 */
#ifndef LINEAGE_KERNEL_QUEUE_H
#define LINEAGE_KERNEL_QUEUE_H

#include <stdlib.h>

#include "_kernel_packing.h"

enum { MAX_LOST_RANGES = 512, MAX_SPARE_BATCHES = 4, MAX_FRAMED_ENTRY = 2 + 65535 };

typedef struct {
    uint64_t first, end;
} lost_range;

typedef struct batch {
    struct batch *next;
    uint64_t first_number;
    size_t count, size, room;
    lost_range *lost; /* ascending, not touching */
    size_t lost_count, lost_room;
    uint8_t *data;
} batch;

typedef struct {
    batch *front, *back, *spare;
    size_t spare_count;
    uint64_t next_number, drained; /* numbers below `drained` were taken out */
    uint64_t lost;
    size_t pending, capacity; /* entries that wait, and may at most */
    size_t batch_entries, batch_bytes;
    int has_ended; /* a batch, and nobody was told yet */
} queue;

static void batch_free(batch *b)
{
    if (b) {
        free(b->lost);
        free(b->data);
        free(b);
    }
}

static void batches_free(batch *b)
{
    while (b) {
        batch *next = b->next;
        batch_free(b);
        b = next;
    }
}

static void queue_free(queue *q)
{
    batches_free(q->front);
    batches_free(q->spare);
    q->front = q->back = q->spare = NULL;
}

/* Room for a batch of predictions; NULL if there is no memory. */
static batch *batch_new(const queue *q)
{
    batch *b = calloc(1, sizeof *b);
    if (!b)
        return NULL;
    b->room = q->batch_entries < q->batch_bytes / MAX_FRAMED_PREDICTION ? q->batch_entries * MAX_FRAMED_PREDICTION
                                                                        : q->batch_bytes;
    b->data = malloc(b->room);
    if (!b->data) {
        free(b);
        return NULL;
    }
    return b;
}

/* Begin a batch at the back; NULL if there is no memory. */
static batch *queue_begin_batch(queue *q)
{
    batch *b = q->spare;
    if (b) {
        q->spare = b->next;
        q->spare_count--;
    } else if (!(b = batch_new(q)))
        return NULL;
    b->next = NULL;
    b->count = b->size = b->lost_count = 0;
    b->first_number = q->next_number;
    if (q->back)
        q->back->next = b;
    else
        q->front = b;
    q->back = b;
    return b;
}

/* Have the back end in room for `size` bytes more, of one entry; NULL if the queue is full or there is no memory. */
static uint8_t *queue_make_room(queue *q, size_t size)
{
    batch *b = q->back;
    if (q->pending >= q->capacity)
        return NULL;
    if (!b || b->count >= q->batch_entries || size > q->batch_bytes - b->size) {
        q->has_ended |= b && b->count < q->batch_entries;
        if (!(b = queue_begin_batch(q)))
            return NULL;
    }
    if (size > b->room - b->size) {
        size_t room = b->size + (size > MAX_FRAMED_PREDICTION ? size : b->size / 2 + MAX_FRAMED_PREDICTION);
        if (room > q->batch_bytes)
            room = q->batch_bytes;
        uint8_t *data = realloc(b->data, room);
        if (!data)
            return NULL;
        b->data = data;
        b->room = room;
    }
    return b->data + b->size;
}

/* Where the next entry of at most `size` bytes goes; NULL if the queue is full or there is no memory. */
static inline uint8_t *queue_room(queue *q, size_t size)
{
    batch *b = q->back;
    if (b && q->pending < q->capacity && b->count < q->batch_entries && size <= b->room - b->size &&
        size <= q->batch_bytes - b->size)
        return b->data + b->size;
    return queue_make_room(q, size);
}

/* The entry of `size` bytes is written; its number. */
static inline uint64_t queue_placed(queue *q, size_t size)
{
    q->back->size += size;
    q->has_ended |= ++q->back->count == q->batch_entries;
    q->pending++;
    return q->next_number++;
}

/* Whether there is a batch that nothing can be added to. */
static inline int queue_has_batch(const queue *q)
{
    return q->front && (q->front->next || q->front->count >= q->batch_entries);
}

/* Whether a batch has ended by its number or its bytes since this was asked last. */
static inline int queue_has_ended_batch(queue *q)
{
    int has_ended = q->has_ended;
    q->has_ended = 0;
    return has_ended;
}

/* Declare the next `count` numbers lost; -1 if there is no memory, and then nothing was done. */
static int queue_lose(queue *q, uint64_t count)
{
    batch *b = q->back;
    lost_range *last = b && b->lost_count ? &b->lost[b->lost_count - 1] : NULL;
    if (last && last->end == q->next_number)
        last->end += count;
    else {
        if (!b || b->lost_count == MAX_LOST_RANGES) {
            if (!(b = queue_begin_batch(q)))
                return -1;
        }
        if (b->lost_count == b->lost_room) {
            size_t room = b->lost_room ? 2 * b->lost_room : 4;
            lost_range *lost = realloc(b->lost, room * sizeof *lost);
            if (!lost)
                return -1;
            b->lost = lost;
            b->lost_room = room;
        }
        b->lost[b->lost_count++] = (lost_range){q->next_number, q->next_number + count};
    }
    q->next_number += count;
    q->lost += count;
    return 0;
}

/* Take the batch at the front out, and what its numbers end with; NULL if nothing waits. */
static batch *queue_take(queue *q, uint64_t *end)
{
    batch *b = q->front;
    if (!b || (!b->next && !b->count && !b->lost_count))
        return NULL;
    *end = b->next ? b->next->first_number : q->next_number;
    q->drained = *end;
    q->pending -= b->count;
    q->front = b->next;
    if (!q->front)
        q->back = NULL;
    return b;
}

/* It could not be used after all: put it back to where it was. */
static void queue_restore(queue *q, batch *b)
{
    b->next = q->front;
    q->front = b;
    if (!q->back)
        q->back = b;
    q->pending += b->count;
    q->drained = b->first_number;
}

/* It was used: keep its memory for another. */
static void queue_give_back(queue *q, batch *b)
{
    if (q->spare_count < MAX_SPARE_BATCHES) {
        b->next = q->spare;
        q->spare = b;
        q->spare_count++;
    } else
        batch_free(b);
}

#endif
