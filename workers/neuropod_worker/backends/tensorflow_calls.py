"""Calls of a TensorFlow session: the first of a kind through ``Session.run``, its repeats at a tenth of the time.

``Session.run`` prepares every call anew in Python, about 100 µs; a prepared callable takes about 10 µs, but
neither checks nor converts what it is fed. So a signature (names, dtypes, shapes) is run and thereby checked by
the former once. TensorFlow keeps callables of several feeds to itself and its Keras, from 1.8 to today; where
they should be missing, ``Session.run`` does all.
"""

import importlib
from typing import Any, Callable, Dict, Mapping, Sequence, Tuple

import numpy as np

from neuropod_worker.problem.checks import Arrays

# Shapes vary with the data; what is remembered of them must not grow for ever.
_REMEMBERED_SIGNATURES = 1024

_PREPARE = "_make_callable_from_options"
_Prepared = Callable[..., Sequence[Any]]
_Names = Tuple[str, ...]


class SessionCalls:
    """``feeds`` and ``fetches``: the session's tensors by the names of inputs and outputs."""

    def __init__(self, session: Any, feeds: Mapping[str, Any], fetches: Mapping[str, Any]) -> None:
        self._session = session
        self._feeds = feeds
        self._fetches = fetches
        self._dtypes = {name: np.dtype(tensor.dtype.as_numpy_dtype) for name, tensor in feeds.items()}
        self._prepared: Dict[Tuple[_Names, _Names], _Prepared] = {}
        self._checked: Dict[Any, _Prepared] = {}

    def run(self, inputs: Arrays, outputs: _Names) -> Dict[str, Any]:
        """The values of the named outputs. Strings are arrays of ``bytes`` objects, in and out."""
        signature = outputs, tuple([(name, array.dtype, array.shape) for name, array in inputs.items()])
        call = self._checked.get(signature)
        if call is not None:
            return dict(zip(outputs, call(*inputs.values())))
        values: Dict[str, Any] = self._session.run(
            {name: self._fetches[name] for name in outputs},
            feed_dict={self._feeds[name]: array for name, array in inputs.items()},
        )
        if self._may_be_prepared(inputs, outputs):
            if len(self._checked) >= _REMEMBERED_SIGNATURES:
                self._checked.clear()
            self._checked[signature] = self._call(tuple(inputs), outputs)
        return values

    def _may_be_prepared(self, inputs: Arrays, outputs: _Names) -> bool:
        """Whether nothing has to be converted, and no tensor is named twice, which only ``Session.run`` takes."""
        tensors = [self._feeds[name].name for name in inputs] + [self._fetches[name].name for name in outputs]
        exact = all(array.dtype == self._dtypes[name] for name, array in inputs.items())
        return exact and bool(outputs) and len(set(tensors)) == len(tensors) and hasattr(self._session, _PREPARE)

    def _call(self, inputs: _Names, outputs: _Names) -> _Prepared:
        names = inputs, outputs
        if names not in self._prepared:
            if len(self._prepared) >= _REMEMBERED_SIGNATURES:
                self._prepared.clear()
            options = importlib.import_module("tensorflow.core.protobuf.config_pb2").CallableOptions()
            options.feed.extend(self._feeds[name].name for name in inputs)
            options.fetch.extend(self._fetches[name].name for name in outputs)
            self._prepared[names] = getattr(self._session, _PREPARE)(options)
        return self._prepared[names]
