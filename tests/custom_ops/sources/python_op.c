/* A Python extension: twice(x), loads(), which counts how often it was loaded into this process, and crash(). */
#include <Python.h>
#include <stdio.h>
#include <stdlib.h>

static const char *const COUNTER = "OPE_TESTS_LOADS_OF_PYTHON_OP";

static int count(void) {
  const char *text = getenv(COUNTER);
  return text ? atoi(text) : 0;
}

__attribute__((constructor)) static void loaded(void) {
  char text[16];
  snprintf(text, sizeof text, "%d", count() + 1);
  setenv(COUNTER, text, 1);
}

#ifdef FOR_ANOTHER_VERSION
int function_of_another_version(void);
#else
static int function_of_another_version(void) { return 0; }
#endif

static PyObject *twice(PyObject *module, PyObject *x) {
  return function_of_another_version() ? NULL : PyNumber_Add(x, x);
}

static PyObject *loads(PyObject *module, PyObject *none) { return PyLong_FromLong(count()); }

static PyObject *crash(PyObject *module, PyObject *none) {
  *(volatile int *)NULL = 1;
  return NULL;
}

static PyMethodDef methods[] = {
    {"twice", twice, METH_O, ""}, {"loads", loads, METH_NOARGS, ""}, {"crash", crash, METH_NOARGS, ""}, {0}};

static struct PyModuleDef module = {PyModuleDef_HEAD_INIT, "python_op", NULL, -1, methods};

PyMODINIT_FUNC PyInit_python_op(void) { return PyModule_Create(&module); }
