/* The batch kernel in C: what `_kernel_python.py` does, with the same results and the same refusals.
 *
 * Optional: built where a compiler is, against the limited API of CPython 3.11. It sees public data only, so nothing
 * here needs constant time. It needs no compiler flags: what a newer processor can do is found out at run time and
 * compiled for by target attributes, function by function.
 *
 * This file is Python's side: it holds buffers, lets other threads run, and turns results into objects. The work is in
 * the headers, which know nothing of Python. A writable buffer is copied first: another thread could change it.
 */
#ifndef Py_LIMITED_API
#define Py_LIMITED_API 0x030b0000
#endif
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "_kernel_entries.h"
#include "_kernel_rows.h"
#include "_kernel_tree.h"

#define MAX_BATCH_ENTRIES 16385
#define MAX_BATCH_BYTES (4 << 20)
#define MAX_PACKED_BYTES (32 << 20)
#define MAX_OFFSET (1 << 24)
#define MAX_MERGED_ROWS (1 << 24)
#define MAX_FOUND_ROWS (1 << 20)

typedef struct {
    PyObject *explain;         /* _kernel_checks.explain: always raises */
    PyObject *explain_strict;  /* _kernel_checks.explain_strict: always raises */
    PyObject *strict_bytes;    /* what the tables were read from */
    strict_tables *strict;     /* NULL until they are handed over; then never changed */
    PyObject *malformed_error; /* errors.MalformedError */
} module_state;

/* Packed entries held for a call: the caller's buffer, or our copy if somebody could write to it meanwhile. */
typedef struct {
    Py_buffer view;
    const uint8_t *data;
    uint8_t *copy;
    size_t size;
    walk walk;
} packed_entries;

static void packed_release(packed_entries *p)
{
    free(p->walk.entries);
    free(p->copy);
    PyBuffer_Release(&p->view);
}

/* Hold the buffer; nothing to release if it fails. */
static int packed_hold(packed_entries *p, module_state *state, PyObject *object, Py_ssize_t max_bytes)
{
    memset(p, 0, sizeof *p);
    if (PyObject_GetBuffer(object, &p->view, PyBUF_SIMPLE) < 0)
        return -1;
    p->size = (size_t)p->view.len;
    p->data = p->view.buf;
    if (p->view.len > max_bytes) {
        Py_XDECREF(PyObject_CallFunction(state->explain, "Oiinn", object, 0, 0, max_bytes, max_bytes));
        PyBuffer_Release(&p->view);
        return -1;
    }
    if (!p->view.readonly && p->size) {
        p->copy = malloc(p->size);
        if (!p->copy) {
            PyBuffer_Release(&p->view);
            PyErr_NoMemory();
            return -1;
        }
        memcpy(p->copy, p->data, p->size);
        p->data = p->copy;
    }
    return 0;
}

/* Turn what went wrong into an exception; NULL always. */
static PyObject *packed_fail(packed_entries *p, module_state *state, enum walk_result result, Py_ssize_t max_bytes,
                             Py_ssize_t max_entries)
{
    if (result == NO_MEMORY)
        return PyErr_NoMemory();
    PyObject *returned =
        PyObject_CallFunction(state->explain, "y#nnnn", (const char *)p->data, (Py_ssize_t)p->size,
                              (Py_ssize_t)p->walk.count, (Py_ssize_t)p->walk.position, max_bytes, max_entries);
    if (returned) {
        Py_DECREF(returned);
        PyErr_SetString(PyExc_SystemError, "explain returned");
    }
    return NULL;
}

static Py_ssize_t other_count(const walk *w)
{
    Py_ssize_t count = 0;
    for (size_t place = 0; place < w->count; place++)
        count += !w->entries[place].binding_row;
    return count;
}

