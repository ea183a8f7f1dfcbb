import json
import math

import numpy as np
import pytest
from test_loop import LinearStepper, line, network

from ml.artifacts.arrays import dump_arrays, hash_arrays, load_arrays, write_file
from ml.core.checkpoints import CheckpointFile
from ml.core.contracts import CheckpointSpec
from ml.core.errors import DataInvalid, RequestInvalid
from ml.core.learner import Problem
from ml.core.loop import Progress, TrainingState, run_epochs
from ml.core.objective import Examples

pytestmark = pytest.mark.unit

FACTS = {"seed": "4", "framework": '"pytorch"'}


class KeptStepper(LinearStepper):
    """Give and take its weights in full precision, as its state."""

    updates = 0

    def epoch(self, order):
        self.updates += math.ceil(len(order) / self.batch_size)
        return super().epoch(order)

    def weights(self):
        return [self.kernel.copy(), self.bias.copy()]

    def state(self):
        return TrainingState(self.weights(), [], [], self.updates)

    def load_state(self, state):
        self.load_weights(state.weights)
        self.updates = state.updates


class Killed(Exception):
    """Stand for the end of a process."""


class MortalFile(CheckpointFile):
    """Write so many checkpoints and then end."""

    lives = 10**9

    def save(self, progress):
        super().save(progress)
        self.lives -= 1
        if self.lives == 0:
            raise Killed


def keeper(folder, replicate=0, facts=FACTS, kind=CheckpointFile, **changes):
    changes = changes or {"every_epochs": 2}
    return kind(CheckpointSpec(folder=str(folder), **changes), replicate, facts)


def train(kept=None, stepper=None, held=True, seconds=60.0, **changes):
    stepper = stepper or KeptStepper(2, rate=0.05)
    # The slopes differ in sign: what trains well validates worse and worse after epoch 1.
    parts = line(32), (line(32, slope=-2.0, seed=1) if held else None)
    spec = network(**{"epochs": 9, "patience": 6, **changes})
    examples, validation = (part and Examples(*part) for part in parts)
    draws = np.random.default_rng(5)
    report = run_epochs(
        stepper, examples, validation, spec, Problem(2, 0), draws, seconds, keeper=kept
    )
    return report, stepper


def progress_of(stopped=None):
    rng = np.random.default_rng(0)
    weights, first, second, best = (
        [rng.normal(size=shape).astype(np.float32) for shape in ((3, 2), (2,), (0, 4), ())]
        for _ in range(4)
    )
    second[0][0, :] = [-0.0, 1e-45]
    state = TrainingState(weights, first, second, 12)
    losses = (0.1, 0.30000000000000004, 1e-300), (3.0, 1 / 3, 0.5)
    return Progress(state, best, 2, *losses, seconds=1.5, stopped=stopped)


def bits(progress):
    state = progress.state
    lists = (state.weights, state.first, state.second, progress.best_weights)
    rest = (state.updates, progress.best_epoch, progress.train, progress.validation)
    arrays = [[(a.dtype, a.shape, a.tobytes()) for a in arrays] for arrays in lists]
    return arrays, rest, progress.seconds, progress.stopped


@pytest.mark.parametrize("stopped", [None, "early_stopping", "time_budget", "completed"])
def test_progress_comes_back_bit_for_bit(tmp_path, stopped):
    progress = progress_of(stopped)
    kept = keeper(tmp_path)
    assert kept.load(progress.state) is None
    kept.save(progress)
    found = keeper(tmp_path).load(progress.state)
    assert bits(found) == bits(progress)
    assert [path.name for path in tmp_path.iterdir()] == ["replicate-000.safetensors"]


