from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from ml.core.descriptor import read_descriptor
from ml.core.errors import DataInvalid
from ml.datasets.__main__ import main
from ml.datasets.describe import propose_descriptor, to_toml
from ml.datasets.load import load_table

pytestmark = pytest.mark.unit

CUSTOMERS = """\
Customer ID;joined;zip;plan;usage;empty;constant;left
c1;2020-01-03;01234;basic;3.5;;x;no
c2;2020-01-01;11235;plus;?;;x;no
c3;2020-01-02;01234;plus;1e3;;x;yes
c4;2020-02-01;00001;NA;7;;x;no
"""


@pytest.fixture
def customers(tmp_path: Path) -> Path:
    file = tmp_path / "My Customers.csv"
    file.write_text(CUSTOMERS)
    return file


def save(file: Path, text: str) -> Path:
    path = file.with_name(tomllib.loads(text)["id"] + ".toml")
    path.write_text(text)
    return path


def test_a_proposal_loads_as_it_stands(customers):
    path = save(customers, propose_descriptor(customers))
    assert path.name == "my_customers.toml"
    descriptor = read_descriptor(path)
    assert (descriptor.task, descriptor.target, descriptor.positive) == (
        "classification",
        "left",
        "yes",
    )
    assert descriptor.drop == {
        "Customer ID": "an id: every row has its own",
        "empty": "empty",
        "constant": "constant",
    }
    assert descriptor.categorical == ("zip",)
    assert descriptor.missing == ("?", "NA")
    assert (descriptor.split.rule, descriptor.split.column) == ("time", "joined")
    assert (descriptor.rows, descriptor.columns) == (4, 4)
    schema = {name: rule.model_dump() for name, rule in descriptor.table_schema.items()}
    assert set(schema) == {"left", "usage", "zip", "plan"}
    assert schema["usage"] | {"categories": ()} == {
        "kind": "numeric",
        "low": 3.5,
        "high": 1000.0,
        "categories": (),
        "missing": 0.5,
    }
    assert schema["plan"]["categories"] == ("basic", "plus")
    table = load_table(path)
    assert table.target.tolist() == [0, 1, 0, 0]
    assert table.numeric_names == ("usage",)
    assert table.levels == (("00001", "01234", "11235"), ("basic", "plus"))
    comments = [line for line in path.read_text().splitlines() if line.startswith("# check:")]
    assert len(comments) == 8


def test_a_named_target_and_id_are_kept_and_a_regression_is_seen(customers):
    path = save(customers, propose_descriptor(customers, "usage", "spend"))
    assert path.name == "spend.toml"
    descriptor = read_descriptor(path)
    assert (descriptor.task, descriptor.target, descriptor.positive) == (
        "regression",
        "usage",
        None,
    )
    assert load_table(path).rows == 3


def test_counted_rows_and_wide_text_are_noticed(tmp_path):
    lines = ["nr,note,word,y", *(f"{n},text {n},w{n % 150},{n % 3}" for n in range(300))]
    (tmp_path / "a.csv").write_text("\n".join(lines))
    text = propose_descriptor(tmp_path / "a.csv")
    descriptor = read_descriptor(save(tmp_path / "a.csv", text))
    assert set(descriptor.drop) == {"nr", "note"}
    assert descriptor.task == "classification"
    assert "an id perhaps: 'word'" in text


def test_names_that_toml_must_escape_survive(tmp_path):
    odd = ['a "quoted" name', "back\\slash", "new\nline", "tab\there", "é.🙂", "", "\x7f", "#"]
    cells = ['"' + name.replace('"', '""') + '"' for name in odd]
    file = tmp_path / 'odd "name\n= 1.csv'
    file.write_text(
        ",".join([*cells, "y"])
        + "\n"
        + "\n".join(["1,1,1,1,1,1,1,1,1"] * 2 + ["2,1,1,1,1,1,1,1,2"])
    )
    path = save(file, propose_descriptor(file, id="odd"))
    descriptor = read_descriptor(path)
    assert set(descriptor.drop) == {*odd[1:5], "unnamed_6", *odd[6:]}
    assert load_table(path).numeric_names == (odd[0],)