static PyObject *other_entries(const walk *w)
{
    PyObject *others = PyTuple_New(other_count(w));
    Py_ssize_t count = 0;
    for (size_t place = 0; others && place < w->count; place++) {
        const entry *e = &w->entries[place];
        if (e->binding_row)
            continue;
        PyObject *other = Py_BuildValue("(nIH)", (Py_ssize_t)place, (unsigned)e->offset, (unsigned short)e->size);
        if (!other || PyTuple_SetItem(others, count++, other) < 0)
            Py_CLEAR(others);
    }
    return others;
}

static PyObject *other_tags(const walk *w, const uint8_t *packed)
{
    PyObject *tags = PyBytes_FromStringAndSize(NULL, other_count(w));
    char *tag = tags ? PyBytes_AsString(tags) : NULL;
    for (size_t place = 0; tag && place < w->count; place++)
        if (!w->entries[place].binding_row)
            *tag++ = (char)packed[w->entries[place].offset];
    return tags;
}

static PyObject *binding_counts(const walk *w)
{
    Py_ssize_t greatest = 255;
    while (greatest && !w->binding_counts[greatest])
        greatest--;
    PyObject *counts = PyTuple_New(greatest);
    for (Py_ssize_t row = 1; counts && row <= greatest; row++) {
        PyObject *count = PyLong_FromUnsignedLong(w->binding_counts[row]);
        if (!count || PyTuple_SetItem(counts, row - 1, count) < 0)
            Py_CLEAR(counts);
    }
    return counts;
}

/* The tables of the strict encoding; NULL, with an exception, if nobody handed them over. */
static const strict_tables *strict_rules(module_state *state)
{
    if (!state->strict)
        PyErr_SetString(PyExc_RuntimeError,
                        "the kernel does not know the strict encoding; import lineage_ledger.formats.strict first");
    return state->strict;
}

static PyObject *kernel_learn_strict(PyObject *module, PyObject *bytes)
{
    module_state *state = PyModule_GetState(module);
    char *data;
    Py_ssize_t size;
    const char *problem;
    if (PyBytes_AsStringAndSize(bytes, &data, &size) < 0)
        return NULL;
    if (state->strict) {
        int same = PyObject_RichCompareBool(bytes, state->strict_bytes, Py_EQ);
        if (same == 0)
            PyErr_SetString(PyExc_ValueError, "the kernel has other tables of the strict encoding already");
        return same == 1 ? Py_NewRef(Py_None) : NULL;
    }
    state->strict = strict_load((const uint8_t *)data, (size_t)size, &problem);
    if (!state->strict)
        return PyErr_Format(PyExc_ValueError, "tables of the strict encoding: %s", problem);
    state->strict_bytes = Py_NewRef(bytes);
    return Py_NewRef(Py_None);
}

static PyObject *kernel_check_strict(PyObject *module, PyObject *const *arguments, Py_ssize_t count)
{
    module_state *state = PyModule_GetState(module);
    const strict_tables *tables = strict_rules(state);
    char *data;
    Py_ssize_t size;
    if (!tables)
        return NULL;
    if (count != 2) {
        PyErr_SetString(PyExc_TypeError, "check_strict takes a place and bytes");
        return NULL;
    }
    size_t place = PyLong_AsSize_t(arguments[0]);
    if ((place == (size_t)-1 && PyErr_Occurred()) || PyBytes_AsStringAndSize(arguments[1], &data, &size) < 0)
        return NULL;
    if (place >= tables->message_count)
        return PyErr_Format(PyExc_ValueError, "there is no message %zu of the strict encoding", place);
    if (is_strict(tables, place, (const uint8_t *)data, (size_t)size))
        return Py_NewRef(Py_None);
    PyObject *returned = PyObject_CallFunctionObjArgs(state->explain_strict, arguments[0], arguments[1], NULL);
    if (returned) {
        Py_DECREF(returned);
        PyErr_SetString(PyExc_SystemError, "explain_strict returned");
    }
    return NULL;
}

/* What is wanted of packed entries; each after the one before. */
enum packed_work { LEAF_HASHES, SCAN, SCAN_BATCH };

