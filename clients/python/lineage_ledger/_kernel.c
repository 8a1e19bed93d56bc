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

typedef struct {
    PyObject *explain;         /* _kernel_checks.explain: always raises */
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

static PyObject *other_entries(const walk *w)
{
    Py_ssize_t count = 0;
    for (size_t place = 0; place < w->count; place++)
        count += !w->entries[place].binding_row;
    PyObject *others = PyTuple_New(count);
    if (!others)
        return NULL;
    count = 0;
    for (size_t place = 0; place < w->count; place++) {
        const entry *e = &w->entries[place];
        if (e->binding_row)
            continue;
        PyObject *other = Py_BuildValue("(nIH)", (Py_ssize_t)place, (unsigned)e->offset, (unsigned short)e->size);
        if (!other || PyTuple_SetItem(others, count++, other) < 0) {
            Py_DECREF(others);
            return NULL;
        }
    }
    return others;
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

static PyObject *hash_packed(PyObject *module, PyObject *object, int scan)
{
    module_state *state = PyModule_GetState(module);
    Py_ssize_t max_bytes = scan ? MAX_BATCH_BYTES : MAX_PACKED_BYTES;
    Py_ssize_t max_entries = scan ? MAX_BATCH_ENTRIES : MAX_PACKED_BYTES;
    packed_entries p;
    uint8_t *hashes = NULL;
    enum walk_result result;
    PyObject *returned = NULL;
    if (packed_hold(&p, state, object, max_bytes) < 0)
        return NULL;
    Py_BEGIN_ALLOW_THREADS
    result = walk_entries(&p.walk, p.data, p.size, (size_t)max_entries, scan);
    if (result == WALKED) {
        hashes = malloc(p.walk.count * HASH_SIZE + 1);
        if (hashes)
            hash_leaves(&p.walk, p.data, hashes);
        else
            result = NO_MEMORY;
    }
    Py_END_ALLOW_THREADS
    Py_ssize_t size = (Py_ssize_t)p.walk.count * HASH_SIZE;
    if (result != WALKED)
        packed_fail(&p, state, result, max_bytes, max_entries);
    else if (!scan)
        returned = PyBytes_FromStringAndSize((const char *)hashes, size);
    else {
        PyObject *counts = binding_counts(&p.walk), *others = counts ? other_entries(&p.walk) : NULL;
        if (others)
            returned = Py_BuildValue("(ny#OKKO)", (Py_ssize_t)p.walk.count, (const char *)hashes, size, counts,
                                     (unsigned long long)p.walk.earliest, (unsigned long long)p.walk.latest, others);
        Py_XDECREF(counts);
        Py_XDECREF(others);
    }
    free(hashes);
    packed_release(&p);
    return returned;
}

static PyObject *kernel_scan(PyObject *module, PyObject *packed) { return hash_packed(module, packed, 1); }

static PyObject *kernel_leaf_hashes(PyObject *module, PyObject *packed) { return hash_packed(module, packed, 0); }

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
    Py_BEGIN_ALLOW_THREADS
    any_root(view.buf, (size_t)view.len / HASH_SIZE, root);
    Py_END_ALLOW_THREADS
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
        Py_BEGIN_ALLOW_THREADS
        for (size_t tile = 0; tile < tiles; tile++)
            small_root(hashes + tile * TILE_WIDTH * HASH_SIZE, TILE_WIDTH, root + tile * HASH_SIZE);
        Py_END_ALLOW_THREADS
    }
    PyBuffer_Release(&view);
    return roots;
}

static PyObject *kernel_request_id_rows(PyObject *module, PyObject *arguments)
{
    module_state *state = PyModule_GetState(module);
    PyObject *object, *number, *returned = NULL;
    if (!PyArg_ParseTuple(arguments, "OO:request_id_rows", &object, &number))
        return NULL;
    number = PyNumber_Index(number);
    if (!number)
        return NULL;
    long long first_offset = PyLong_AsLongLong(number);
    Py_DECREF(number);
    if (first_offset == -1 && PyErr_Occurred())
        PyErr_Clear(); /* beyond 64 bits, so out of range like -1 */
    packed_entries p;
    uint8_t *rows = NULL;
    size_t count = 0;
    int in_range = 0;
    enum walk_result result;
    if (packed_hold(&p, state, object, MAX_PACKED_BYTES) < 0)
        return NULL;
    Py_BEGIN_ALLOW_THREADS
    result = walk_entries(&p.walk, p.data, p.size, MAX_PACKED_BYTES, 1);
    in_range = first_offset >= 0 && first_offset <= MAX_OFFSET && p.walk.count <= (size_t)(MAX_OFFSET - first_offset);
    if (result == WALKED && in_range) {
        rows = malloc(2 * p.walk.count * ROW_SIZE + 1);
        if (rows)
            count = make_rows(&p.walk, p.data, (uint32_t)first_offset, rows);
        else
            result = NO_MEMORY;
    }
    Py_END_ALLOW_THREADS
    if (result != WALKED)
        packed_fail(&p, state, result, MAX_PACKED_BYTES, MAX_PACKED_BYTES);
    else if (!in_range)
        PyErr_Format(state->malformed_error, "first_offset and the offsets of all entries must lie in [0, %d)",
                     MAX_OFFSET);
    else
        returned = PyBytes_FromStringAndSize((const char *)rows, (Py_ssize_t)count * ROW_SIZE);
    free(rows);
    packed_release(&p);
    return returned;
}

