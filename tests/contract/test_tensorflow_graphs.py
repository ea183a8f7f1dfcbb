"""Call graphs as the trainer does, and see that they are what it asked for."""

import numpy as np
import pytest

from ml.core.contracts import RuntimeSpec
from ml.registry import adapter_of

pytestmark = pytest.mark.contract


@pytest.fixture
def graph():
    """Give the class, in a TensorFlow with the threads that every test of this process expects."""
    pytest.importorskip("tensorflow")
    adapter_of("tensorflow").prepare(RuntimeSpec())
    from ml.frameworks.tensorflow.graphs import Graph

    return Graph


def test_what_is_to_be_compiled_is_compiled(graph):
    """XLA knows no strings: what works in a graph is an error where it really compiles."""
    import tensorflow as tf

    def function(number):
        return tf.strings.length(tf.strings.as_string(number))

    number = tf.constant(12.5)
    assert int(graph(function).call_for(number)(number)) == len("12.500000")
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"unsupported|XLA"):
        graph(function, compiled=True).call_for(number)(number)


@pytest.mark.parametrize("compiled", [False, True])
def test_a_call_takes_other_variables_than_those_it_was_made_with(graph, compiled):
    import tensorflow as tf

    def function(variables, values):
        first, (second,) = variables
        first.assign_add(values[0])
        second.assign(first * values[1])
        return tf.reduce_sum(second)

    pairs = [(tf.Variable([a, a]), [tf.Variable([0.0, 0.0])]) for a in (1.0, 5.0)]
    values = (tf.constant([1.0, 2.0]), tf.constant(3.0))
    call = graph(function, compiled=compiled).call_for(pairs[0], values)
    sums = [float(call(pair, values)) for pair in pairs]
    assert sums == [3 * (2 + 3), 3 * (6 + 7)]
    assert [pair[0].numpy().tolist() for pair in pairs] == [[2, 3], [6, 7]]
    np.testing.assert_array_equal(pairs[1][1][0].numpy(), [18, 21])
