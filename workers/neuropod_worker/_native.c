/* The memory operations of a repeated call. `shm/native.py` says what each function does and has its twin in Python.

One library serves all interpreters from 3.6 on: it uses only the stable ABI. No Python code runs between comparing
arrays and copying them, so they cannot change in between. */

#define Py_LIMITED_API 0x03060000
#include <Python.h>
#include <structmember.h>

#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <time.h>

/* The beginning of numpy's array object: the same from 1.7 to 2.x (PyArrayObject_fields in numpy/ndarraytypes.h). numpy's
   own headers would tie the library to the numpy that it was built with. `native.py` checks this before it is used. */
typedef struct {
    PyObject_HEAD
    char *data;
    int dimensions;
    Py_ssize_t *shape;
    Py_ssize_t *strides;
    PyObject *base;
    PyObject *dtype;
    int flags;
} Array;

enum { C_CONTIGUOUS = 1, MOST_WORDS = 16, LOOKS_PER_CLOCK = 8 };

static PyObject *array_type, *ring_type, *copy_name;

static void relax(void)
{
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#endif
}

static PyObject *set_array_type(PyObject *module, PyObject *type)
{
    Py_INCREF(type);
    Py_XDECREF(array_type);
    array_type = type;
    Py_RETURN_NONE;
}

static PyObject *describe(PyObject *module, PyObject *object)
{
    Array *array = (Array *)object;
    PyObject *shape;
    int i;
    if ((PyObject *)Py_TYPE(object) != array_type || array->dimensions < 0 || array->dimensions > 64) {
        PyErr_SetString(PyExc_TypeError, "not an array");
        return NULL;
    }
    shape = PyTuple_New(array->dimensions);
    for (i = 0; shape != NULL && i < array->dimensions; i++)
        PyTuple_SetItem(shape, i, PyLong_FromSsize_t(array->shape[i]));
    return Py_BuildValue("NNOOi", PyLong_FromVoidPtr(array->data), shape,
                         array->base ? array->base : Py_None, array->dtype, array->flags & C_CONTIGUOUS);
}

/* 1, 0 if the arrays do not fit, -1 for an exception. */
static int place_arrays(PyObject *arrays, PyObject *layout)
{
    PyObject *key, *value;
    Py_ssize_t at = 0, i, count = PyTuple_Size(layout);
    if (count < 0)
        return -1;
    if (!PyDict_CheckExact(arrays) || PyDict_Size(arrays) != count)
        return 0;
    for (i = 0; PyDict_Next(arrays, &at, &key, &value); i++) {
        PyObject *entry = PyTuple_GetItem(layout, i);
        PyObject *name = entry ? PyTuple_GetItem(entry, 0) : NULL;
        PyObject *object = name ? PyTuple_GetItem(entry, 1) : NULL;
        PyObject *size = object ? PyTuple_GetItem(entry, 2) : NULL;
        Array *array = (Array *)value, *view = (Array *)object;
        Py_ssize_t nbytes;
        if (size == NULL)
            return -1;
        if ((PyObject *)Py_TYPE(object) != array_type) {
            PyErr_SetString(PyExc_TypeError, "the layout's views are no arrays");
            return -1;
        }
        if (key != name && !(PyUnicode_CheckExact(key) && PyUnicode_Compare(key, name) == 0))
            return PyErr_Occurred() ? -1 : 0;
        /* By identity of the dtype: numpy has one object for each of the usual ones. */
        if ((PyObject *)Py_TYPE(value) != array_type || array->dtype != view->dtype || array->dimensions != view->dimensions
            || !(array->flags & C_CONTIGUOUS)
            || memcmp(array->shape, view->shape, sizeof(Py_ssize_t) * (size_t)view->dimensions))
            return 0;
        nbytes = PyLong_AsSsize_t(size);
        if (nbytes < 0) {
            if (!PyErr_Occurred())
                PyErr_SetString(PyExc_ValueError, "a view has no negative size");
            return -1;
        }
        memcpy(view->data, array->data, (size_t)nbytes);
    }
    return 1;
}

static PyObject *place(PyObject *module, PyObject *args)
{
    PyObject *arrays, *layout;
    int placed;
    if (!PyArg_UnpackTuple(args, "place", 2, 2, &arrays, &layout))
        return NULL;
    placed = place_arrays(arrays, layout);
    return placed < 0 ? NULL : PyBool_FromLong(placed);
}

static PyObject *copies(PyObject *module, PyObject *arrays)
{
    PyObject *copied, *key, *value;
    Py_ssize_t at = 0;
    if (!PyDict_Check(arrays)) {
        PyErr_SetString(PyExc_TypeError, "not a dict");
        return NULL;
    }
    copied = PyDict_New();
    while (copied != NULL && PyDict_Next(arrays, &at, &key, &value)) {
        PyObject *copy = PyObject_CallMethodObjArgs(value, copy_name, NULL);
        if (copy == NULL || PyDict_SetItem(copied, key, copy) < 0)
            Py_CLEAR(copied);
        Py_XDECREF(copy);
    }
    return copied;
}

