#define PY_SSIZE_T_CLEAN
#include <Python.h>

static PyObject *greet(PyObject *module, PyObject *name) {
  (void)module;
  if (!PyUnicode_Check(name)) {
    PyErr_SetString(PyExc_TypeError, "a name is text");
    return NULL;
  }
  return PyUnicode_FromFormat("Hello, %U!", name);
}

static PyMethodDef functions[] = {{"greet", greet, METH_O, NULL}, {NULL, NULL, 0, NULL}};

static struct PyModuleDef definition = {PyModuleDef_HEAD_INIT, "hello", NULL, -1, functions, NULL, NULL, NULL, NULL};

PyMODINIT_FUNC PyInit_hello(void) { return PyModule_Create(&definition); }
