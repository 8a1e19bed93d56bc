/* What a producer does for single predictions, in C: commitments and the hot path of `emit`.
 *
 * Optional like `_kernel`, and an extension of its own: it is a producer's, who needs no batches, and parts of it see
 * secrets, which `_kernel` does not.
 */
#include "_kernel_emit.h"

static int module_execute(PyObject *module) { return add_commitments(module); }

static PyModuleDef_Slot slots[] = {{Py_mod_exec, module_execute}, {0, NULL}};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT,
    .m_name = "lineage_ledger._kernel_emit",
    .m_doc = "Commitments and the hot path of emit in C.",
    .m_slots = slots,
};

PyMODINIT_FUNC PyInit__kernel_emit(void) { return PyModuleDef_Init(&definition); }
