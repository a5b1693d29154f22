#define PY_SSIZE_T_CLEAN
#include <Python.h>

static PyObject *shout(PyObject *module, PyObject *text) {
  (void)module;
  return PyObject_CallMethod(text, "upper", NULL);
}

static PyMethodDef functions[] = {{"shout", shout, METH_O, NULL}, {NULL, NULL, 0, NULL}};

static struct PyModuleDef definition = {PyModuleDef_HEAD_INIT, "shout", NULL, -1, functions, NULL, NULL, NULL, NULL};

PyMODINIT_FUNC PyInit_shout(void) { return PyModule_Create(&definition); }
