"""Follow one failing cell's reason from the response to the report: the same words everywhere."""

import html
import json
import re

import pytest

from harness.store.journal import list_runs, read_run
from ml.core.contracts import Failure, parse_response
from ml.datasets.describe import to_toml
from ml.worker import serve

pytestmark = pytest.mark.smoke

TARGET = 'price <em> & "co"'
TABLE = "\n".join(['size,"price <em> & ""co"""', *(f"{i},<b>dear</b>" for i in range(30))])
DESCRIPTOR = {
    "id": "prices",
    "title": "prices",
    "task": "classification",
    "target": TARGET,
    "rows": 30,
    "columns": 2,
    "content_sha256": "0" * 64,
    "source": {"kind": "file", "path": "prices.csv", "format": "csv"},
    "provenance": {"origin": "none", "licence": "none"},
}
TESTS = """
    import pytest

    @pytest.mark.smoke
    @pytest.mark.matrix(dataset="prices", algorithm="linear", framework="sklearn")
    def test_prices(cell):
        cell.run()
"""


def test_the_reason_is_the_same_in_response_record_terminal_and_report(pytester):
    folder = pytester.mkdir("tables")
    (folder / "prices.csv").write_text(TABLE)
    (folder / "prices.toml").write_text(to_toml(DESCRIPTOR, {}))
    pytester.makeini("[pytest]\nmatrix_data = tables\n")
    pytester.makepyfile(test_matrix=TESTS)
    result = pytester.runpytest_subprocess("-v")
    result.assert_outcomes(failed=1)
    [run] = list_runs(pytester.path / "reports")
    journal = read_run(run)
    [record], [test] = journal.records, journal.tests

    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(pytester.path)
        response = parse_response(serve("sklearn", "train", json.dumps(record.request)))
    assert isinstance(response, Failure)
    assert response.outcome == "data_invalid"
    assert response.error.message == f"dataset prices, column {TARGET!r} has one class only"
    assert response.error.received == "'<b>dear</b>'"

    assert (record.outcome, record.reason) == (response.outcome, response.error.message)
    assert record.error == response.error

    told = f"{response.outcome}: {response.error.message}"
    facts = ("code", "field", "expected", "received", "remedy")
    lines = [f"  {name}: {getattr(response.error, name)}" for name in facts]
    assert None not in [getattr(response.error, name) for name in facts]
    terminal = result.stdout.str()
    assert f"  outcome: {told}\n" + "\n".join(lines) in terminal  # the failing test
    assert f"FAILED {told} (" in terminal  # its line, as it ends
    assert f"  {record.cell}  {response.error.message}\n" in terminal  # the closing table
    assert "\n".join(lines) in test.reason

    page = (run / "index.html").read_text()
    [section] = re.findall(r'<section aria-labelledby="failures">.*?</section>', page, re.DOTALL)
    shown = [html.unescape(text) for text in re.findall(r'class="text">(.*?)</', section)]
    assert shown == [response.error.message, *(getattr(response.error, name) for name in facts[1:])]
