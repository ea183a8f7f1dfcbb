"""Merge the runtime from every source, and refuse what is wrong by its key and place."""

from pathlib import Path
from random import Random

import pytest
from report_fixture import make_head, make_result

from harness.runtime import KEYS, find_root, gather_runtime, settle_runtime
from harness.store.record import Head
from ml.core.contracts import RuntimeSpec, TrainResult
from ml.core.errors import MatrixError

pytestmark = pytest.mark.unit

NOTHING = dict.fromkeys(KEYS)


def read(root, environment=(), prefix="--matrix-", **arguments):
    return settle_runtime(gather_runtime(root, dict(environment), {**NOTHING, **arguments}, prefix))


def refusal(*given, **arguments):
    with pytest.raises(MatrixError) as caught:
        read(*given, **arguments)
    return str(caught.value)


def write(root, name, text):
    (root / name).write_text(text)
    return root


def test_the_keys_are_the_fields_of_the_runtime_and_nothing_given_is_the_default(tmp_path):
    assert tuple(RuntimeSpec.model_fields) == KEYS
    assert gather_runtime(tmp_path, {"PATH": "/bin"}, NOTHING, "--") == ()
    assert read(tmp_path).model_dump() == {
        "device": "auto",
        "threads": 1,
        "deterministic": True,
        "compilation": "auto",
        "models_at_once": 0,
    }


def test_a_key_of_several_words_is_told_as_it_is_given(tmp_path):
    assert read(tmp_path, {"MLMATRIX_MODELS_AT_ONCE": "8"}).models_at_once == 8
    with pytest.raises(MatrixError, match=r"--matrix-models-at-once is not valid; .* from 0 to 64"):
        read(tmp_path, models_at_once="65")


@pytest.mark.parametrize(
    ("name", "table"),
    [("mlmatrix.toml", "runtime"), ("pyproject.toml", "tool.mlmatrix.runtime")],
)
def test_each_source_gives_every_key_and_a_later_one_wins(tmp_path, name, table):
    write(
        tmp_path,
        name,
        f'[{table}]\ndevice = "cuda"\nthreads = 2\ndeterministic = false\ncompilation = "never"\n'
        "models_at_once = 1\n",
    )
    spec = read(tmp_path)
    assert spec == RuntimeSpec(
        device="cuda", threads=2, deterministic=False, compilation="never", models_at_once=1
    )
    variables = {
        "MLMATRIX_DEVICE": "cpu",
        "MLMATRIX_THREADS": "3",
        "MLMATRIX_DETERMINISTIC": "true",
        "MLMATRIX_COMPILATION": "always",
        "MLMATRIX_MODELS_AT_ONCE": "2",
    }
    spec = read(tmp_path, variables)
    assert spec == RuntimeSpec(
        device="cpu", threads=3, deterministic=True, compilation="always", models_at_once=2
    )
    spec = read(
        tmp_path,
        variables,
        device="auto",
        threads="4",
        deterministic=False,
        compilation="auto",
        models_at_once="3",
    )
    assert spec == RuntimeSpec(
        device="auto", threads=4, deterministic=False, compilation="auto", models_at_once=3
    )
    # One key at a time: what a later source leaves out stays as the earlier one has it.
    spec = read(tmp_path, {"MLMATRIX_THREADS": "5", "MLMATRIX_DEVICE": ""}, compilation="auto")
    assert spec == RuntimeSpec(
        device="cuda", threads=5, deterministic=False, compilation="auto", models_at_once=1
    )


@pytest.mark.parametrize(("text", "value"), [("1", True), ("no", False), ("False", False)])
def test_a_variable_may_say_yes_or_no_in_other_words(tmp_path, text, value):
    assert read(tmp_path, {"MLMATRIX_DETERMINISTIC": text}).deterministic is value


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("threads = 0", "threads is not valid; expected a whole number from 1 to 512; received 0"),
        ('threads = "2"', "threads is not valid; expected a whole number from 1 to 512; *'2'"),
        ("threads = true", "threads is not valid; *; received True"),
        ('device = "gpu"', "device is not valid; expected one of auto, cpu, cuda; received 'gpu'"),
        ("deterministic = 1", "deterministic is not valid; expected true or false; received 1"),
        ("compilation = []", "compilation is not valid; expected one of auto, always, never; *[]"),
        ("thread = 2", "thread is no setting; expected one of device, threads, *'threads'?"),
        ("zzz = 2", "zzz is no setting; expected one of device, threads, *; leave it out"),
    ],
)
@pytest.mark.parametrize(
    ("name", "table"),
    [("mlmatrix.toml", "[runtime]"), ("pyproject.toml", "[tool.mlmatrix.runtime]")],
)
def test_a_wrong_key_of_a_file_is_named_with_its_place(tmp_path, name, table, text, message):
    write(tmp_path, name, f"{table}\n{text}\n")
    start, _, rest = message.partition("*")
    found = refusal(tmp_path)
    assert found.startswith(f"{tmp_path / name}, {table}: {start}")
    assert found.endswith(rest)