static PyObject *scanned_batch(const packed_entries *p, const uint8_t *hashes)
{
    PyObject *counts = binding_counts(&p->walk), *others = other_entries(&p->walk), *tags = other_tags(&p->walk, p->data),
             *scanned = NULL;
    if (counts && others && tags)
        scanned = Py_BuildValue("(ny#OKKOO)", (Py_ssize_t)p->walk.count, (const char *)hashes,
                                (Py_ssize_t)p->walk.count * HASH_SIZE, counts, (unsigned long long)p->walk.earliest,
                                (unsigned long long)p->walk.latest, others, tags);
    Py_XDECREF(counts);
    Py_XDECREF(others);
    Py_XDECREF(tags);
    return scanned;
}

/* Letting other threads run costs more than so little work: while they are busy, the lock is not had back at once. */
enum { LITTLE_BYTES = 8 * 1024 };

static PyThreadState *let_others_run(Py_ssize_t size) { return size > LITTLE_BYTES ? PyEval_SaveThread() : NULL; }

static void go_on(PyThreadState *thread)
{
    if (thread)
        PyEval_RestoreThread(thread);
}

static PyObject *hash_packed(PyObject *module, PyObject *object, enum packed_work work)
{
    module_state *state = PyModule_GetState(module);
    int scan = work >= SCAN;
    const strict_tables *tables = scan ? strict_rules(state) : NULL;
    if (scan && !tables)
        return NULL;
    Py_ssize_t max_bytes = scan ? MAX_BATCH_BYTES : MAX_PACKED_BYTES;
    Py_ssize_t max_entries = scan ? MAX_BATCH_ENTRIES : MAX_PACKED_BYTES;
    packed_entries p;
    uint8_t *hashes = NULL, body_root[HASH_SIZE];
    enum walk_result result;
    PyObject *returned = NULL;
    if (packed_hold(&p, state, object, max_bytes) < 0)
        return NULL;
    p.walk.strict = tables;
    PyThreadState *thread = let_others_run((Py_ssize_t)p.size);
    result = walk_entries(&p.walk, p.data, p.size, (size_t)max_entries, scan);
    if (result == WALKED) {
        hashes = malloc(p.walk.count * HASH_SIZE + 1);
        if (hashes)
            hash_leaves(&p.walk, p.data, hashes);
        else
            result = NO_MEMORY;
    }
    if (result == WALKED && work == SCAN_BATCH)
        any_root(hashes, body_count(&p.walk, p.data), body_root);
    go_on(thread);
    if (result != WALKED)
        packed_fail(&p, state, result, max_bytes, max_entries);
    else if (work == LEAF_HASHES)
        returned = PyBytes_FromStringAndSize((const char *)hashes, (Py_ssize_t)p.walk.count * HASH_SIZE);
    else {
        returned = scanned_batch(&p, hashes);
        if (returned && work == SCAN_BATCH)
            returned = Py_BuildValue("(Ny#)", returned, (const char *)body_root, (Py_ssize_t)HASH_SIZE);
    }
    free(hashes);
    packed_release(&p);
    return returned;
}

static PyObject *kernel_scan(PyObject *module, PyObject *packed) { return hash_packed(module, packed, SCAN); }

static PyObject *kernel_scan_batch(PyObject *module, PyObject *packed)
{
    return hash_packed(module, packed, SCAN_BATCH);
}

static PyObject *kernel_leaf_hashes(PyObject *module, PyObject *packed)
{
    return hash_packed(module, packed, LEAF_HASHES);
}

static int hold_hashes(Py_buffer *view, PyObject *module, PyObject *object)
{
    module_state *state = PyModule_GetState(module);
    if (PyObject_GetBuffer(object, view, PyBUF_SIMPLE) < 0)
        return -1;
    if (view->len % HASH_SIZE == 0)
        return 0;
    PyErr_Format(state->malformed_error, "the leaf hashes are %zd bytes long, which is not a multiple of %d", view->len,
                 HASH_SIZE);
    PyBuffer_Release(view);
    return -1;
}

