from pathlib import Path

import pytest

from ml.core.errors import DataInvalid
from ml.datasets.load import load_table
from ml.health.check import check
from ml.health.sketching import sketch_table
from ml.health.stored import write_sketch

pytestmark = pytest.mark.system

SHIPPED = Path(__file__).parents[2] / "ml" / "data"


@pytest.fixture(scope="module")
def halves():
    """Return two halves of a real table with numbers, gaps and categories."""
    import pandas as pd

    table = load_table(SHIPPED / "bank_marketing.toml")
    columns = {
        name: table.numeric[:1600, place] for place, name in enumerate(table.numeric_names[:4])
    }
    for place, name in enumerate(table.categorical_names[:4]):
        codes = table.categorical[:1600, place]
        levels = [*table.levels[place], None]
        columns[name] = [levels[code] for code in codes]
    frame = pd.DataFrame(columns).sample(frac=1, random_state=0, ignore_index=True)
    return frame[:800], frame[800:].reset_index(drop=True)


def save(frame, path):
    if path.suffix == ".parquet":
        frame.to_parquet(path, row_group_size=150)
    elif path.suffix == ".feather":
        frame.to_feather(path)
    elif path.suffix == ".jsonl":
        frame.to_json(path, orient="records", lines=True)
    elif path.suffix == ".h5":
        frame.to_hdf(path, key="table", format="table", data_columns=True, index=False)
    else:
        frame.to_csv(path, index=False)
    return path


@pytest.fixture(scope="module")
def expected(halves):
    return check(*halves)


@pytest.mark.parametrize("name", ["t.parquet", "t.feather", "t.csv", "t.csv.gz", "t.jsonl"])
def test_a_check_is_the_same_in_every_format(halves, expected, tmp_path, name):
    first, second = (save(half, tmp_path / f"{place}{name}") for place, half in enumerate(halves))
    assert expected.verdict == "healthy"
    found = check(first, str(second))
    assert found.schema_differences == ()
    assert found.p == expected.p
    assert found.effects == pytest.approx(expected.effects)


def test_the_index_of_a_table_that_was_filtered_is_no_column(halves, expected, tmp_path):
    first = save(halves[0], tmp_path / "first.parquet")
    second = halves[1].rename(index=lambda row: 2 * row)
    found = check(first, save(second, tmp_path / "second.parquet"))
    assert found.schema_differences == ()
    assert found.p == expected.p


def test_hdf5_holds_numbers_and_text_without_gaps(halves, tmp_path):
    first, second = (half.fillna("none") for half in halves)
    first, second = (half.astype({"age": float}) for half in (first, second))
    paths = save(first, tmp_path / "a.h5"), save(second, tmp_path / "b.h5")
    found, plain = check(*paths), check(first, second)
    assert found.p == plain.p
    assert found.effects == pytest.approx(plain.effects)


def test_a_stored_sketch_stands_for_its_table(halves, expected, tmp_path):
    first = save(halves[0], tmp_path / "a.parquet")
    kept = write_sketch(sketch_table(first), tmp_path / "kept")
    first.unlink()
    assert check(kept, halves[1]).effects == pytest.approx(expected.effects)


def test_parts_in_a_folder_are_one_table(halves, expected, tmp_path):
    folder = tmp_path / "parts"
    folder.mkdir()
    for place in range(3):
        save(halves[1][270 * place : 270 * (place + 1)], folder / f"part-{place}.parquet")
    assert check(halves[0], folder).p == expected.p


def test_a_cell_that_is_no_number_is_told_and_a_ragged_line_is_one_line(halves, tmp_path):
    changed = halves[1].astype({"age": object})
    changed.loc[400, "age"] = "unknown"
    report = check(save(halves[0], tmp_path / "a.csv"), save(changed, tmp_path / "b.csv"))
    assert report.verdict == "differs"
    assert [(d.column, d.change) for d in report.schema_differences] == [("age", "kind")]
    ragged = tmp_path / "ragged.csv"
    ragged.write_text("a,b\n1,2\n3\n")
    with pytest.raises(DataInvalid, match=r"ragged\.csv cannot be read"):
        check(ragged, ragged)
    lines = tmp_path / "lines.jsonl"
    lines.write_text('{"a": 1}\nnot json\n')
    with pytest.raises(DataInvalid, match="line 2"):
        check(lines, lines)
    unsafe = tmp_path / "fixed.h5"
    halves[0].to_hdf(unsafe, key="table", format="fixed")
    with pytest.raises(DataInvalid, match="HDF5"):
        check(unsafe, unsafe)
