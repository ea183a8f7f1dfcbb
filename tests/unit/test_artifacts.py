import hashlib
import stat

import numpy as np
import pytest

from ml.artifacts.arrays import MANIFEST, dump_arrays, load_arrays, read_artifact, write_artifact
from ml.core.errors import DataInvalid, RequestInvalid

pytestmark = pytest.mark.unit


def arrays():
    rng = np.random.default_rng(0)
    special = np.array([np.nan, -np.nan, np.inf, -np.inf, -0.0, 1e-45], np.float32)
    return {
        "weight_000": rng.normal(size=(5, 3)).astype(np.float32),
        "weight_001": special,
        "empty": np.zeros((0, 4), np.float32),
        "scalar": np.array(2.5),
        "counts": np.array([[2**62, -1]], np.int64),
    }


def test_arrays_come_back_bit_for_bit():
    restored = load_arrays(dump_arrays(arrays()))
    assert set(restored) == set(arrays())
    for name, array in arrays().items():
        assert restored[name].dtype == array.dtype
        assert restored[name].shape == array.shape
        assert restored[name].tobytes() == array.tobytes()


def test_arrays_of_any_layout_keep_their_values():
    square = np.arange(12, dtype=np.float32).reshape(3, 4)
    given = {"turned": square.T, "strided": square[:, ::2], "backward": square[::-1]}
    restored = load_arrays(dump_arrays(given))
    for name, array in given.items():
        assert restored[name].tolist() == array.tolist()


def test_arrays_come_back_in_the_order_of_their_names():
    names = [f"weight_{number:03d}" for number in range(40)]
    content = dump_arrays({name: np.zeros(1, np.float32) for name in reversed(names)})
    assert list(load_arrays(content)) == names


def test_equal_arrays_give_equal_bytes():
    assert dump_arrays(arrays()) == dump_arrays(arrays())


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: b"",
        lambda content: b"no such file",
        lambda content: content[:-1],
        lambda content: content[:20],
        lambda content: content + b"\0",
        lambda content: b"\xff" * 8 + content[8:],
        lambda content: content[:8] + b"[" + content[9:],
    ],
    ids=["empty", "text", "cut", "header_cut", "longer", "header_size", "header"],
)
def test_damaged_bytes_are_refused(damage):
    with pytest.raises(DataInvalid) as caught:
        load_arrays(damage(dump_arrays(arrays())))
    assert caught.value.code == "artifact_unreadable"
    assert "train the cell again" in caught.value.remedy


def test_an_artifact_is_a_manifest_beside_the_model(tmp_path):
    folder = tmp_path / "runs" / "one"
    assert write_artifact(folder, {"schema_version": 1, "Größe": 2.5}, b"\0model", ".bin") == folder
    assert sorted(path.name for path in folder.iterdir()) == [MANIFEST, "model.bin"]
    manifest, model = read_artifact(folder)
    assert manifest == {
        "schema_version": 1,
        "Größe": 2.5,
        "model_file": "model.bin",
        "model_sha256": hashlib.sha256(b"\0model").hexdigest(),
    }
    assert model == b"\0model"
    assert (folder / "model.bin").read_bytes() == b"\0model"


def test_writing_again_replaces_both_files(tmp_path):
    write_artifact(tmp_path, {"version": 1}, b"long first model", ".bin")
    write_artifact(tmp_path, {"version": 2}, b"second", ".bin")
    manifest, model = read_artifact(tmp_path)
    assert (manifest["version"], model) == (2, b"second")
    assert (tmp_path / "model.bin").read_bytes() == b"second"
    assert len(list(tmp_path.iterdir())) == 2


def test_a_manifest_that_is_no_json_leaves_no_file(tmp_path):
    with pytest.raises(ValueError, match="Out of range float"):
        write_artifact(tmp_path, {"loss": float("nan")}, b"model", ".bin")
    assert list(tmp_path.iterdir()) == []


def test_a_failed_write_leaves_neither_a_file_nor_a_temporary_one(tmp_path):
    (tmp_path / "model.bin").mkdir()  # A file cannot replace a folder.
    with pytest.raises(RequestInvalid) as caught:
        write_artifact(tmp_path, {}, b"model", ".bin")
    assert caught.value.field == "artifact_dir"
    assert [path.name for path in tmp_path.iterdir()] == ["model.bin"]
    assert list((tmp_path / "model.bin").iterdir()) == []


@pytest.mark.parametrize("below", ["", "deeper/still"])
def test_a_folder_that_is_a_file_is_the_callers_mistake(tmp_path, below):
    path = tmp_path / "taken"
    path.write_text("here")
    with pytest.raises(RequestInvalid) as caught:
        write_artifact(path / below, {}, b"model", ".bin")
    assert (caught.value.code, caught.value.field) == ("artifact_not_written", "artifact_dir")
    assert str(path) in caught.value.received
    assert path.read_text() == "here"


def test_files_can_be_read_by_whoever_may_read_the_folder(tmp_path):
    plain = tmp_path / "plain"
    plain.write_text("as any other file")
    write_artifact(tmp_path, {}, b"model", ".bin")
    for name in (MANIFEST, "model.bin"):
        mode = stat.S_IMODE((tmp_path / name).stat().st_mode)
        assert mode == stat.S_IMODE(plain.stat().st_mode)
