"""Make graphs of functions, and call them at the cost of one operation."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tensorflow as tf


def make_graph(function: Callable[..., Any], *, compiled: bool = False) -> Any:
    """Return a function that is traced to a graph, and compiled by XLA if asked."""
    if not compiled:
        return tf.function(function, autograph=False)
    # Only a call within a graph makes XLA compile what a GraphCall calls.
    inner = tf.function(function, autograph=False, jit_compile=True)
    return tf.function(lambda *arguments: inner(*arguments), autograph=False)


class GraphCall:
    """Call what ``make_graph`` has for arguments of these shapes.

    A ``tf.function`` binds, checks and looks its arguments up at every call, which takes as long
    as the few updates of an epoch over little data. Here that is done once, and a call hands
    tensors and variables over in their order, as the operation that the framework itself makes
    of a call. The arguments are nested tuples and lists of tensors and variables; no capture.
    """

    def __init__(self, function: Any, *arguments: Any) -> None:
        self._graph = function.get_concrete_function(*arguments)
        assert not self._graph.captured_inputs
        self._types = [output.dtype for output in self._graph.outputs]

    def __call__(self, *arguments: Any) -> Any:
        """Return the graph's one output."""
        inputs = [
            entry.handle if isinstance(entry, tf.Variable) else entry
            for entry in tf.nest.flatten(arguments)
        ]
        (output,) = tf.raw_ops.StatefulPartitionedCall(args=inputs, Tout=self._types, f=self._graph)
        return output