static PyObject *kernel_tree_root(PyObject *module, PyObject *object)
{
    Py_buffer view;
    uint8_t root[HASH_SIZE];
    if (hold_hashes(&view, module, object) < 0)
        return NULL;
    PyThreadState *thread = let_others_run(view.len);
    any_root(view.buf, (size_t)view.len / HASH_SIZE, root);
    go_on(thread);
    PyBuffer_Release(&view);
    return PyBytes_FromStringAndSize((const char *)root, HASH_SIZE);
}

static PyObject *kernel_tile_roots(PyObject *module, PyObject *object)
{
    Py_buffer view;
    if (hold_hashes(&view, module, object) < 0)
        return NULL;
    size_t tiles = (size_t)view.len / (TILE_WIDTH * HASH_SIZE);
    PyObject *roots = PyBytes_FromStringAndSize(NULL, (Py_ssize_t)(tiles * HASH_SIZE));
    uint8_t *root = roots ? (uint8_t *)PyBytes_AsString(roots) : NULL;
    const uint8_t *hashes = view.buf;
    if (root) {
        PyThreadState *thread = let_others_run(view.len);
        for (size_t tile = 0; tile < tiles; tile++)
            small_root(hashes + tile * TILE_WIDTH * HASH_SIZE, TILE_WIDTH, root + tile * HASH_SIZE);
        go_on(thread);
    }
    PyBuffer_Release(&view);
    return roots;
}

/* A sequence of buffers, all held; nothing to release if it fails. */
typedef struct {
    PyObject *items; /* a tuple */
    Py_buffer *views;
    Py_ssize_t count;
} held_buffers;

static void buffers_release(held_buffers *held)
{
    while (held->count > 0)
        PyBuffer_Release(&held->views[--held->count]);
    free(held->views);
    Py_DECREF(held->items);
}

static int buffers_hold(held_buffers *held, PyObject *sequence)
{
    memset(held, 0, sizeof *held);
    held->items = PySequence_Tuple(sequence);
    if (!held->items)
        return -1;
    Py_ssize_t count = PyTuple_Size(held->items);
    held->views = calloc((size_t)count + 1, sizeof *held->views);
    if (!held->views)
        PyErr_NoMemory();
    while (held->views && held->count < count) {
        if (PyObject_GetBuffer(PyTuple_GetItem(held->items, held->count), &held->views[held->count], PyBUF_SIMPLE) < 0)
            break;
        held->count++;
    }
    if (held->views && held->count == count)
        return 0;
    buffers_release(held);
    return -1;
}

static PyObject *refuse_offsets(module_state *state)
{
    return PyErr_Format(state->malformed_error, "first_offset and the offsets of all entries must lie in [0, %d)",
                        MAX_OFFSET);
}

typedef struct {
    const uint8_t *data;
    size_t place;
    uint16_t size;
} other_entry;

/* What parts of packed entries gave: rows, and where the entries are that are no predictions. */
typedef struct {
    uint8_t *rows;
    size_t row_count, row_room;
    other_entry *others;
    size_t other_count, other_room;
    size_t entry_count;
} row_maker;

/* The array with room for as many more items of `size` bytes; NULL, and it is as before, if there is none. */
static void *with_room(void *array, size_t *room, size_t count, size_t more, size_t size)
{
    if (*room - count >= more)
        return array;
    size_t wanted = count + more + count / 2;
    void *grown = realloc(array, wanted * size);
    if (grown)
        *room = wanted;
    return grown;
}

