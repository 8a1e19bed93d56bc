/* Commitments in C, Python's side: what `_emit_python.py` does, with the same results and the same refusals.
 *
 * The work is in `_kernel_hmac.h`. Buffers are held for a call, so that nobody can resize them; one that is written to
 * meanwhile gives a commitment to who knows what, which is its owner's doing.
 */
#include "_kernel_emit.h"

#include <stdlib.h>

#include "_kernel_hmac.h"

/* Hashing less than this takes less time than letting another thread run. */
#define SHORT_BYTES 4096

static PyObject *kernel_hmac_sha256(PyObject *module, PyObject *const *arguments, Py_ssize_t count)
{
    (void)module;
    Py_buffer key, value;
    uint8_t code[HASH_SIZE];
    if (count != 2)
        return PyErr_Format(PyExc_TypeError, "hmac_sha256 takes a key and a value, not %zd arguments", count);
    if (PyObject_GetBuffer(arguments[0], &key, PyBUF_SIMPLE) < 0)
        return NULL;
    if (PyObject_GetBuffer(arguments[1], &value, PyBUF_SIMPLE) < 0) {
        PyBuffer_Release(&key);
        return NULL;
    }
    piece held = {value.buf, (size_t)value.len};
    if (value.len <= SHORT_BYTES)
        hmac_one(key.buf, (size_t)key.len, held, code);
    else {
        Py_BEGIN_ALLOW_THREADS
        hmac_one(key.buf, (size_t)key.len, held, code);
        Py_END_ALLOW_THREADS
    }
    PyBuffer_Release(&value);
    PyBuffer_Release(&key);
    return PyBytes_FromStringAndSize((const char *)code, HASH_SIZE);
}

/* Pieces held for a call: a sequence of buffers, or one buffer that is cut into equal rows. */
typedef struct {
    Py_buffer *views;
    Py_ssize_t held;
    piece *pieces;
    size_t longest, total;
} held_pieces;

static void pieces_release(held_pieces *h)
{
    while (h->held > 0)
        PyBuffer_Release(&h->views[--h->held]);
    free(h->views);
    free(h->pieces);
}

static int pieces_hold_each(held_pieces *h, PyObject *object, Py_ssize_t count)
{
    PyObject *items = PySequence_Tuple(object); /* of its own, so that no other thread can shorten it */
    if (!items)
        return -1;
    int fits = PyTuple_Size(items) == count;
    if (!fits)
        PyErr_Format(PyExc_ValueError, "there are %zd of them, not %zd", PyTuple_Size(items), count);
    while (fits && h->held < count &&
           PyObject_GetBuffer(PyTuple_GetItem(items, h->held), &h->views[h->held], PyBUF_SIMPLE) == 0) {
        const Py_buffer *view = &h->views[h->held];
        h->pieces[h->held++] = (piece){view->buf, (size_t)view->len};
    }
    Py_DECREF(items); /* the views keep what they are of */
    return fits && h->held == count ? 0 : -1;
}

static int pieces_hold_rows(held_pieces *h, PyObject *object, Py_ssize_t count)
{
    if (PyObject_GetBuffer(object, &h->views[0], PyBUF_SIMPLE) < 0)
        return -1;
    h->held = 1;
    Py_ssize_t size = h->views[0].len;
    if (count ? size % count : size) {
        PyErr_Format(PyExc_ValueError, "%zd bytes are not %zd rows of one length", size, count);
        return -1;
    }
    for (Py_ssize_t i = 0; i < count; i++)
        h->pieces[i] = (piece){(const uint8_t *)h->views[0].buf + i * (size / count), (size_t)(size / count)};
    return 0;
}

/* Released by the caller, however it ends. */
static int pieces_hold(held_pieces *h, PyObject *object, Py_ssize_t count)
{
    h->views = calloc((size_t)count + 1, sizeof *h->views);
    h->pieces = calloc((size_t)count + 1, sizeof *h->pieces);
    if (!h->views || !h->pieces) {
        PyErr_NoMemory();
        return -1;
    }
    if ((PyObject_CheckBuffer(object) ? pieces_hold_rows : pieces_hold_each)(h, object, count) < 0)
        return -1;
    for (Py_ssize_t i = 0; i < count; i++) {
        h->total += h->pieces[i].size;
        if (h->pieces[i].size > h->longest)
            h->longest = h->pieces[i].size;
    }
    return 0;
}

static PyObject *kernel_commitments(PyObject *module, PyObject *arguments)
{
    (void)module;
    PyObject *counters_object, *values_object, *commitments = NULL;
    const char *key, *context;
    Py_ssize_t key_size, context_size, count;
    if (!PyArg_ParseTuple(arguments, "y#y#OOn:commitments", &key, &key_size, &context, &context_size, &counters_object,
                          &values_object, &count))
        return NULL;
    if (count < 0 || count > PY_SSIZE_T_MAX / (Py_ssize_t)sizeof(Py_buffer) - 1)
        return PyErr_Format(PyExc_ValueError, "there cannot be %zd of them", count);
    held_pieces counters = {0}, values = {0};
    if (pieces_hold(&counters, counters_object, count) == 0 && pieces_hold(&values, values_object, count) == 0 &&
        (commitments = PyBytes_FromStringAndSize(NULL, count * HASH_SIZE))) {
        uint8_t *hashes = (uint8_t *)PyBytes_AsString(commitments);
        size_t longest = (size_t)context_size + counters.longest;
        uint8_t *scratch = longest > SIZE_MAX / MESSAGES - 1 ? NULL : malloc(MESSAGES * longest + 1);
        if (scratch) {
            hmac_key period;
            Py_BEGIN_ALLOW_THREADS
            hmac_key_set(&period, (const uint8_t *)key, (size_t)key_size);
            commit_pieces(&period, (piece){(const uint8_t *)context, (size_t)context_size}, counters.pieces,
                          values.pieces, (size_t)count, scratch, hashes);
            wipe(&period, sizeof period);
            Py_END_ALLOW_THREADS
        } else {
            Py_CLEAR(commitments);
            PyErr_NoMemory();
        }
        free(scratch);
    }
    pieces_release(&values);
    pieces_release(&counters);
    return commitments;
}

/* For tests, which must reach the portable code on a processor that has the instructions. */
static PyObject *kernel_use_sha_instructions(PyObject *module, PyObject *wanted)
{
    (void)module;
    int want = PyObject_IsTrue(wanted);
    return want < 0 ? NULL : PyBool_FromLong(choose_compress(want));
}

static PyMethodDef functions[] = {
    {"hmac_sha256", (PyCFunction)(void (*)(void))kernel_hmac_sha256, METH_FASTCALL,
     "See lineage_ledger.emit_kernel.hmac_sha256."},
    {"commitments", kernel_commitments, METH_VARARGS, "See lineage_ledger.emit_kernel.commitments."},
    {"_use_sha_instructions", kernel_use_sha_instructions, METH_O, "For tests: whether to use them; whether they are."},
    {NULL, NULL, 0, NULL},
};

int add_commitments(PyObject *module)
{
    choose_compress(1);
    return PyModule_AddFunctions(module, functions);
}