def test_a_wrong_value_is_named_also_where_a_later_one_would_win(tmp_path):
    write(tmp_path, "mlmatrix.toml", "[runtime]\nthreads = 0\n")
    assert "[runtime]: threads is not valid" in refusal(tmp_path, threads="2")


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("MLMATRIX_THREADS", "many", "MLMATRIX_THREADS is not valid; expected a whole number *"),
        ("MLMATRIX_DETERMINISTIC", "2", "MLMATRIX_DETERMINISTIC is not valid; expected true or *"),
        ("MLMATRIX_THREAD", "2", "the environment variable MLMATRIX_THREAD is no setting; *"),
        ("MLMATRIX_Device", "cpu", "*; did you mean 'MLMATRIX_DEVICE'?"),
    ],
)
def test_a_wrong_variable_is_named(tmp_path, name, text, message):
    start, _, rest = message.partition("*")
    found = refusal(tmp_path, {name: text})
    assert found.startswith(start)
    assert found.endswith(rest)


def test_a_variable_that_only_begins_alike_is_not_ours(tmp_path):
    assert read(tmp_path, {"MLMATRIX_TOKEN": "secret"}) == RuntimeSpec()


@pytest.mark.parametrize("prefix", ["--matrix-", "--"])
def test_a_wrong_argument_is_named_as_it_was_typed(tmp_path, prefix):
    found = refusal(tmp_path, prefix=prefix, threads="0")
    assert found == (
        f"{prefix}threads is not valid; expected a whole number from 1 to 512; received '0'"
    )


def test_two_files_are_an_error_that_says_so(tmp_path):
    write(tmp_path, "mlmatrix.toml", "[runtime]\nthreads = 2\n")
    write(tmp_path, "pyproject.toml", "[tool.mlmatrix.runtime]\ndevice = 'cpu'\n")
    assert refusal(tmp_path) == (
        f"both {tmp_path / 'mlmatrix.toml'} and {tmp_path / 'pyproject.toml'} set the runtime; "
        "expected [runtime] in mlmatrix.toml, or [tool.mlmatrix.runtime] in pyproject.toml; "
        "move all keys into one of them"
    )
    write(tmp_path, "pyproject.toml", "[tool.mlmatrix]\n[tool.other]\n")
    assert read(tmp_path).threads == 2


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("mlmatrix.toml", "a = ", "mlmatrix.toml cannot be read: Invalid value"),
        ("pyproject.toml", "# mlmatrix\n[", "pyproject.toml cannot be read: "),
        ("mlmatrix.toml", "runtime = 3", "mlmatrix.toml, [runtime] is no table; expected keys"),
        ("pyproject.toml", "tool.mlmatrix = 3", "pyproject.toml, [tool.mlmatrix] is no table"),
        ("mlmatrix.toml", "[runtme]", "runtme is no setting; expected one of runtime; *'runtime'?"),
        (
            "pyproject.toml",
            "[tool.mlmatrix]\nthreads = 2",
            "[tool.mlmatrix]: threads stands outside the runtime's table; move it *",
        ),
    ],
)
def test_a_file_that_cannot_be_understood_is_named(tmp_path, name, text, message):
    start, _, rest = message.partition("*")
    found = refusal(write(tmp_path, name, text))
    assert found.startswith(str(tmp_path / name))
    assert start in found
    assert found.endswith(rest)


def test_a_project_file_without_our_name_is_not_read(tmp_path):
    assert read(write(tmp_path, "pyproject.toml", "{{ template }}")) == RuntimeSpec()


def test_the_root_is_the_nearest_folder_with_settings(tmp_path):
    below = tmp_path / "a" / "b"
    below.mkdir(parents=True)
    write(tmp_path, "mlmatrix.toml", "")
    assert find_root(below) == tmp_path
    write(tmp_path / "a", "pytest.ini", "")
    assert find_root(below) == tmp_path / "a"
    assert find_root(Path("/")) == Path("/")


def test_what_was_stored_before_runtimes_were_recorded_can_be_read():
    head = Head.model_validate_json(make_head("r").model_dump_json(exclude={"runtime"}))
    assert (head.runtime, head.threads_per_worker) == (None, 1)
    result = make_result("a-b-pytorch-train", "pytorch", "regression", 0.5, True, Random(0))
    text = result.model_copy(update={"device": "cpu"}).model_dump_json(exclude={"device"})
    assert TrainResult.model_validate_json(text).device == "unknown"
