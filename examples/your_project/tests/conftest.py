from your_project.prototypes import Prototypes

from harness.declare import algorithm, gate
from ml.core.contracts import FloatRange

PROTOTYPES = algorithm(
    "prototypes",
    Prototypes(sharpness=0.5),
    tasks=["classification"],
    space={"sharpness": FloatRange(low=0.01, high=10.0, log=True)},
)


def pytest_matrix_datasets():
    return ["data"]


def pytest_matrix_algorithms():
    return [PROTOTYPES]


def pytest_matrix_gates():
    return [gate("small", "the model takes less than 5 MB", is_small)]


def is_small(cell, result, score):
    return result.artifact_bytes < 5_000_000, f"{result.artifact_bytes / 1e6:.2f} MB"
