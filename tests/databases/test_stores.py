"""Logs in an object store, against an S3-compatible server on this machine."""

from __future__ import annotations

import gzip

import polars as pl
import pytest

from tastemaker.data.reading.readers import read_purchases
from tastemaker.errors import DatabaseProblem

LOG = pl.DataFrame(
    {"user_id": ["a", "b", "a"], "product_id": [7, 7, 9], "date": ["2024-01-01", "2024-01-02", "2024-01-03"]}
)


@pytest.fixture
def bucket(s3, monkeypatch):
    """A bucket of a log in several forms."""
    import obstore
    from obstore.store import S3Store

    for name, value in {
        "AWS_ENDPOINT_URL": s3, "AWS_ACCESS_KEY_ID": "hunter1", "AWS_SECRET_ACCESS_KEY": "hunter2", "AWS_REGION": "us-east-1",
    }.items():  # fmt: skip
        monkeypatch.setenv(name, value)
    import urllib.request

    urllib.request.urlopen(urllib.request.Request(f"{s3}/shop", method="PUT")).close()
    store = S3Store("shop", endpoint=s3, client_options={"allow_http": True})
    obstore.put(store, "one.csv.gz", gzip.compress(LOG.write_csv().encode()))
    obstore.put(store, "day/1.csv", LOG.head(2).write_csv().encode())
    obstore.put(store, "day/2.csv", LOG.tail(1).write_csv().encode())
    obstore.put(store, "day/_SUCCESS", b"")
    return "s3://shop"


@pytest.mark.parametrize("name", ["one.csv.gz", "day/", "day/*.csv"])
def test_an_object_a_folder_and_a_glob_are_logs(bucket, name):
    assert read_purchases(f"{bucket}/{name}").fingerprint() == read_purchases(LOG).fingerprint()


@pytest.mark.parametrize("name", ["none.csv", "none/", "no*.csv"])
def test_what_is_not_there_is_one_sentence(bucket, name):
    with pytest.raises(DatabaseProblem, match=r"none|no\*") as caught:
        read_purchases(f"{bucket}/{name}")
    assert "hunter" not in str(caught.value)
    assert "\n" not in str(caught.value)
