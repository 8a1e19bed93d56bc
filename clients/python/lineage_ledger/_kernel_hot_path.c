/* The hot path of `emit` in C: a ring that threads leave packed predictions in, and what packs them there.
 *
 * Python's side of `_kernel_queue.h` and `_kernel_packing.h`; what is out of the ordinary is left to Python
 * (`emitter/byte_ring.py`, `emitter/binding.py`). There is no lock: the interpreter's is one. Between the moment that
 * a ring is looked at and the moment that an entry has its number and lies in the ring, nothing here calls into the
 * interpreter, so no other thread, no signal handler and no finaliser comes between. An interpreter without that lock
 * does not load extensions of the limited API, and falls back to Python.
 */
#include "_kernel_emit.h"

#include <time.h>

#include "_kernel_queue.h"

#define MAX_CAPACITY (1 << 24)
#define NANOSECONDS 1000000000

typedef struct {
    PyTypeObject *ring, *lane, *packer;
    newfunc new_tuple;
} types;

/* Arguments of `emit`, in the order of its signature; the first two may be given by position. */
enum { INPUT, OUTPUT, REQUEST_ID, START_TIME, DURATION, STATUS_CODE, ARGUMENTS, BY_POSITION = 2 };

static const char *const argument_names[ARGUMENTS] = {
    "input_commitment", "output_commitment", "request_id", "start_time_unix_ns", "duration_us", "status_code",
};

typedef struct {
    PyObject_HEAD
    queue queue;
    PyObject *chain_id; /* bytes */
    PyObject *attend;   /* called after an entry was left that must be told of */
    char attention, closed, drops;
    uint64_t beyond; /* numbers that were given out after it was closed, and do not count */
} ring_object;

typedef struct {
    PyObject_HEAD
    ring_object *ring;       /* NULL until it is set */
    PyObject *prediction_id; /* the class */
    PyObject *names[ARGUMENTS];
    PyTypeObject *ring_type;
    newfunc new_tuple;
} lane_object;

typedef struct {
    PyObject_HEAD
    lane_object *lane;
    unsigned char row;
} packer_object;

/* What the module keeps, asked of one of its types or of a subclass. */
static types *types_of(PyTypeObject *type)
{
    for (; type; type = PyType_GetSlot(type, Py_tp_base)) {
        PyObject *module = PyType_GetModule(type);
        if (module)
            return PyModule_GetState(module);
        PyErr_Clear();
    }
    PyErr_SetString(PyExc_SystemError, "a type of the emitter's has lost its module");
    return NULL;
}

static PyObject *allocate(PyTypeObject *type) { return ((allocfunc)PyType_GetSlot(type, Py_tp_alloc))(type, 0); }

static void deallocate(PyObject *self)
{
    PyTypeObject *type = Py_TYPE(self);
    ((freefunc)PyType_GetSlot(type, Py_tp_free))(self);
    Py_DECREF(type);
}

/* -- the ring ---------------------------------------------------------------------------------------------------- */

static PyObject *ring_new(PyTypeObject *type, PyObject *arguments, PyObject *keywords)
{
    PyObject *chain_id, *attend;
    Py_ssize_t capacity, batch_entries, batch_bytes;
    int drops;
    if (keywords && PyDict_Size(keywords))
        return PyErr_Format(PyExc_TypeError, "Ring takes no keyword arguments");
    if (!PyArg_ParseTuple(arguments, "SnnnOp:Ring", &chain_id, &capacity, &batch_entries, &batch_bytes, &attend, &drops))
        return NULL;
    if (capacity < 1 || capacity > MAX_CAPACITY || batch_entries < 1 || batch_entries > MAX_CAPACITY ||
        batch_bytes < MAX_FRAMED_ENTRY || batch_bytes > INT32_MAX)
        return PyErr_Format(PyExc_ValueError, "a ring of %zd entries, in batches of %zd and %zd bytes, cannot be",
                            capacity, batch_entries, batch_bytes);
    ring_object *self = (ring_object *)allocate(type);
    if (!self)
        return NULL;
    self->queue.capacity = (size_t)capacity;
    self->queue.batch_entries = (size_t)batch_entries;
    self->queue.batch_bytes = (size_t)batch_bytes;
    self->chain_id = Py_NewRef(chain_id);
    self->attend = Py_NewRef(attend);
    self->attention = 1;
    self->drops = (char)drops;
    return (PyObject *)self;
}

