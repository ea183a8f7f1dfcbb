"""Check cells, the catalog's product, and what makes an id and a seed."""

from pathlib import Path
from typing import get_args

import pytest
from settings_fixture import make_settings

from harness.arguments import PRUNERS, SAMPLERS
from harness.catalog.algorithms import ALGORITHMS, NEURAL, TASKS
from harness.catalog.datasets import OWN_FOLDER, find_datasets
from harness.catalog.product import Catalog, load_catalog, select_cells
from harness.catalog.spaces import SVM_SPACE
from harness.markers import MatrixMarker
from ml.core.contracts import DescriptorData, DistillRequest, SweepRequest, TrainRequest
from ml.core.trials import Pruner, Sampler

pytestmark = pytest.mark.unit

SETTINGS = make_settings(rows=4_000)


@pytest.fixture(scope="module")
def catalog():
    return load_catalog(SETTINGS)


def test_the_catalog_has_every_shipped_dataset(catalog):
    shipped = {path.stem for path in OWN_FOLDER.glob("*.toml")}
    assert {dataset.id for dataset in catalog.datasets} == shipped
    assert catalog.broken == ()
    assert len(shipped) >= 16


def test_every_cell_is_made_once_and_its_id_tells_it_apart(catalog):
    cells = select_cells(catalog, MatrixMarker(), SETTINGS)
    tasks = [dataset.task for dataset in catalog.datasets]
    fitting = sum(task in algorithm.tasks for task in tasks for algorithm in ALGORITHMS)
    assert len(cells) == fitting >= 150
    assert len({cell.id for cell in cells}) == len(cells)
    assert all(cell.id.count("-") == 3 for cell in cells)


def test_a_marker_narrows_the_product(catalog):
    marker = MatrixMarker(task=("regression",), framework=("pytorch",), algorithm=("mlp",))
    found = {cell.id for cell in select_cells(catalog, marker, SETTINGS)}
    expected = {f"{d.id}-mlp-pytorch-train" for d in catalog.datasets if d.task == "regression"}
    assert found == expected
    assert "diabetes-mlp-pytorch-train" in found


def test_seeds_come_from_the_dataset_and_never_from_neighbours(catalog):
    everything = {c.id: c.seed for c in select_cells(catalog, MatrixMarker(), SETTINGS)}
    alone = Catalog(tuple(d for d in catalog.datasets if d.id == "wine"), (), ALGORITHMS[-1:])
    [cell] = select_cells(alone, MatrixMarker(), SETTINGS)
    assert cell.seed == everything[cell.id] == everything["wine-dummy-sklearn-train"]
    assert cell.seed != everything["diabetes-mlp-tensorflow-train"]
    assert 0 <= cell.seed < 2**63
    # Trends compare nights by this number, so it may not change between versions.
    assert cell.seed == 2939618742840056090


def test_a_request_carries_the_cell_across_the_wall(catalog):
    [cell] = select_cells(catalog, MatrixMarker(dataset=("wine",), algorithm=("svm",)), SETTINGS)
    request = TrainRequest.model_validate_json(cell.to_request().model_dump_json())
    assert request == cell.to_request()
    assert request.id == "wine-svm-sklearn-train"
    assert request.data == DescriptorData(path=str(OWN_FOLDER / "wine.toml"))
    assert (request.budget.rows, request.replicates) == (3_000, 3)
    [other] = select_cells(
        catalog,
        MatrixMarker(dataset=("wine",), algorithm=("mlp",), framework=("pytorch",)),
        SETTINGS,
    )
    assert other.to_request().budget.rows == 4_000


def test_the_same_network_and_preprocessing_goes_to_every_neural_framework():
    by_framework = {
        framework: {
            a.id: (a.model, a.preprocessing, a.rows, a.teachers)
            for a in ALGORITHMS
            if a.framework == framework and a.id != "student_of_two"
        }
        for framework in NEURAL
    }
    assert NEURAL == ("pytorch", "tensorflow", "jax")
    assert by_framework["pytorch"] == by_framework["tensorflow"] == by_framework["jax"]
    assert set(by_framework["pytorch"]) == {
        *("linear", "mlp", "resnet", "cnn", "transformer", "gru", "lstm", "student")
    }