/* Add one part, without Python: what its walk says, and whether its offsets are `in_range`. */
static enum walk_result add_part(row_maker *m, packed_entries *p, size_t first_offset, int *in_range)
{
    enum walk_result result = walk_entries(&p->walk, p->data, p->size, MAX_PACKED_BYTES, 1);
    if (result != WALKED)
        return result;
    size_t count = p->walk.count;
    *in_range = count <= MAX_OFFSET - first_offset - m->entry_count;
    if (!*in_range)
        return WALKED;
    void *rows = with_room(m->rows, &m->row_room, m->row_count, count + 1, ROW_SIZE);
    if (!rows)
        return NO_MEMORY;
    m->rows = rows;
    m->row_count += make_rows(&p->walk, p->data, (uint32_t)(first_offset + m->entry_count),
                              m->rows + m->row_count * ROW_SIZE);
    for (size_t place = 0; place < count; place++) {
        const entry *e = &p->walk.entries[place];
        if (e->binding_row)
            continue;
        void *others = with_room(m->others, &m->other_room, m->other_count, 1, sizeof *m->others);
        if (!others)
            return NO_MEMORY;
        m->others = others;
        m->others[m->other_count++] = (other_entry){p->data + e->offset, m->entry_count + place, e->size};
    }
    m->entry_count += count;
    free(p->walk.entries); /* the walks of many parts are more memory than their rows */
    p->walk.entries = NULL;
    return WALKED;
}

/* (entries, rows, [(place, entry that is no prediction)]) of all parts held. */
static PyObject *make_held(module_state *state, packed_entries *parts, Py_ssize_t count, size_t first_offset)
{
    row_maker m;
    uint8_t *spare = NULL;
    Py_ssize_t part = 0;
    int in_range = 1;
    enum walk_result result = WALKED;
    PyObject *returned = NULL, *others = NULL;
    memset(&m, 0, sizeof m);
    Py_BEGIN_ALLOW_THREADS
    while (part < count && (result = add_part(&m, &parts[part], first_offset, &in_range)) == WALKED && in_range)
        part++;
    if (part == count) {
        spare = malloc(m.row_count * ROW_SIZE + 1);
        if (spare)
            sort_rows(m.rows, spare, m.row_count);
    }
    Py_END_ALLOW_THREADS
    if (result != WALKED)
        packed_fail(&parts[part], state, result, MAX_PACKED_BYTES, MAX_PACKED_BYTES);
    else if (part < count)
        refuse_offsets(state);
    else if (!spare)
        PyErr_NoMemory();
    else
        others = PyList_New((Py_ssize_t)m.other_count);
    for (size_t i = 0; others && i < m.other_count; i++) {
        PyObject *other = Py_BuildValue("(ny#)", (Py_ssize_t)m.others[i].place, (const char *)m.others[i].data,
                                        (Py_ssize_t)m.others[i].size);
        if (!other || PyList_SetItem(others, (Py_ssize_t)i, other) < 0)
            Py_CLEAR(others);
    }
    if (others)
        returned = Py_BuildValue("(ny#N)", (Py_ssize_t)m.entry_count, m.row_count ? (const char *)m.rows : "",
                                 (Py_ssize_t)m.row_count * ROW_SIZE, others);
    free(spare);
    free(m.rows);
    free(m.others);
    return returned;
}

static PyObject *kernel_request_id_rows(PyObject *module, PyObject *arguments)
{
    module_state *state = PyModule_GetState(module);
    PyObject *sequence, *number, *returned = NULL;
    if (!PyArg_ParseTuple(arguments, "OO:request_id_rows", &sequence, &number))
        return NULL;
    number = PyNumber_Index(number);
    if (!number)
        return NULL;
    long long first_offset = PyLong_AsLongLong(number);
    Py_DECREF(number);
    if (first_offset == -1 && PyErr_Occurred())
        PyErr_Clear(); /* beyond 64 bits, so out of range like -1 */
    if (first_offset < 0 || first_offset > MAX_OFFSET)
        return refuse_offsets(state);
    PyObject *items = PySequence_Tuple(sequence);
    if (!items)
        return NULL;
    Py_ssize_t count = PyTuple_Size(items), held = 0;
    packed_entries *parts = calloc((size_t)count + 1, sizeof *parts);
    if (!parts)
        PyErr_NoMemory();
    else {
        while (held < count && packed_hold(&parts[held], state, PyTuple_GetItem(items, held), MAX_PACKED_BYTES) == 0)
            held++;
        if (held == count)
            returned = make_held(state, parts, count, (size_t)first_offset);
    }
    while (held-- > 0)
        packed_release(&parts[held]);
    free(parts);
    Py_DECREF(items);
    return returned;
}

