"""Logs in an object store, against servers on this machine: an S3-compatible one, and Microsoft's emulator."""

from __future__ import annotations

import contextlib
import gzip
import json
import urllib.error
import urllib.request

import polars as pl
import pytest
from database_servers import AZURITE, make_container

from tastemaker.data.reading.readers import read_purchases
from tastemaker.errors import DatabaseProblem

LOG = pl.DataFrame(
    {"user_id": ["a", "b", "a"], "product_id": [7, 7, 9], "date": ["2024-01-01", "2024-01-02", "2024-01-03"]}
)


SECRETS = ("hunter", AZURITE[1])


@pytest.fixture(params=["s3", "gs", "az"])
def bucket(request, monkeypatch, tmp_path):
    """A bucket of a log in several forms, of each kind of store.

    Google's is stood in for by the S3-compatible server: obstore asks Google for lists and objects by the XML interface, which
    is that of S3. Azure's is Microsoft's own emulator.
    """
    import obstore
    from obstore.store import from_url

    kind = request.param
    for name, value in ENVIRONMENTS[kind](request.getfixturevalue, tmp_path).items():
        monkeypatch.setenv(name, value)
    objects = {
        "one.csv.gz": gzip.compress(LOG.write_csv().encode()),
        "day/1.csv": LOG.head(2).write_csv().encode(),
        "day/2.csv": LOG.tail(1).write_csv().encode(),
        "day/_SUCCESS": b"",
    }
    if kind == "gs":  # who asks as Google is not signed in here
        for name, content in objects.items():
            put(f"{request.getfixturevalue('s3')}/google/{name}", content, "public-read")
        return "gs://google"
    store = from_url(f"{kind}://shop", **({} if kind == "az" else {"client_options": {"allow_http": True}}))
    for name, content in objects.items():
        obstore.put(store, name, content)
    return f"{kind}://shop"


def put(address, content=None, access="private"):
    asked = urllib.request.Request(
        address, content, {"x-amz-acl": access, "content-type": "text/csv"}, method="PUT"
    )
    urllib.request.urlopen(asked, timeout=20).close()


def of_amazon(fixture, folder):
    put(f"{fixture('s3')}/shop")
    return {
        "AWS_ENDPOINT_URL": fixture("s3"), "AWS_ACCESS_KEY_ID": "hunter1", "AWS_SECRET_ACCESS_KEY": "hunter2",
        "AWS_REGION": "us-east-1",
    }  # fmt: skip


def of_google(fixture, folder):
    account = {
        "gcs_base_url": fixture("s3"), "disable_oauth": True, "client_email": "", "private_key": "", "private_key_id": "hunter3",
    }  # fmt: skip
    (folder / "account.json").write_text(json.dumps(account))
    put(f"{fixture('s3')}/google", access="public-read-write")
    return {"GOOGLE_SERVICE_ACCOUNT": str(folder / "account.json")}


def of_azure(fixture, folder):
    end = fixture("azure")
    with contextlib.suppress(urllib.error.HTTPError):  # it is there
        make_container(end, "shop")
    return {"AZURE_STORAGE_USE_EMULATOR": "true", "AZURITE_BLOB_STORAGE_URL": end}


ENVIRONMENTS = {"s3": of_amazon, "gs": of_google, "az": of_azure}


@pytest.mark.parametrize("name", ["one.csv.gz", "day/", "day/*.csv"])
def test_an_object_a_folder_and_a_glob_are_logs(bucket, name):
    assert read_purchases(f"{bucket}/{name}").fingerprint() == read_purchases(LOG).fingerprint()


@pytest.mark.parametrize("name", ["none.csv", "none/", "no*.csv"])
def test_what_is_not_there_is_one_sentence(bucket, name):
    with pytest.raises(DatabaseProblem, match=r"none|no\*") as caught:
        read_purchases(f"{bucket}/{name}")
    assert not any(secret in str(caught.value) for secret in SECRETS)
    assert "\n" not in str(caught.value)