@pytest.mark.parametrize("saves", [1, 2, 3])
@pytest.mark.parametrize("held", [True, False])
def test_a_resumed_loop_equals_one_in_one_go(tmp_path, saves, held):
    expected, whole = train(held=held)
    mortal = keeper(tmp_path, kind=MortalFile)
    mortal.lives = saves
    with pytest.raises(Killed):
        train(mortal, held=held)
    report, stepper = train(keeper(tmp_path), held=held)
    assert report.resumed_epochs == 2 * saves
    assert expected.resumed_epochs == 0
    for field in ("epochs", "best_epoch", "updates", "stopped", "history", "warnings"):
        assert getattr(report, field) == getattr(expected, field), field
    assert report.stopped == ("early_stopping" if held else "completed")
    assert [order.tolist() for order in stepper.orders] == [
        order.tolist() for order in whole.orders[2 * saves :]
    ]
    for one, other in zip(stepper.weights(), whole.weights(), strict=True):
        assert one.tobytes() == other.tobytes()


@pytest.mark.parametrize("held", [True, False])
def test_a_complete_training_is_not_trained_again(tmp_path, held):
    expected, whole = train(keeper(tmp_path), held=held)
    report, stepper = train(keeper(tmp_path), held=held)
    assert stepper.orders == []
    assert report.resumed_epochs == report.epochs == expected.epochs
    assert (report.history, report.stopped) == (expected.history, expected.stopped)
    for one, other in zip(stepper.weights(), whole.weights(), strict=True):
        assert one.tobytes() == other.tobytes()


def test_a_budget_counts_the_seconds_before_the_kill(tmp_path):
    mortal = keeper(tmp_path, kind=MortalFile)
    mortal.lives = 1
    with pytest.raises(Killed):
        train(mortal)
    start = KeptStepper(2).state()
    kept = keeper(tmp_path)
    early = kept.load(start)
    assert 0 <= early.seconds < 60
    kept.save(Progress(**{**vars(early), "seconds": 61.0}))
    report, stepper = train(keeper(tmp_path))
    assert (report.epochs, report.stopped, len(stepper.orders)) == (3, "time_budget", 1)
    assert keeper(tmp_path).load(start).seconds >= 61.0
    assert train(keeper(tmp_path))[0].stopped == "time_budget"


def test_saves_are_due_by_epochs_or_by_seconds(tmp_path):
    def due(**changes):
        kept = keeper(tmp_path, **changes)
        kept.save(progress_of())
        return [epoch for epoch in range(1, 8) if kept.is_due(epoch)]

    assert due(every_epochs=3) == [3, 6]
    assert due(every_seconds=3600.0) == []
    assert due(every_seconds=1e-9) == [1, 2, 3, 4, 5, 6, 7]
    assert due(every_epochs=5, every_seconds=3600.0) == [5]


def sealed(arrays):
    arrays.pop("seal")
    return dump_arrays({**arrays, "seal": np.frombuffer(hash_arrays(arrays).encode(), np.uint8)})


def forge(**changes):
    """Return a damage that a right seal covers."""

    def damage(content):
        arrays = load_arrays(content)
        manifest = {**json.loads(arrays["manifest"].tobytes()), **changes.get("manifest", {})}
        arrays["manifest"] = np.frombuffer(json.dumps(manifest).encode(), np.uint8)
        for name in changes.get("without", ()):
            del arrays[name]
        return sealed({**arrays, **changes.get("arrays", {})})

    return damage


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: b"",
        lambda content: content[:-1],
        lambda content: content[:-9] + bytes([content[-9] ^ 1]) + content[-8:],
        lambda content: content.replace(b"12", b"13"),
        lambda content: dump_arrays({"weight_0000": np.zeros(2)}),
        forge(manifest={"schema_version": 2}),
        forge(manifest={"stopped": "bored"}),
        forge(manifest={"best_epoch": 4}),
        forge(without=["weight_0001"]),
        forge(without=["history_train"]),
        forge(arrays={"first_0000": np.zeros((2, 3), np.float32)}),
        forge(arrays={"weight_0000": np.zeros((3, 2))}),
        forge(arrays={"history_validation": np.zeros(1)}),
    ],
    ids=range(13),
)
def test_a_damaged_file_is_never_trained_from_nor_over(tmp_path, damage):
    kept, progress = keeper(tmp_path), progress_of()
    kept.save(progress)
    content = damage(kept.path.read_bytes())
    kept.path.write_bytes(content)
    with pytest.raises(DataInvalid) as caught:
        kept.load(progress.state)
    assert caught.value.code == "checkpoint_unreadable"
    assert str(kept.path) in caught.value.message
    assert kept.path.read_bytes() == content