/* Whether every view is of whole rows; else an exception is set. */
static int are_rows(module_state *state, const held_buffers *held)
{
    for (Py_ssize_t i = 0; i < held->count; i++)
        if (held->views[i].len % ROW_SIZE) {
            PyErr_Format(state->malformed_error, "run %zd is %zd bytes long, which is not a multiple of %d", i,
                         held->views[i].len, ROW_SIZE);
            return 0;
        }
    return 1;
}

/* Check the runs and merge them: to sort all rows anew takes a fraction of what comparing heads of runs does. */
static PyObject *merge_held(module_state *state, const held_buffers *held)
{
    Py_ssize_t size = 0, unsorted = -1;
    for (Py_ssize_t i = 0; i < held->count; i++) {
        if (held->views[i].len > (Py_ssize_t)MAX_MERGED_ROWS * ROW_SIZE - size)
            return PyErr_Format(state->malformed_error, "more than %d rows to merge; merge fewer runs at once",
                                MAX_MERGED_ROWS);
        size += held->views[i].len;
    }
    if (!are_rows(state, held))
        return NULL;
    PyObject *merged = PyBytes_FromStringAndSize(NULL, size);
    uint8_t *rows = merged ? (uint8_t *)PyBytes_AsString(merged) : NULL;
    uint8_t *spare = merged ? malloc((size_t)size + 1) : NULL;
    if (!spare) {
        Py_XDECREF(merged);
        return PyErr_NoMemory();
    }
    Py_BEGIN_ALLOW_THREADS
    uint8_t *end = rows;
    for (Py_ssize_t i = 0; i < held->count && unsorted < 0; i++) {
        size_t length = (size_t)held->views[i].len;
        if (length)
            memcpy(end, held->views[i].buf, length);
        if (!is_sorted(end, length / ROW_SIZE))
            unsorted = i;
        end += length;
    }
    if (unsorted < 0)
        sort_rows(rows, spare, (size_t)size / ROW_SIZE);
    Py_END_ALLOW_THREADS
    free(spare);
    if (unsorted >= 0) {
        Py_DECREF(merged);
        return PyErr_Format(state->malformed_error, "run %zd is not sorted", unsorted);
    }
    return merged;
}

static PyObject *kernel_merge_rows(PyObject *module, PyObject *runs)
{
    held_buffers held;
    if (buffers_hold(&held, runs) < 0)
        return NULL;
    PyObject *returned = merge_held(PyModule_GetState(module), &held);
    buffers_release(&held);
    return returned;
}

typedef struct {
    Py_ssize_t run;
    uint32_t offset;
} found_row;

/* Up to `limit` rows that begin as `first_row` does, into `found`; in the first run from that row on. */
static size_t find_held(const held_buffers *held, const uint8_t *first_row, found_row *found, size_t limit)
{
    uint8_t wanted[ROW_SIZE];
    size_t count = 0;
    memcpy(wanted, first_row, ROW_SIZE);
    for (Py_ssize_t run = 0; run < held->count; run++) {
        const uint8_t *rows = held->views[run].buf;
        size_t size = (size_t)held->views[run].len / ROW_SIZE;
        for (size_t place = find_row(rows, size, wanted); place < size; place++) {
            const uint8_t *row = rows + place * ROW_SIZE;
            if (memcmp(row, wanted, REQUEST_HASH_SIZE) != 0)
                break;
            if (count == limit)
                return count;
            found[count++] = (found_row){run, (uint32_t)row[10] << 16 | (uint32_t)row[11] << 8 | row[12]};
        }
        memset(wanted + REQUEST_HASH_SIZE, 0, ROW_SIZE - REQUEST_HASH_SIZE);
    }
    return count;
}

