"""Answer requests with TensorFlow: payload in, response out, both plain JSON objects."""

from ml.frameworks.tensorflow.handlers import ADAPTER, handle_status_request, handle_train_request

__all__ = ["ADAPTER", "handle_status_request", "handle_train_request"]