/* Check the runs held in `views` and merge them. `heap` has room for `count` cursors. */
static PyObject *merge_held(module_state *state, const Py_buffer *views, Py_ssize_t count, cursor *heap)
{
    Py_ssize_t size = 0, unsorted = -1;
    size_t cursors = 0;
    for (Py_ssize_t i = 0; i < count; i++) {
        if (views[i].len > (Py_ssize_t)MAX_MERGED_ROWS * ROW_SIZE - size)
            return PyErr_Format(state->malformed_error, "more than %d rows to merge; merge fewer runs at once",
                                MAX_MERGED_ROWS);
        size += views[i].len;
    }
    for (Py_ssize_t i = 0; i < count && unsorted < 0; i++) {
        const uint8_t *rows = views[i].buf;
        if (views[i].len % ROW_SIZE)
            return PyErr_Format(state->malformed_error, "run %zd is %zd bytes long, which is not a multiple of %d", i,
                                views[i].len, ROW_SIZE);
        Py_BEGIN_ALLOW_THREADS
        if (!is_sorted(rows, (size_t)views[i].len / ROW_SIZE))
            unsorted = i;
        Py_END_ALLOW_THREADS
        if (views[i].len)
            heap[cursors++] = (cursor){rows, rows + views[i].len};
    }
    if (unsorted >= 0)
        return PyErr_Format(state->malformed_error, "run %zd is not sorted", unsorted);
    PyObject *merged = PyBytes_FromStringAndSize(NULL, size);
    uint8_t *out = merged ? (uint8_t *)PyBytes_AsString(merged) : NULL;
    if (out) {
        Py_BEGIN_ALLOW_THREADS
        merge(heap, cursors, out);
        Py_END_ALLOW_THREADS
    }
    return merged;
}

static PyObject *kernel_merge_rows(PyObject *module, PyObject *runs)
{
    PyObject *items = PySequence_Tuple(runs), *returned = NULL;
    if (!items)
        return NULL;
    Py_ssize_t count = PyTuple_Size(items), held = 0;
    Py_buffer *views = calloc((size_t)count + 1, sizeof *views);
    cursor *heap = calloc((size_t)count + 1, sizeof *heap);
    if (!views || !heap)
        PyErr_NoMemory();
    else {
        while (held < count && PyObject_GetBuffer(PyTuple_GetItem(items, held), &views[held], PyBUF_SIMPLE) == 0)
            held++;
        if (held == count)
            returned = merge_held(PyModule_GetState(module), views, count, heap);
    }
    while (held-- > 0)
        PyBuffer_Release(&views[held]);
    free(heap);
    free(views);
    Py_DECREF(items);
    return returned;
}

/* For tests, which must reach the portable code on a processor that has the instructions. */
static PyObject *kernel_use_sha_instructions(PyObject *module, PyObject *wanted)
{
    (void)module;
    int want = PyObject_IsTrue(wanted);
    return want < 0 ? NULL : PyBool_FromLong(choose_compress(want));
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
    choose_compress(1);
    state->explain = import_attribute("lineage_ledger._kernel_checks", "explain");
    state->malformed_error = import_attribute("lineage_ledger.errors", "MalformedError");
    return state->explain && state->malformed_error ? 0 : -1;
}

static int module_traverse(PyObject *module, visitproc visit, void *arg)
{
    module_state *state = PyModule_GetState(module);
    Py_VISIT(state->explain);
    Py_VISIT(state->malformed_error);
    return 0;
}

static int module_clear(PyObject *module)
{
    module_state *state = PyModule_GetState(module);
    Py_CLEAR(state->explain);
    Py_CLEAR(state->malformed_error);
    return 0;
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
    {"scan", kernel_scan, METH_O, "See lineage_ledger.kernel.scan."},
    {"leaf_hashes", kernel_leaf_hashes, METH_O, "See lineage_ledger.kernel.leaf_hashes."},
    {"entry_offsets", kernel_entry_offsets, METH_VARARGS, "See lineage_ledger.kernel.entry_offsets."},
    {"tree_root", kernel_tree_root, METH_O, "See lineage_ledger.kernel.tree_root."},
    {"tile_roots", kernel_tile_roots, METH_O, "See lineage_ledger.kernel.tile_roots."},
    {"request_id_rows", kernel_request_id_rows, METH_VARARGS, "See lineage_ledger.kernel.request_id_rows."},
    {"merge_rows", kernel_merge_rows, METH_O, "See lineage_ledger.kernel.merge_rows."},
    {"_use_sha_instructions", kernel_use_sha_instructions, METH_O, "For tests: whether to use them; whether they are."},
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
};

PyMODINIT_FUNC PyInit__kernel(void) { return PyModuleDef_Init(&definition); }
