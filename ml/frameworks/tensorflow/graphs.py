"""Make graphs of functions, and call them at the cost of one operation."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tensorflow as tf


class Graph:
    """Hold the graphs of a function, one for each shapes of its arguments.

    A ``tf.function`` binds, checks and looks its arguments up at every call, which takes as long
    as the few updates of an epoch over little data. Here that is done once for some shapes, by
    ``call_for``, and a call hands tensors and variables over in their order, as the operation
    that the framework itself makes of a call. Arguments are nested tuples and lists of tensors
    and variables; the function captures none, and returns one tensor.
    """

    def __init__(self, function: Callable[..., Any], *, compiled: bool = False) -> None:
        self._function = tf.function(function, autograph=False, jit_compile=compiled)
        if compiled:
            # Only a call within a graph makes XLA compile what is called as an operation.
            inner = self._function
            self._function = tf.function(lambda *arguments: inner(*arguments), autograph=False)
        self._calls: dict[Any, Callable[..., Any]] = {}

    def call_for(self, *arguments: Any) -> Callable[..., Any]:
        """Return what is to be called with arguments like these, of which some may be specs."""
        shapes = tuple((tuple(entry.shape), entry.dtype) for entry in tf.nest.flatten(arguments))
        if shapes not in self._calls:
            self._calls[shapes] = _as_operation(self._function.get_concrete_function(*arguments))
        return self._calls[shapes]


def _as_operation(graph: Any) -> Callable[..., Any]:
    assert not graph.captured_inputs
    types = [output.dtype for output in graph.outputs]

    def call(*arguments: Any) -> Any:
        inputs = [
            entry.handle if isinstance(entry, tf.Variable) else entry
            for entry in tf.nest.flatten(arguments)
        ]
        (output,) = tf.raw_ops.StatefulPartitionedCall(args=inputs, Tout=types, f=graph)
        return output

    return call