static PyObject *kernel_find_rows(PyObject *module, PyObject *arguments)
{
    module_state *state = PyModule_GetState(module);
    PyObject *runs, *returned = NULL;
    const char *first_row;
    Py_ssize_t row_size, limit;
    if (!PyArg_ParseTuple(arguments, "Oy#n:find_rows", &runs, &first_row, &row_size, &limit))
        return NULL;
    if (row_size != ROW_SIZE)
        return PyErr_Format(state->malformed_error, "first_row is %zd bytes long, not %d", row_size, ROW_SIZE);
    if (limit < 0 || limit > MAX_FOUND_ROWS)
        return PyErr_Format(state->malformed_error, "limit is %zd; it must be 0 to %d", limit, MAX_FOUND_ROWS);
    held_buffers held;
    if (buffers_hold(&held, runs) < 0)
        return NULL;
    found_row *found = are_rows(state, &held) ? malloc(((size_t)limit + 1) * sizeof *found) : NULL;
    if (found) {
        size_t count;
        Py_BEGIN_ALLOW_THREADS
        count = find_held(&held, (const uint8_t *)first_row, found, (size_t)limit);
        Py_END_ALLOW_THREADS
        returned = PyList_New((Py_ssize_t)count);
        for (size_t i = 0; returned && i < count; i++) {
            PyObject *row = Py_BuildValue("(nI)", found[i].run, (unsigned)found[i].offset);
            if (!row || PyList_SetItem(returned, (Py_ssize_t)i, row) < 0)
                Py_CLEAR(returned);
        }
    } else if (!PyErr_Occurred())
        PyErr_NoMemory();
    free(found);
    buffers_release(&held);
    return returned;
}

/* For tests, which must reach the portable code on a processor that has the instructions. */
static PyObject *kernel_use_sha_instructions(PyObject *module, PyObject *wanted)
{
    (void)module;
    long choice = PyLong_AsLong(wanted);
    if (choice == -1 && PyErr_Occurred())
        return NULL;
    return PyBool_FromLong(choose_sha256((enum sha256_choice)choice));
}

static PyObject *kernel_uses_sha_instructions(PyObject *module, PyObject *nothing)
{
    (void)module;
    (void)nothing;
    return PyBool_FromLong(compress != compress_portable || side_by_side);
}

static PyObject *import_attribute(const char *module_name, const char *name)
{
    PyObject *module = PyImport_ImportModule(module_name);
    PyObject *attribute = module ? PyObject_GetAttrString(module, name) : NULL;
    Py_XDECREF(module);
    return attribute;
}

static int module_execute(PyObject *module)
{
    module_state *state = PyModule_GetState(module);
    choose_sha256(BEST);
    state->explain = import_attribute("lineage_ledger._kernel_checks", "explain");
    state->explain_strict = import_attribute("lineage_ledger._kernel_checks", "explain_strict");
    state->malformed_error = import_attribute("lineage_ledger.errors", "MalformedError");
    return state->explain && state->explain_strict && state->malformed_error ? 0 : -1;
}

static int module_traverse(PyObject *module, visitproc visit, void *arg)
{
    module_state *state = PyModule_GetState(module);
    Py_VISIT(state->explain);
    Py_VISIT(state->explain_strict);
    Py_VISIT(state->strict_bytes);
    Py_VISIT(state->malformed_error);
    return 0;
}

static int module_clear(PyObject *module)
{
    module_state *state = PyModule_GetState(module);
    Py_CLEAR(state->explain);
    Py_CLEAR(state->explain_strict);
    Py_CLEAR(state->strict_bytes);
    Py_CLEAR(state->malformed_error);
    return 0;
}

static void module_free(void *module)
{
    module_state *state = PyModule_GetState(module);
    module_clear(module);
    if (state)
        free(state->strict);
}