static PyObject *most_references(PyObject *module, PyObject *objects)
{
    Py_ssize_t i, count = PyTuple_Size(objects), most = 0;
    if (count < 0)
        return NULL;
    for (i = 0; i < count; i++) {
        Py_ssize_t references = Py_REFCNT(PyTuple_GetItem(objects, i));
        if (references > most)
            most = references;
    }
    return PyLong_FromSsize_t(most);
}

/* One direction, by address: what `shm.control.Mailbox` does in Python with the same names. */
typedef struct {
    PyObject_HEAD
    uint64_t *slots, *taken, *asleep;
    unsigned long long slot_count, slot_words, head, count; /* of a repeated message */
    unsigned long long written, known_taken, next;
    char polled;
} Ring;

static uint64_t *slot_of(Ring *ring, unsigned long long number)
{
    return ring->slots + (number - 1) % ring->slot_count * ring->slot_words;
}

static int ring_init(PyObject *self, PyObject *args, PyObject *options)
{
    Ring *ring = (Ring *)self;
    unsigned long long slots, taken, asleep;
    int polled;
    if (!PyArg_ParseTuple(args, "KKKKKKKp", &slots, &taken, &asleep, &ring->slot_count, &ring->slot_words, &ring->head,
                          &ring->count, &polled))
        return -1;
    if (ring->slot_count == 0 || ring->count > MOST_WORDS || ring->count + 2 > ring->slot_words) {
        PyErr_SetString(PyExc_ValueError, "no such mailbox");
        return -1;
    }
    ring->slots = (uint64_t *)(uintptr_t)slots;
    ring->taken = (uint64_t *)(uintptr_t)taken;
    ring->asleep = (uint64_t *)(uintptr_t)asleep;
    ring->polled = (char)polled;
    ring->next = 1;
    return 0;
}

/* The words of a tuple from some place on; -1 for an exception. */
static int words_from(Ring *ring, PyObject *tuple, Py_ssize_t start, uint64_t *words)
{
    unsigned long long i;
    if (PyTuple_Size(tuple) - start != (Py_ssize_t)ring->count) {
        PyErr_Format(PyExc_TypeError, "a message of this mailbox has %llu words", ring->count);
        return -1;
    }
    for (i = 0; i < ring->count; i++)
        words[i] = PyLong_AsUnsignedLongLong(PyTuple_GetItem(tuple, start + (Py_ssize_t)i));
    return PyErr_Occurred() ? -1 : 0;
}

static int send_words(Ring *ring, PyObject *bell, const uint64_t *words)
{
    PyObject *done;
    uint64_t *slot;
    if (ring->written - ring->known_taken >= ring->slot_count) {
        done = PyObject_CallMethod((PyObject *)ring, "_check_room", NULL);
        if (done == NULL)
            return -1;
        Py_DECREF(done);
    }
    ring->written++;
    slot = slot_of(ring, ring->written);
    memcpy(slot + 2, words, (size_t)ring->count * sizeof *words);
    slot[1] = ring->head;
    __atomic_store_n(slot, ring->written, __ATOMIC_RELEASE);
    __atomic_thread_fence(__ATOMIC_SEQ_CST); /* whether the reader sleeps is asked after it can see the message */
    if (ring->polled) {
        if (!__atomic_load_n(ring->asleep, __ATOMIC_RELAXED))
            return 0;
        __atomic_store_n(ring->asleep, 0, __ATOMIC_RELAXED); /* one ring is enough */
    }
    done = PyObject_CallMethod(bell, "ring", NULL);
    Py_XDECREF(done);
    return done ? 0 : -1;
}

static double now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec * 1e-9;
}

static int arrives(Ring *ring, double seconds)
{
    uint64_t *slot = slot_of(ring, ring->next);
    double until = seconds > 0 ? now() + seconds : 0;
    do {
        int i;
        for (i = 0; i < LOOKS_PER_CLOCK; i++) {
            if (__atomic_load_n(slot, __ATOMIC_ACQUIRE) == ring->next)
                return 1;
            relax();
        }
    } while (until > 0 && now() < until);
    return 0;
}

static int copy_words(Ring *ring, uint64_t *words)
{
    uint64_t *slot = slot_of(ring, ring->next);
    if (__atomic_load_n(slot, __ATOMIC_ACQUIRE) != ring->next || slot[1] != ring->head)
        return 0;
    memcpy(words, slot + 2, (size_t)ring->count * sizeof *words);
    return 1;
}

static void take_next(Ring *ring)
{
    __atomic_store_n(ring->taken, ring->next, __ATOMIC_RELEASE);
    ring->next++;
}