static int ring_traverse(ring_object *self, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE((PyObject *)self));
    Py_VISIT(self->attend);
    return 0;
}

static int ring_clear(ring_object *self)
{
    Py_CLEAR(self->attend);
    return 0;
}

static void ring_dealloc(ring_object *self)
{
    PyObject_GC_UnTrack(self);
    ring_clear(self);
    Py_CLEAR(self->chain_id);
    queue_free(&self->queue);
    deallocate((PyObject *)self);
}

/* Tell whoever must know that an entry was left; -1, with an exception, if they raise one. */
static int ring_call(ring_object *self)
{
    if (!self->attend)
        return 0; /* the ring is being collected */
    PyObject *attend = Py_NewRef(self->attend); /* what it does may drop the ring */
    PyObject *returned = PyObject_CallNoArgs(attend);
    Py_DECREF(attend);
    Py_XDECREF(returned);
    return returned ? 0 : -1;
}

static PyObject *ring_place(ring_object *self, PyObject *framed)
{
    char *data;
    Py_ssize_t size;
    if (PyBytes_AsStringAndSize(framed, &data, &size) < 0)
        return NULL;
    if (size < 3 || size > MAX_FRAMED_ENTRY)
        return PyErr_Format(PyExc_ValueError, "a framed entry has 3 to %d bytes, not %zd", MAX_FRAMED_ENTRY, size);
    uint8_t *to = self->closed ? NULL : queue_room(&self->queue, (size_t)size);
    if (!to)
        return PyLong_FromLong(-1);
    memcpy(to, data, (size_t)size);
    return PyLong_FromUnsignedLongLong(queue_placed(&self->queue, (size_t)size));
}

static PyObject *ring_lose(ring_object *self, PyObject *unused)
{
    (void)unused;
    uint64_t number = self->queue.next_number;
    if (self->closed)
        number += self->beyond++; /* it leads nowhere; nobody seals it any more */
    else if (queue_lose(&self->queue, 1) < 0)
        return PyErr_NoMemory();
    return PyLong_FromUnsignedLongLong(number);
}

/* Objects of a batch that is out of the queue: making them may run finalisers, and these may emit. */
static PyObject *describe_batch(const batch *b, uint64_t end)
{
    PyObject *lost = PyList_New((Py_ssize_t)b->lost_count);
    for (size_t i = 0; lost && i < b->lost_count; i++) {
        PyObject *range =
            Py_BuildValue("(KK)", (unsigned long long)b->lost[i].first, (unsigned long long)b->lost[i].end);
        if (!range || PyList_SetItem(lost, (Py_ssize_t)i, range) < 0)
            Py_CLEAR(lost);
    }
    if (!lost)
        return NULL;
    return Py_BuildValue("(KKy#nN)", (unsigned long long)b->first_number, (unsigned long long)end,
                         (const char *)b->data, (Py_ssize_t)b->size, (Py_ssize_t)b->count, lost);
}

static PyObject *ring_take_batch(ring_object *self, PyObject *unused)
{
    (void)unused;
    uint64_t end;
    batch *b = queue_take(&self->queue, &end);
    if (!b)
        return Py_NewRef(Py_None);
    PyObject *taken = describe_batch(b, end);
    if (taken)
        queue_give_back(&self->queue, b);
    else
        queue_restore(&self->queue, b);
    return taken;
}

static PyObject *ring_taken(ring_object *self, PyObject *unused)
{
    (void)unused;
    return PyLong_FromUnsignedLongLong(self->queue.next_number);
}

static PyObject *ring_has_batch(ring_object *self, PyObject *unused)
{
    (void)unused;
    return PyBool_FromLong(queue_has_batch(&self->queue));
}

static PyObject *ring_close(ring_object *self, PyObject *unused)
{
    (void)unused;
    if (!self->closed) {
        self->closed = 1;
        self->attention = 1;
    }
    return Py_NewRef(Py_None);
}

