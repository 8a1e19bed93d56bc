/* What the files of the extension `_kernel_emit` have in common. */
#ifndef LINEAGE_KERNEL_EMIT_H
#define LINEAGE_KERNEL_EMIT_H

#ifndef Py_LIMITED_API
#define Py_LIMITED_API 0x030b0000
#endif
#define PY_SSIZE_T_CLEAN
#include <Python.h>

/* Add functions, or types, to the module; -1, with an exception, if that fails. */
int add_commitments(PyObject *module);
int add_hot_path(PyObject *module);

/* The module's state is the hot path's. */
size_t hot_path_state_size(void);
int hot_path_traverse(PyObject *module, visitproc visit, void *arg);
int hot_path_clear(PyObject *module);

#endif