def test_a_student_is_asked_for_with_its_teachers(catalog):
    marker = MatrixMarker(dataset=("wine",), mode=("distill",), algorithm=("student_of_two",))
    [cell] = select_cells(catalog, marker, SETTINGS)
    assert cell.id == "wine-student_of_two-pytorch-distill"
    assert cell.frameworks == ("pytorch", "sklearn")
    request = DistillRequest.model_validate_json(cell.to_request().model_dump_json())
    assert request == cell.to_request()
    assert [t.model.estimator for t in request.teachers] == [
        "hist_gradient_boosting",
        "random_forest",
    ]
    assert (request.seed, request.replicates, request.budget.rows) == (cell.seed, 3, 4_000)
    assert (request.model.hidden, request.temperature, request.soft_share) == ((16,), 2.0, 0.7)


def test_an_algorithm_has_teachers_where_it_distils_and_only_there():
    for algorithm in ALGORITHMS:
        assert (algorithm.modes == ("distill",)) == bool(algorithm.teachers)
        assert "distill" in algorithm.modes or algorithm.modes == ("train",)


def test_a_sweep_has_to_be_asked_for_by_its_mode(catalog):
    assert catalog.choices["mode"] == ("train", "sweep", "distill")
    wine = MatrixMarker(dataset=("wine",), framework=("sklearn", "pytorch"))
    modes = [cell.mode for cell in select_cells(catalog, wine, SETTINGS)]
    assert (modes.count("train"), modes.count("distill"), modes.count("sweep")) == (12, 2, 0)
    swept = select_cells(catalog, wine._replace(mode=("sweep",)), SETTINGS)
    assert [cell.id for cell in swept if "mlp" in cell.id] == [
        "wine-mlp-sklearn-sweep",
        "wine-mlp-pytorch-sweep",
    ]
    assert {cell.algorithm for cell in swept}.isdisjoint({"dummy", "student", "student_of_two"})
    assert len(swept) == 11
    both = select_cells(catalog, wine._replace(mode=("sweep", "train")), SETTINGS)
    assert len(both) == 23


def test_every_algorithm_but_the_baseline_and_students_has_a_space():
    without = {a.id for a in ALGORITHMS if a.space is None}
    assert without == {"dummy", "student", "student_of_two"}
    for task in TASKS:
        names = [(a.id, a.framework) for a in ALGORITHMS if task in a.tasks]
        assert len(set(names)) == len(names)


def test_a_sweep_is_asked_for_with_the_limits_of_the_session(catalog):
    settings = SETTINGS._replace(
        trials=7, sampler="gp", pruner="wilcoxon", folds=4, sweep_seconds=12.5
    )
    marker = MatrixMarker(dataset=("wine",), mode=("sweep",), algorithm=("svm",))
    [cell] = select_cells(catalog, marker, settings)
    request = SweepRequest.model_validate_json(cell.to_request().model_dump_json())
    assert request == cell.to_request()
    assert (request.id, request.budget.rows) == ("wine-svm-sklearn-sweep", 3_000)
    sweep = request.sweep
    assert sweep.space == SVM_SPACE
    assert (sweep.trials, sweep.sampler, sweep.pruner, sweep.folds) == (7, "gp", "wilcoxon", 4)
    assert (sweep.seconds, sweep.journal) == (12.5, None)
    marker = marker._replace(mode=("train",))
    [trained] = select_cells(catalog, marker, settings)
    assert (trained.seed, trained.model, trained.sweep) == (cell.seed, cell.model, None)
    assert type(trained.to_request()) is TrainRequest


def test_the_choices_of_the_options_are_those_of_a_sweep():
    assert get_args(Sampler) == SAMPLERS
    assert get_args(Pruner) == PRUNERS


def test_two_folders_with_one_id_are_reported_and_the_first_stays(tmp_path):
    (tmp_path / "wine.toml").write_text((OWN_FOLDER / "wine.toml").read_text())
    (tmp_path / "torn.toml").write_text('id = "torn')
    found, broken = find_datasets((OWN_FOLDER, tmp_path))
    [wine] = [dataset for dataset in found if dataset.id == "wine"]
    assert Path(wine.place).parent == OWN_FOLDER
    assert [entry.id for entry in broken] == ["torn-descriptor", "wine-descriptor"]
    assert "cannot be read" in broken[0].reason
    assert "already taken by" in broken[1].reason