static PyObject *ring_get_chain_id(ring_object *self, void *closure)
{
    (void)closure;
    return Py_NewRef(self->chain_id);
}

static PyObject *ring_get_drained(ring_object *self, void *closure)
{
    (void)closure;
    return PyLong_FromUnsignedLongLong(self->queue.drained);
}

static PyObject *ring_get_lost_count(ring_object *self, void *closure)
{
    (void)closure;
    return PyLong_FromUnsignedLongLong(self->queue.lost);
}

static PyObject *get_flag(PyObject *self, void *offset) { return PyBool_FromLong(*((char *)self + (size_t)offset)); }

static int set_flag(PyObject *self, PyObject *value, void *offset)
{
    int wanted = value ? PyObject_IsTrue(value) : 0;
    if (wanted < 0)
        return -1;
    *((char *)self + (size_t)offset) = (char)wanted;
    return 0;
}

#define FLAG(name) (void *)offsetof(ring_object, name)

static PyGetSetDef ring_getset[] = {
    {"chain_id", (getter)ring_get_chain_id, NULL, "16 bytes.", NULL},
    {"drained", (getter)ring_get_drained, NULL, "Numbers below were cut.", NULL},
    {"lost_count", (getter)ring_get_lost_count, NULL, "How many numbers were declared lost.", NULL},
    {"closed", get_flag, NULL, "Whether it takes no more.", FLAG(closed)},
    {"attention", get_flag, set_flag, "Whether `attend` is called for each entry, not only for one that ends a batch.",
     FLAG(attention)},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyMethodDef ring_methods[] = {
    {"try_place", (PyCFunction)ring_place, METH_O, "Leave a framed entry; its number, -1 if there is no room."},
    {"lose", (PyCFunction)ring_lose, METH_NOARGS, "Declare a new number lost; returns it."},
    {"take_batch", (PyCFunction)ring_take_batch, METH_NOARGS,
     "What waits at the front as (first number, next number, packed, entries, lost); None if nothing does."},
    {"taken", (PyCFunction)ring_taken, METH_NOARGS, "How many numbers were given out before it was closed."},
    {"has_batch", (PyCFunction)ring_has_batch, METH_NOARGS, "Whether a batch waits that is full."},
    {"close", (PyCFunction)ring_close, METH_NOARGS, "Take no more entries."},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot ring_slots[] = {
    {Py_tp_new, ring_new},
    {Py_tp_dealloc, ring_dealloc},
    {Py_tp_traverse, ring_traverse},
    {Py_tp_clear, ring_clear},
    {Py_tp_methods, ring_methods},
    {Py_tp_getset, ring_getset},
    {Py_tp_doc, "Ring(chain_id, capacity, batch_entries, batch_bytes, attend, drops)"},
    {0, NULL},
};

static PyType_Spec ring_spec = {
    .name = "lineage_ledger._kernel_emit.Ring",
    .basicsize = sizeof(ring_object),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_GC,
    .slots = ring_slots,
};

/* -- the lane: where packers find the ring to use now -------------------------------------------------------------- */

static PyObject *lane_new(PyTypeObject *type, PyObject *arguments, PyObject *keywords)
{
    PyObject *prediction_id;
    types *known = types_of(type);
    if (keywords && PyDict_Size(keywords))
        return PyErr_Format(PyExc_TypeError, "Lane takes no keyword arguments");
    if (!known || !PyArg_ParseTuple(arguments, "O!:Lane", &PyType_Type, &prediction_id))
        return NULL;
    if (!PyType_IsSubtype((PyTypeObject *)prediction_id, &PyTuple_Type))
        return PyErr_Format(PyExc_TypeError, "a prediction's id is a tuple");
    lane_object *self = (lane_object *)allocate(type);
    if (!self)
        return NULL;
    self->prediction_id = Py_NewRef(prediction_id);
    self->ring_type = (PyTypeObject *)Py_NewRef((PyObject *)known->ring);
    self->new_tuple = known->new_tuple;
    for (int i = 0; i < ARGUMENTS; i++)
        if (!(self->names[i] = PyUnicode_InternFromString(argument_names[i]))) {
            Py_DECREF((PyObject *)self);
            return NULL;
        }
    return (PyObject *)self;
}

static int lane_traverse(lane_object *self, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE((PyObject *)self));
    Py_VISIT(self->ring);
    Py_VISIT(self->prediction_id);
    Py_VISIT(self->ring_type);
    return 0;
}

static int lane_clear(lane_object *self)
{
    Py_CLEAR(self->ring);
    return 0;
}

static void lane_dealloc(lane_object *self)
{
    PyObject_GC_UnTrack(self);
    lane_clear(self);
    Py_CLEAR(self->prediction_id);
    Py_CLEAR(self->ring_type);
    for (int i = 0; i < ARGUMENTS; i++)
        Py_CLEAR(self->names[i]);
    deallocate((PyObject *)self);
}

static PyObject *lane_get_ring(lane_object *self, void *closure)
{
    (void)closure;
    if (!self->ring)
        return PyErr_Format(PyExc_AttributeError, "the lane has no ring yet");
    return Py_NewRef((PyObject *)self->ring);
}

static int lane_set_ring(lane_object *self, PyObject *value, void *closure)
{
    (void)closure;
    if (!value || !PyObject_TypeCheck(value, self->ring_type)) {
        PyErr_SetString(PyExc_TypeError, "a lane's ring is a Ring");
        return -1;
    }
    ring_object *before = self->ring;
    self->ring = (ring_object *)Py_NewRef(value);
    Py_XDECREF((PyObject *)before);
    return 0;
}

static PyGetSetDef lane_getset[] = {
    {"ring", (getter)lane_get_ring, (setter)lane_set_ring, "The ring to use now.", NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyType_Slot lane_slots[] = {
    {Py_tp_new, lane_new},
    {Py_tp_dealloc, lane_dealloc},
    {Py_tp_traverse, lane_traverse},
    {Py_tp_clear, lane_clear},
    {Py_tp_getset, lane_getset},
    {Py_tp_doc, "Lane(prediction_id_class)"},
    {0, NULL},
};

static PyType_Spec lane_spec = {
    .name = "lineage_ledger._kernel_emit.Lane",
    .basicsize = sizeof(lane_object),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_GC,
    .slots = lane_slots,
};

/* -- what packs ---------------------------------------------------------------------------------------------------- */

static PyObject *packer_new(PyTypeObject *type, PyObject *arguments, PyObject *keywords)
{
    PyObject *lane;
    int row;
    types *known = types_of(type);
    if (keywords && PyDict_Size(keywords))
        return PyErr_Format(PyExc_TypeError, "Packer takes no keyword arguments");
    if (!known || !PyArg_ParseTuple(arguments, "Oi:Packer", &lane, &row))
        return NULL;
    if (!PyObject_TypeCheck(lane, known->lane))
        return PyErr_Format(PyExc_TypeError, "a packer needs a lane");
    if (row < 1 || row > 255)
        return PyErr_Format(PyExc_ValueError, "a binding row is 1 to 255, not %d", row);
    packer_object *self = (packer_object *)allocate(type);
    if (self) {
        self->lane = (lane_object *)Py_NewRef(lane);
        self->row = (unsigned char)row;
    }
    return (PyObject *)self;
}

static int packer_traverse(packer_object *self, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE((PyObject *)self));
    Py_VISIT(self->lane);
    return 0;
}

static void packer_dealloc(packer_object *self)
{
    PyObject_GC_UnTrack(self);
    Py_CLEAR(self->lane);
    deallocate((PyObject *)self);
}

/* Sort the arguments of a call into their places; -1, with an exception, for those that `emit` does not take. */
static int sort_arguments(const lane_object *lane, PyObject *const *arguments, Py_ssize_t count, PyObject *keywords,
                          PyObject *sorted[ARGUMENTS])
{
    if (count > BY_POSITION) {
        PyErr_Format(PyExc_TypeError, "emit() takes 2 positional arguments, not %zd; name the others", count);
        return -1;
    }
    for (Py_ssize_t i = 0; i < count; i++)
        sorted[i] = arguments[i];
    Py_ssize_t named = keywords ? PyTuple_Size(keywords) : 0;
    for (Py_ssize_t i = 0; i < named; i++) {
        PyObject *name = PyTuple_GetItem(keywords, i);
        int place = 0;
        while (place < ARGUMENTS && name != lane->names[place])
            place++;
        for (int j = 0; place == ARGUMENTS && j < ARGUMENTS; j++) /* a name that is not interned */
            if (PyUnicode_Compare(name, lane->names[j]) == 0)
                place = j;
        if (place == ARGUMENTS || sorted[place]) {
            PyErr_Format(PyExc_TypeError, "emit() got %s argument '%U'",
                         place == ARGUMENTS ? "an unexpected keyword" : "a second value for", name);
            return -1;
        }
        sorted[place] = arguments[count + i];
    }
    if (!sorted[INPUT]) {
        PyErr_SetString(PyExc_TypeError, "emit() needs input_commitment");
        return -1;
    }
    return 0;
}

/* The bytes of plain `bytes`; NULL if it is something else. */
static inline const uint8_t *plain_bytes(PyObject *object, size_t *size)
{
    char *data;
    Py_ssize_t length;
    if (!Py_IS_TYPE(object, &PyBytes_Type) || PyBytes_AsStringAndSize(object, &data, &length) < 0)
        return NULL;
    *size = (size_t)length;
    return (const uint8_t *)data;
}

/* Whether it is a plain `int` below 2^64, or not there; calls nothing that is not the interpreter's own. */
static inline int plain_number(PyObject *object, uint64_t *value)
{
    *value = 0;
    if (!object)
        return 1;
    if (!Py_IS_TYPE(object, &PyLong_Type))
        return 0;
    *value = PyLong_AsUnsignedLongLong(object);
    if (*value == (uint64_t)-1 && PyErr_Occurred()) {
        PyErr_Clear();
        return 0;
    }
    return 1;
}

static uint64_t now_unix_ns(void)
{
    struct timespec now;
    if (clock_gettime(CLOCK_REALTIME, &now) != 0)
        return 0; /* not packable: Python says why */
    return (uint64_t)now.tv_sec * NANOSECONDS + (uint64_t)now.tv_nsec;
}

/* Read the arguments; whether they are of the usual types and may be packed. What is not is Python's to judge. */
static inline int read_prediction(const packer_object *self, PyObject *const sorted[ARGUMENTS], prediction *p)
{
    size_t size;
    p->binding_row = self->row;
    p->input = plain_bytes(sorted[INPUT], &size);
    if (!p->input || size != COMMITMENT_SIZE)
        return 0;
    p->output = NULL;
    if (sorted[OUTPUT]) {
        p->output = plain_bytes(sorted[OUTPUT], &size);
        if (!p->output || (size && size != COMMITMENT_SIZE))
            return 0;
        if (!size)
            p->output = NULL;
    }
    p->request_id = NULL;
    p->request_id_size = 0;
    if (sorted[REQUEST_ID] && !(p->request_id = plain_bytes(sorted[REQUEST_ID], &p->request_id_size)))
        return 0;
    if (!plain_number(sorted[START_TIME], &p->start_time_unix_ns) || !plain_number(sorted[DURATION], &p->duration_us) ||
        !plain_number(sorted[STATUS_CODE], &p->status_code))
        return 0;
    if (!p->start_time_unix_ns)
        p->start_time_unix_ns = now_unix_ns();
    return is_packable(p);
}

enum left { NOT_LEFT, LEFT, LOST };

/* Leave it in the ring, and give it its number; if the ring is full and drops, that number is lost. */
static inline enum left leave(ring_object *ring, const prediction *p, uint64_t *number)
{
    if (ring->closed)
        return NOT_LEFT;
    uint8_t *to = queue_room(&ring->queue, MAX_FRAMED_PREDICTION);
    if (to) {
        *number = queue_placed(&ring->queue, pack_prediction(p, to));
        return LEFT;
    }
    *number = ring->queue.next_number;
    return ring->drops && queue_lose(&ring->queue, 1) == 0 ? LOST : NOT_LEFT;
}

static PyObject *make_id(const lane_object *lane, PyObject *chain_id, uint64_t number, PyObject *input)
{
    char *data;
    Py_ssize_t size;
    PyObject *made = NULL;
    if (PyBytes_AsStringAndSize(input, &data, &size) < 0)
        return NULL;
    PyObject *number_object = PyLong_FromUnsignedLongLong(number);
    PyObject *prefix = PyBytes_FromStringAndSize(data, 4);
    /* Tuples that are never seen unfinished: a collection may run between any two of these lines. */
    PyObject *fields = number_object && prefix ? PyTuple_Pack(3, chain_id, number_object, prefix) : NULL;
    PyObject *arguments = fields ? PyTuple_Pack(1, fields) : NULL;
    if (arguments)
        made = lane->new_tuple((PyTypeObject *)lane->prediction_id, arguments, NULL);
    Py_XDECREF(number_object);
    Py_XDECREF(prefix);
    Py_XDECREF(fields);
    Py_XDECREF(arguments);
    return made;
}

static PyObject *emit_slowly(packer_object *self, PyObject *const sorted[ARGUMENTS])
{
    PyObject *values[ARGUMENTS], *returned = NULL;
    PyObject *nothing = PyBytes_FromStringAndSize(NULL, 0), *zero = PyLong_FromLong(0);
    PyObject *name = PyUnicode_FromString("emit_slowly");
    for (int i = 0; i < ARGUMENTS; i++)
        values[i] = sorted[i] ? sorted[i] : i <= REQUEST_ID ? nothing : zero;
    if (nothing && zero && name)
        returned = PyObject_CallMethodObjArgs((PyObject *)self, name, values[0], values[1], values[2], values[3],
                                              values[4], values[5], NULL);
    Py_XDECREF(name);
    Py_XDECREF(zero);
    Py_XDECREF(nothing);
    return returned;
}

static PyObject *packer_emit(packer_object *self, PyObject *const *arguments, Py_ssize_t count, PyObject *keywords)
{
    PyObject *sorted[ARGUMENTS] = {NULL};
    prediction p;
    uint64_t number;
    lane_object *lane = self->lane;
    if (sort_arguments(lane, arguments, count, keywords, sorted) < 0)
        return NULL;
    ring_object *ring = lane->ring;
    enum left left = ring && read_prediction(self, sorted, &p) ? leave(ring, &p, &number) : NOT_LEFT;
    if (left == NOT_LEFT)
        return emit_slowly(self, sorted);
    PyObject *chain_id = Py_NewRef(ring->chain_id), *made = NULL;
    int failed = 0;
    if (ring->attention || queue_has_ended_batch(&ring->queue))
        failed = ring_call(ring);
    if (!failed)
        made = make_id(lane, chain_id, number, sorted[INPUT]);
    Py_DECREF(chain_id);
    return made;
}

/* -- many at once -------------------------------------------------------------------------------------------------- */

/* Columns of one `emit_many`, held for a call. A view without an object is of a column that is not there. */
typedef struct {
    Py_buffer inputs, outputs, request_ids, starts, durations;
    PyObject *request_id_items; /* a tuple, borrowed; else the ids are in the buffer, or there are none */
    size_t rows, request_id_size;
    uint64_t start, duration, status_code; /* where there is no column */
    int unusual;                           /* a number among these is none that can be packed */
} columns;

static int hold_numbers(columns *c, Py_buffer *view, uint64_t *value, PyObject *object)
{
    if (!PyObject_CheckBuffer(object)) {
        c->unusual |= !plain_number(object, value);
        return 0;
    }
    if (PyObject_GetBuffer(object, view, PyBUF_SIMPLE) < 0)
        return -1;
    if ((size_t)view->len == c->rows * sizeof(int64_t))
        return 0;
    PyErr_Format(PyExc_ValueError, "%zd bytes are not %zu numbers of 8", view->len, c->rows);
    return -1;
}

static void columns_release(columns *c)
{
    PyBuffer_Release(&c->inputs);
    PyBuffer_Release(&c->outputs);
    PyBuffer_Release(&c->request_ids);
    PyBuffer_Release(&c->starts);
    PyBuffer_Release(&c->durations);
}

static int hold_request_ids(columns *c, PyObject *object)
{
    if (object == Py_None)
        return 0;
    if (PyTuple_Check(object)) {
        c->request_id_items = object;
        if ((size_t)PyTuple_Size(object) == c->rows)
            return 0;
        PyErr_Format(PyExc_ValueError, "there are %zd request ids, not %zu", PyTuple_Size(object), c->rows);
        return -1;
    }
    if (PyObject_GetBuffer(object, &c->request_ids, PyBUF_SIMPLE) < 0)
        return -1;
    c->request_id_size = c->rows ? (size_t)c->request_ids.len / c->rows : 0;
    if (c->request_id_size * c->rows == (size_t)c->request_ids.len)
        return 0;
    PyErr_Format(PyExc_ValueError, "%zd bytes are not %zu request ids", c->request_ids.len, c->rows);
    return -1;
}

/* Arguments: inputs, outputs, request ids, start times, durations, status code. Released by the caller in any case. */
static int columns_hold(columns *c, PyObject *const *arguments)
{
    if (PyObject_GetBuffer(arguments[0], &c->inputs, PyBUF_SIMPLE) < 0)
        return -1;
    c->rows = (size_t)c->inputs.len / COMMITMENT_SIZE;
    if (c->rows * COMMITMENT_SIZE != (size_t)c->inputs.len) {
        PyErr_Format(PyExc_ValueError, "%zd bytes are not commitments of %d bytes", c->inputs.len, COMMITMENT_SIZE);
        return -1;
    }
    if (PyObject_GetBuffer(arguments[1], &c->outputs, PyBUF_SIMPLE) < 0)
        return -1;
    if (c->outputs.len && c->outputs.len != c->inputs.len) {
        PyErr_Format(PyExc_ValueError, "output commitments of %zd bytes, input commitments of %zd", c->outputs.len,
                     c->inputs.len);
        return -1;
    }
    if (hold_request_ids(c, arguments[2]) < 0 || hold_numbers(c, &c->starts, &c->start, arguments[3]) < 0 ||
        hold_numbers(c, &c->durations, &c->duration, arguments[4]) < 0)
        return -1;
    c->unusual |= !plain_number(arguments[5], &c->status_code);
    return 0;
}

static int64_t number_at(const Py_buffer *view, size_t row)
{
    int64_t value;
    memcpy(&value, (const uint8_t *)view->buf + row * sizeof value, sizeof value);
    return value;
}

/* Read a row; whether it is of the usual types and may be packed. */
static inline int read_row(const columns *c, size_t row, uint64_t now, prediction *p)
{
    p->input = (const uint8_t *)c->inputs.buf + row * COMMITMENT_SIZE;
    p->output = c->outputs.len ? (const uint8_t *)c->outputs.buf + row * COMMITMENT_SIZE : NULL;
    p->request_id_size = c->request_id_size;
    p->request_id = c->request_id_size ? (const uint8_t *)c->request_ids.buf + row * c->request_id_size : NULL;
    if (c->request_id_items &&
        !(p->request_id = plain_bytes(PyTuple_GetItem(c->request_id_items, (Py_ssize_t)row), &p->request_id_size)))
        return 0;
    p->start_time_unix_ns = c->start;
    if (c->starts.obj) {
        int64_t start = number_at(&c->starts, row);
        if (start < 0)
            return 0;
        p->start_time_unix_ns = (uint64_t)start;
    }
    if (!p->start_time_unix_ns)
        p->start_time_unix_ns = now;
    p->duration_us = c->duration;
    if (c->durations.obj) {
        int64_t duration = number_at(&c->durations, row);
        if (duration < 0)
            return 0;
        p->duration_us = (uint64_t)duration;
    }
    p->status_code = c->status_code;
    return is_packable(p);
}

enum { COLUMNS = 6, FIRST_ROW = COLUMNS, END_ROW, ROW_ARGUMENTS };

/* Leave rows in the ring until one is not plain, or has no room: (chain id, number of the first, how many). */
static PyObject *packer_leave_rows(packer_object *self, PyObject *const *arguments, Py_ssize_t count)
{
    columns c;
    memset(&c, 0, sizeof c);
    prediction p;
    uint64_t number, first_number = 0;
    PyObject *chain_id = NULL;
    int failed = 1;
    size_t row = 0, first = 0, end = 0;
    if (count != ROW_ARGUMENTS)
        return PyErr_Format(PyExc_TypeError, "leave_rows takes %d arguments, not %zd", ROW_ARGUMENTS, count);
    first = PyLong_AsSize_t(arguments[FIRST_ROW]);
    end = PyLong_AsSize_t(arguments[END_ROW]);
    if (PyErr_Occurred() || columns_hold(&c, arguments) < 0)
        goto done;
    if (end > c.rows || first > end) {
        PyErr_Format(PyExc_ValueError, "rows %zu to %zu are not among %zu", first, end, c.rows);
        goto done;
    }
    ring_object *ring = self->lane->ring;
    if (!ring) {
        PyErr_SetString(PyExc_ValueError, "the lane has no ring yet");
        goto done;
    }
    /* From here to the last row nothing calls into the interpreter: the numbers follow each other. */
    uint64_t now = now_unix_ns();
    p.binding_row = self->row;
    for (row = first; row < end && !c.unusual && read_row(&c, row, now, &p) && leave(ring, &p, &number) != NOT_LEFT; row++)
        if (row == first)
            first_number = number;
    chain_id = Py_NewRef(ring->chain_id);
    failed = 0;
    if (row > first && (ring->attention || queue_has_ended_batch(&ring->queue)))
        failed = ring_call(ring);
done:
    columns_release(&c);
    if (failed) {
        Py_XDECREF(chain_id);
        return NULL;
    }
    return Py_BuildValue("(NKn)", chain_id, (unsigned long long)first_number, (Py_ssize_t)(row - first));
}

static PyMethodDef packer_methods[] = {
    {"emit", (PyCFunction)(void (*)(void))packer_emit, METH_FASTCALL | METH_KEYWORDS,
     "emit($self, input_commitment, output_commitment=b'', *, request_id=b'', start_time_unix_ns=0, duration_us=0, "
     "status_code=0)\n--\n\nPut one prediction on record; returns its id at once, without a lock or I/O."},
    {"leave_rows", (PyCFunction)(void (*)(void))packer_leave_rows, METH_FASTCALL,
     "Leave rows in the ring until one is out of the ordinary: (chain id, number of the first, how many)."},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot packer_slots[] = {
    {Py_tp_new, packer_new},
    {Py_tp_dealloc, packer_dealloc},
    {Py_tp_traverse, packer_traverse},
    {Py_tp_methods, packer_methods},
    {Py_tp_doc, "Packer(lane, binding_row)"},
    {0, NULL},
};

static PyType_Spec packer_spec = {
    .name = "lineage_ledger._kernel_emit.Packer",
    .basicsize = sizeof(packer_object),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_GC,
    .slots = packer_slots,
};

/* -- the module ---------------------------------------------------------------------------------------------------- */

size_t hot_path_state_size(void) { return sizeof(types); }

static PyTypeObject *add_type(PyObject *module, PyType_Spec *spec)
{
    PyObject *type = PyType_FromModuleAndSpec(module, spec, NULL);
    if (type && PyModule_AddType(module, (PyTypeObject *)type) < 0)
        Py_CLEAR(type);
    return (PyTypeObject *)type;
}

int add_hot_path(PyObject *module)
{
    types *known = PyModule_GetState(module);
    known->new_tuple = (newfunc)PyType_GetSlot(&PyTuple_Type, Py_tp_new);
    return (known->ring = add_type(module, &ring_spec)) && (known->lane = add_type(module, &lane_spec)) &&
                   (known->packer = add_type(module, &packer_spec))
               ? 0
               : -1;
}

int hot_path_traverse(PyObject *module, visitproc visit, void *arg)
{
    types *known = PyModule_GetState(module);
    Py_VISIT(known->ring);
    Py_VISIT(known->lane);
    Py_VISIT(known->packer);
    return 0;
}

int hot_path_clear(PyObject *module)
{
    types *known = PyModule_GetState(module);
    Py_CLEAR(known->ring);
    Py_CLEAR(known->lane);
    Py_CLEAR(known->packer);
    return 0;
}
