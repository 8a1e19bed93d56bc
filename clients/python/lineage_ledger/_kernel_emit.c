/* What a producer does for single predictions, in C: commitments and the hot path of `emit`.
 *
 * Optional like `_kernel`, and an extension of its own: it is a producer's, who needs no batches, and parts of it see
 * secrets, which `_kernel` does not.
 */
#include "_kernel_emit.h"

static int module_execute(PyObject *module)
{
    return add_commitments(module) < 0 || add_hot_path(module) < 0 ? -1 : 0;
}

static PyModuleDef_Slot slots[] = {{Py_mod_exec, module_execute}, {0, NULL}};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT,
    .m_name = "lineage_ledger._kernel_emit",
    .m_doc = "Commitments and the hot path of emit in C.",
    .m_slots = slots,
    .m_traverse = hot_path_traverse,
    .m_clear = hot_path_clear,
};

PyMODINIT_FUNC PyInit__kernel_emit(void)
{
    definition.m_size = (Py_ssize_t)hot_path_state_size();
    return PyModuleDef_Init(&definition);
}