/* Walks the length fields alone: the sequencer asks for every 256th entry of a whole group. */
static PyObject *kernel_entry_offsets(PyObject *module, PyObject *args)
{
    module_state *state = PyModule_GetState(module);
    PyObject *object;
    Py_ssize_t first, step;
    if (!PyArg_ParseTuple(args, "Onn:entry_offsets", &object, &first, &step))
        return NULL;
    if (first < 0 || step < 1) {
        PyErr_SetString(state->malformed_error, "first must be at least 0 and step at least 1");
        return NULL;
    }
    packed_entries p;
    if (packed_hold(&p, state, object, PY_SSIZE_T_MAX) < 0)
        return NULL;
    PyObject *offsets = PyList_New(0);
    size_t offset = 0;
    Py_ssize_t wanted = first, place = 0;
    for (; offsets; place++) {
        if (place == wanted) {
            PyObject *found = PyLong_FromSize_t(offset);
            if (!found || PyList_Append(offsets, found) < 0)
                Py_CLEAR(offsets);
            Py_XDECREF(found);
            wanted = wanted > PY_SSIZE_T_MAX - step ? PY_SSIZE_T_MAX : wanted + step;
        }
        if (offset == p.size)
            break;
        size_t left = p.size - offset;
        size_t entry = left < 2 ? 0 : (size_t)p.data[offset] << 8 | p.data[offset + 1];
        if (left < 2 || left - 2 < entry) {
            Py_CLEAR(offsets);
            PyErr_Format(state->malformed_error, "the packed bytes end inside entry %zd", place);
            break;
        }
        offset += 2 + entry;
    }
    packed_release(&p);
    return offsets;
}

static PyMethodDef methods[] = {
    {"learn_strict", kernel_learn_strict, METH_O, "See lineage_ledger.kernel.learn_strict."},
    {"check_strict", (PyCFunction)(void (*)(void))kernel_check_strict, METH_FASTCALL,
     "See lineage_ledger.kernel.check_strict."},
    {"scan", kernel_scan, METH_O, "See lineage_ledger.kernel.scan."},
    {"scan_batch", kernel_scan_batch, METH_O, "See lineage_ledger.kernel.scan_batch."},
    {"leaf_hashes", kernel_leaf_hashes, METH_O, "See lineage_ledger.kernel.leaf_hashes."},
    {"entry_offsets", kernel_entry_offsets, METH_VARARGS, "See lineage_ledger.kernel.entry_offsets."},
    {"tree_root", kernel_tree_root, METH_O, "See lineage_ledger.kernel.tree_root."},
    {"tile_roots", kernel_tile_roots, METH_O, "See lineage_ledger.kernel.tile_roots."},
    {"request_id_rows", kernel_request_id_rows, METH_VARARGS, "See lineage_ledger.kernel.request_id_rows."},
    {"merge_rows", kernel_merge_rows, METH_O, "See lineage_ledger.kernel.merge_rows."},
    {"find_rows", kernel_find_rows, METH_VARARGS, "See lineage_ledger.kernel.find_rows."},
    {"uses_sha_instructions", kernel_uses_sha_instructions, METH_NOARGS, "See lineage_ledger.kernel.describe."},
    {"_use_sha_instructions", kernel_use_sha_instructions, METH_O, "For tests: 0 no, 1 yes, 2 not AVX-512; whether any are used."},
    {NULL, NULL, 0, NULL},
};

static PyModuleDef_Slot slots[] = {{Py_mod_exec, module_execute}, {0, NULL}};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT,
    .m_name = "lineage_ledger._kernel",
    .m_doc = "The batch kernel in C.",
    .m_size = sizeof(module_state),
    .m_methods = methods,
    .m_slots = slots,
    .m_traverse = module_traverse,
    .m_clear = module_clear,
    .m_free = module_free,
};

PyMODINIT_FUNC PyInit__kernel(void) { return PyModuleDef_Init(&definition); }
