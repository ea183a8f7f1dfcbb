"""A table at an S3 URL is checked as one on the disk is, against a server of our own."""

import os
import socket
import subprocess
import sys
import time
import urllib.request

import numpy as np
import pytest

from ml.core.errors import DataInvalid
from ml.health.check import check

pytestmark = pytest.mark.system


@pytest.fixture
def bucket(monkeypatch):
    """Serve an empty bucket, and point the clients of this process at it."""
    pytest.importorskip("s3fs", reason="s3fs is not installed: pip install s3fs")
    pytest.importorskip("moto.server", reason="moto is not installed: pip install 'moto[server]'")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    for name, value in {
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ENDPOINT_URL": url,
    }.items():
        monkeypatch.setenv(name, value)
    server = subprocess.Popen(
        [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=os.environ,
    )
    try:
        deadline = time.monotonic() + 60
        while True:
            try:
                urllib.request.urlopen(url, timeout=1).close()
                break
            except OSError:
                if server.poll() is not None or time.monotonic() > deadline:
                    raise
                time.sleep(0.1)
        import s3fs

        files = s3fs.S3FileSystem(skip_instance_cache=True)
        files.mkdir("tables")
        yield files
    finally:
        server.terminate()
        server.wait(30)


def make_frame(seed):
    import pandas as pd

    draw = np.random.default_rng(seed)
    size = draw.standard_normal(800)
    return pd.DataFrame({"size": size, "kind": draw.choice(["a", "b"], 800)})


@pytest.mark.filterwarnings("default")
def test_tables_at_urls_are_checked_as_those_on_the_disk(bucket, tmp_path):
    first, second = make_frame(1), make_frame(2)
    first.to_parquet(tmp_path / "a.parquet", row_group_size=100)
    second.to_csv(tmp_path / "b.csv.gz", index=False)
    second.to_json(tmp_path / "b.jsonl", orient="records", lines=True)
    for name in ("a.parquet", "b.csv.gz", "b.jsonl"):
        bucket.put(str(tmp_path / name), f"tables/{name}")
    expected = check(first, second)
    for name in ("b.csv.gz", "b.jsonl"):
        found = check("s3://tables/a.parquet", f"s3://tables/{name}")
        assert found.p == expected.p
        assert found.effects == pytest.approx(expected.effects)
    with pytest.raises(DataInvalid, match=r"s3://tables/none\.csv cannot be read"):
        check(first, "s3://tables/none.csv")