static PyObject *ring_send_repeated(PyObject *self, PyObject *args)
{
    Ring *ring = (Ring *)self;
    uint64_t words[MOST_WORDS];
    if (words_from(ring, args, 1, words) < 0 || send_words(ring, PyTuple_GetItem(args, 0), words) < 0)
        return NULL;
    Py_RETURN_NONE;
}

static PyObject *ring_poll(PyObject *self, PyObject *number)
{
    double seconds = PyFloat_AsDouble(number);
    return PyErr_Occurred() ? NULL : PyBool_FromLong(arrives((Ring *)self, seconds));
}

static PyObject *ring_repeated(PyObject *self, PyObject *unused)
{
    Ring *ring = (Ring *)self;
    uint64_t words[MOST_WORDS];
    PyObject *tuple;
    unsigned long long i;
    if (!copy_words(ring, words))
        Py_RETURN_NONE;
    tuple = PyTuple_New((Py_ssize_t)ring->count);
    for (i = 0; tuple != NULL && i < ring->count; i++)
        PyTuple_SetItem(tuple, (Py_ssize_t)i, PyLong_FromUnsignedLongLong(words[i]));
    return tuple;
}

static PyObject *ring_taken(PyObject *self, PyObject *unused)
{
    take_next((Ring *)self);
    Py_RETURN_NONE;
}

static PyObject *ring_exchange(PyObject *self, PyObject *args)
{
    Ring *ring = (Ring *)self, *replies;
    uint64_t words[MOST_WORDS], answer[MOST_WORDS];
    PyObject *arrays, *layout, *bell;
    double seconds;
    int placed;
    if (PyTuple_Size(args) < 5 || words_from(ring, args, 5, words) < 0)
        return PyErr_Occurred() ? NULL : PyErr_Format(PyExc_TypeError, "exchange() lacks arguments");
    arrays = PyTuple_GetItem(args, 0);
    layout = PyTuple_GetItem(args, 1);
    bell = PyTuple_GetItem(args, 2);
    replies = (Ring *)PyTuple_GetItem(args, 3);
    if (!PyObject_TypeCheck((PyObject *)replies, (PyTypeObject *)ring_type) || ring->count < 6 || replies->count < 6)
        return PyErr_Format(PyExc_TypeError, "the replies are no such mailbox");
    seconds = PyFloat_AsDouble(PyTuple_GetItem(args, 4));
    placed = PyErr_Occurred() ? -1 : place_arrays(arrays, layout);
    if (placed < 0)
        return NULL;
    if (!placed)
        Py_RETURN_NONE;
    if (send_words(ring, bell, words) < 0)
        return NULL;
    /* Incarnation, model, request and attempt are those of the request, and its frame is released: words 4 and 5. */
    if (!replies->polled || !arrives(replies, seconds) || !copy_words(replies, answer) || memcmp(words, answer, 4 * sizeof *words)
        || answer[4] != words[5])
        return PyLong_FromLong(0);
    return PyLong_FromUnsignedLongLong(answer[5]);
}

static PyMethodDef ring_methods[] = {
    {"send_repeated", ring_send_repeated, METH_VARARGS, NULL},
    {"poll", ring_poll, METH_O, NULL},
    {"repeated", ring_repeated, METH_NOARGS, NULL},
    {"taken", ring_taken, METH_NOARGS, NULL},
    {"exchange", ring_exchange, METH_VARARGS, NULL},
    {NULL, NULL, 0, NULL},
};

static PyMemberDef ring_members[] = {
    {"written", T_ULONGLONG, offsetof(Ring, written), 0, NULL},
    {"_known_taken", T_ULONGLONG, offsetof(Ring, known_taken), 0, NULL},
    {"_next", T_ULONGLONG, offsetof(Ring, next), 0, NULL},
    {NULL, 0, 0, 0, NULL},
};

static PyType_Slot ring_slots[] = {
    {Py_tp_init, ring_init},
    {Py_tp_methods, ring_methods},
    {Py_tp_members, ring_members},
    {0, NULL},
};

static PyType_Spec ring_spec = {
    "neuropod_worker._native.Ring", sizeof(Ring), 0, Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE, ring_slots,
};

static PyMethodDef functions[] = {
    {"set_array_type", set_array_type, METH_O, NULL},
    {"describe", describe, METH_O, NULL},
    {"place", place, METH_VARARGS, NULL},
    {"copies", copies, METH_O, NULL},
    {"most_references", most_references, METH_O, NULL},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef definition = {PyModuleDef_HEAD_INIT, "_native", NULL, -1, functions, NULL, NULL, NULL, NULL};

PyMODINIT_FUNC PyInit__native(void)
{
    PyObject *module = PyModule_Create(&definition);
    copy_name = PyUnicode_InternFromString("copy");
    ring_type = PyType_FromSpec(&ring_spec);
    if (module == NULL || copy_name == NULL || ring_type == NULL || PyModule_AddObject(module, "Ring", ring_type) < 0)
        return NULL;
    Py_INCREF(ring_type);
    return module;
}