def test_toml_is_read_back_as_it_was():
    values = {
        "text": 'a"b\\c\n\x00\x7f\u2028é',
        "numbers": [1, -2.5, 1e300],
        "truth": True,
        "none": [],
        "table": {"odd key": "x", "plain-key_1": ["y", "z"], "": "empty"},
    }
    assert tomllib.loads(to_toml(values, {"text": "a note", "table": "another"})) == values


@pytest.mark.parametrize(
    ("name", "content", "target", "id", "message"),
    [
        ("a.csv", "a,b\n1,2\n", "B", None, r"no column 'B'.*mean 'b'"),
        ("a.docx", "a", None, None, "a name that says no format; expected one of .csv"),
        ("a.csv", "a\n1\n", None, None, "one column only"),
        ("a.csv", "a,b\n", None, None, "has no rows"),
        ("a.csv", "a,b\n1,2\n", None, "Bad Id", "with --id, in small letters"),
        ("???.csv", "a,b\n1,2\n3,4\n", None, None, "with --id, in small letters"),
        ("a.csv", "a,b\n1,x\n2,x\n", "b", None, "one class only"),
        ("gone.csv", None, None, None, "cannot be read: No such file"),
    ],
)
def test_a_file_that_is_no_table_is_refused(tmp_path, name, content, target, id, message):
    file = tmp_path / name
    if content is not None:
        file.write_text(content)
    with pytest.raises(DataInvalid, match=message):
        propose_descriptor(file, target, id)


def test_the_command_describes_lists_shows_and_materialises(customers, capsys):
    folder = str(customers.parent)
    assert main(["describe", str(customers), "--id", "customers"]) == 0
    save(customers, capsys.readouterr().out)

    assert main(["list", folder]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["id", "task", "rows", "columns", "materialised"]
    assert ["customers", "classification", "4", "4", "no"] in [line.split() for line in lines]
    assert "nyc_flights_late" in {line.split()[0] for line in lines}

    assert main(["materialise", "--data", folder, "customers"]) == 0
    assert capsys.readouterr().out.startswith("customers: 4 rows, ")
    assert main(["list", folder]) == 0
    assert ["customers", "classification", "4", "4", "yes"] in [
        line.split() for line in capsys.readouterr().out.splitlines()
    ]
    assert main(["show", "--data", folder, "customers"]) == 0
    assert capsys.readouterr().out == (customers.parent / "customers.toml").read_text()


def test_materialising_goes_on_after_a_failure(customers, capsys):
    folder = customers.parent
    text = propose_descriptor(customers, id="good")
    (folder / "good.toml").write_text(text)
    (folder / "bad.toml").write_text(
        text.replace('"good"', '"bad"').replace("rows = 4", "rows = 5")
    )
    assert main(["materialise", "--data", str(folder), "bad", "good"]) == 1
    said = capsys.readouterr()
    assert said.out.startswith("good: 4 rows")
    assert said.err.startswith("error: bad: dataset bad is not the table that")
    assert said.err.count("\n") == 1


def test_a_broken_or_doubled_descriptor_is_reported_by_list(customers, capsys):
    folder = customers.parent
    (folder / "broken.toml").write_text("id = ")
    (folder / "wine.toml").write_text(propose_descriptor(customers, id="wine"))
    assert main(["list", str(folder)]) == 1
    said = capsys.readouterr()
    assert "error: dataset descriptor" in said.err
    assert "broken.toml cannot be read" in said.err
    assert "wine.toml has the id of" in said.err
    assert "wine" in said.out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["describe", "gone.csv"], "error: gone.csv cannot be read"),
        (["show", "winne"], "error: there is no dataset 'winne'; did you mean 'wine'?"),
        (["list", "no/such/folder"], "error: no/such/folder is not a folder"),
        (["materialise", "a", "b"], "error: there is no dataset 'a'"),
        (["nonsense"], "error: argument command"),
    ],
)
def test_a_mistake_exits_with_2_and_without_a_traceback(arguments, message):
    answer = subprocess.run(
        [sys.executable, "-m", "ml.datasets", *arguments],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=False,
    )
    assert answer.returncode == 2
    assert message in answer.stderr
    assert "Traceback" not in answer.stderr
    assert answer.stdout == ""