def test_a_seal_of_its_own_is_read(tmp_path):
    kept, progress = keeper(tmp_path), progress_of()
    kept.save(progress)
    kept.path.write_bytes(forge()(kept.path.read_bytes()))
    assert bits(kept.load(progress.state)) == bits(progress)


def test_a_folder_in_the_files_place_is_unreadable(tmp_path):
    kept = keeper(tmp_path)
    kept.path.mkdir()
    with pytest.raises(DataInvalid) as caught:
        kept.load(progress_of().state)
    assert caught.value.code == "checkpoint_unreadable"
    with pytest.raises(RequestInvalid) as refused:
        kept.save(progress_of())
    assert refused.value.code == "checkpoint_not_written"
    assert [path.name for path in tmp_path.iterdir()] == [kept.path.name]


def test_another_training_is_refused_by_what_differs(tmp_path):
    progress = progress_of()
    keeper(tmp_path).save(progress)
    facts = {"framework": '"jax"', "added": "1", **{f"z{number}": "0" for number in range(4)}}
    with pytest.raises(RequestInvalid) as caught:
        keeper(tmp_path, facts=facts).load(progress.state)
    error = caught.value
    assert error.code == "checkpoint_mismatch"
    assert error.message.endswith("by added, framework, seed, z0 and 3 more")
    assert error.expected == 'a training with added (none), framework "pytorch", seed 4, z0 (none)'
    assert error.received == 'added 1, framework "jax", seed (none), z0 0'
    assert "another folder" in error.remedy


def test_what_a_killed_write_left_is_removed_and_nothing_else(tmp_path):
    progress, kept = progress_of(), keeper(tmp_path)
    kept.save(progress)
    left = tmp_path / f"{kept.path.name}.{'0af3' * 8}"
    others = [
        tmp_path / name
        for name in (
            f"replicate-001.safetensors.{'0af3' * 8}",
            f"{kept.path.name}.bak",
            f"x{kept.path.name}.{'0af3' * 8}",
            "notes.txt",
        )
    ]
    for path in (left, *others):
        path.write_bytes(b"half")
    assert bits(kept.load(progress.state)) == bits(progress)
    assert sorted(tmp_path.iterdir()) == sorted([kept.path, *others])


def test_a_killed_write_leaves_what_is_then_removed(tmp_path, monkeypatch):
    # The last thing that a write does before its file is in place, and after all content is out.
    kept, progress = keeper(tmp_path), progress_of()
    seen = []

    def spy(path, target):
        seen.append((path, path.read_bytes() == content, path.parent == target.parent))

    content = b"all of it"
    monkeypatch.setattr(type(tmp_path), "replace", spy)
    write_file(kept.path, content, durable=True)
    ((left, whole, beside),) = seen
    assert (whole, beside) == (True, True)
    assert kept.load(progress.state) is None
    assert not left.exists()


@pytest.mark.parametrize("folder", ["taken", "taken/below", "a\0b"])
def test_a_folder_that_cannot_be_made_is_refused_before_training(tmp_path, folder):
    (tmp_path / "taken").write_text("here")
    with pytest.raises(RequestInvalid) as caught:
        train(keeper(tmp_path / folder))
    error = caught.value
    assert (error.code, error.field) == ("checkpoint_not_written", "checkpoint.folder")
    assert error.received == str(tmp_path / folder)
    assert (tmp_path / "taken").read_text() == "here"


def test_replicates_have_files_of_their_own(tmp_path):
    names = [keeper(tmp_path, replicate).path.name for replicate in (0, 7, 99)]
    assert names == [f"replicate-{number}.safetensors" for number in ("000", "007", "099")]
