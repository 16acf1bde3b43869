"""Articles from a real S3 server on this machine, also through a proxy that fails as networks do."""

import base64
import errno
import hashlib
import http.client
import json
import logging
import os
import re
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
import zlib
from collections import Counter
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit
from urllib.request import Request, urlopen

import boto3
import pytest
from botocore.config import Config
from moto.server import ThreadedMotoServer

from phenolip.exceptions import ConfigurationError, DataError
from phenolip.phenokg.articles import bucket as bucket_module
from phenolip.phenokg.fetch_articles import FetchConfig, list_articles, run
from phenolip.phenokg.records import ArticleId, Drop, FetchedArticle, from_row, to_row

BUCKET = "pmc-oa-opendata"
JATS = Path(os.environ.get("PHENOLIP_TEST_DATA", "absent")) / "jats"
MEDIA = (".jpg", ".png", ".tif")


@dataclass
class Fault:
    """What happens to the next `times` requests whose path or query holds `part`."""

    part: str
    kind: str
    times: int = 10**9


@dataclass
class FaultyProxy:
    """Hands requests on to the server behind it, and breaks those that match a fault."""

    target: str
    faults: list[Fault] = field(default_factory=list)
    requests: list[tuple[float, str]] = field(default_factory=list)

    def __post_init__(self):
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                proxy.answer(self)

            def log_message(self, *_):
                pass

        self.lock = threading.Lock()
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()

    def paths(self):
        return [path for _, path in self.requests]

    def fault_of(self, path):
        with self.lock:
            self.requests.append((time.monotonic(), path))
            for fault in self.faults:
                if fault.part in path and fault.times:
                    fault.times -= 1
                    return fault.kind
        return None

    def answer(self, handler):
        kind = self.fault_of(unquote(handler.path))
        if kind in ("404", "503", "400"):
            code = {"404": "NoSuchKey", "503": "SlowDown", "400": "InvalidRequest"}[kind]
            body = f"<Error><Code>{code}</Code><Message>m</Message></Error>".encode()
            return self.send(handler, int(kind), {"content-type": "application/xml"}, body)
        if kind == "silent":
            time.sleep(1.5)
        if kind == "reset":
            handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            handler.close_connection = True
            return handler.connection.close()
        connection = http.client.HTTPConnection(urlsplit(self.target).netloc, timeout=10)
        connection.request("GET", handler.path, headers={"x-amz-checksum-mode": "ENABLED"})
        answer = connection.getresponse()
        body, headers = answer.read(), {name.lower(): value for name, value in answer.getheaders()}
        connection.close()
        checksum = base64.b64encode(zlib.crc32(body).to_bytes(4, "big")).decode()
        if kind in ("corrupt", "corrupt unnoticed by x-amz", "own key", "own key, checksum"):
            body = body[:-1] + bytes([body[-1] ^ 1])
        if kind in ("corrupt unnoticed by x-amz", "own key"):
            headers = {name: value for name, value in headers.items() if not name.startswith("x-amz-checksum")}
        if kind in ("own key", "own key, checksum"):
            headers["x-amz-server-side-encryption"] = "aws:kms"
        if kind == "own key, checksum":
            headers["x-amz-checksum-crc32"] = checksum
        if kind == "longer":
            body, headers = body + b"x", {**headers, "content-length": str(len(body) + 1)}
        self.send(handler, answer.status, headers, body, kind)

    def send(self, handler, status, headers, body, kind=None):
        try:
            handler.send_response(status)
            for name, value in {**headers, "content-length": str(len(body))}.items():
                if name not in ("connection", "server", "date", "transfer-encoding"):
                    handler.send_header(name, value)
            handler.end_headers()
            if kind == "truncated":
                handler.wfile.write(body[: len(body) // 2])
                handler.close_connection = True
            elif kind == "trickle":
                for place in range(0, len(body), 100):
                    handler.wfile.write(body[place : place + 100])
                    time.sleep(0.05)
            else:
                handler.wfile.write(body)
        except OSError:
            handler.close_connection = True  # the client gave up, as it should


@pytest.fixture(autouse=True)
def _no_network(monkeypatch):
    """Whatever leaves this machine fails, and nothing of the user's set-up counts."""
    for name in [name for name in os.environ if name.lower().endswith("_proxy") or name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    real = socket.socket.connect

    def connect(self, address):
        assert address[0] == "127.0.0.1", address
        return real(self, address)

    monkeypatch.setattr(socket.socket, "connect", connect)


@pytest.fixture(scope="module")
def server():
    moto = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    moto.start()
    yield "http://127.0.0.1:{1}".format(*moto.get_host_and_port())
    moto.stop()


@pytest.fixture(scope="module")
def client(server):
    """One that may write; making it takes a while."""
    settings = Config(s3={"addressing_style": "path"}, proxies={})
    return boto3.session.Session("a", "b", region_name="us-east-1").client("s3", endpoint_url=server, config=settings)


@pytest.fixture
def owner(server, client):
    """The client, and an empty bucket."""
    urlopen(Request(f"{server}/moto-api/reset", method="POST")).close()
    client.create_bucket(Bucket=BUCKET, ACL="public-read")
    return client


@pytest.fixture
def store(owner):
    """Puts objects into the bucket."""

    def put(objects):
        for key, body in objects.items():
            owner.put_object(Bucket=BUCKET, Key=key, Body=body, ACL="public-read")

    return put


@pytest.fixture
def proxy(server):
    proxy = FaultyProxy(server)
    yield proxy
    proxy.server.shutdown()
    proxy.server.server_close()


@pytest.fixture
def config(proxy, tmp_path):
    return FetchConfig(
        folder=tmp_path / "articles",
        endpoint=proxy.url,
        requests_per_s=1000.0,
        timeout_s=5.0,
        retries=2,
        backoff_s=0.01,
        concurrency=2,
    )


def md5(data):
    return hashlib.md5(data).hexdigest()


def article(article_id, media=("gr1.jpg", "gr2.png"), *, xml=None, others=("x.pdf",), **metadata):
    """Objects of one version, in the layout of the bucket."""
    xml = xml if xml is not None else f"<article><title>{article_id}</title></article>".encode() * 20
    media = media if isinstance(media, dict) else {name: f"{article_id} {name}".encode() * 50 for name in media}
    pmcid, _, version = article_id.partition(".")
    address = f"s3://{BUCKET}/{article_id}/"
    given = {
        "pmcid": pmcid, "version": int(version), "pmid": 7, "doi": "10.1/x", "license_code": "CC BY",
        "is_retracted": False, "is_manuscript": False, "is_pmc_openaccess": True,
        "xml_url": f"{address}{article_id}.xml?md5={md5(xml)}",
        "media_urls": [f"{address}{name}?md5={md5(data)}" for name, data in media.items()],
    }  # fmt: skip
    given = {name: value for name, value in {**given, **metadata}.items() if value is not ...}
    files = {f"{article_id}.xml": xml, f"{article_id}.json": json.dumps(given).encode(), **media}
    files |= {name: b"other" for name in others}
    return {f"{article_id}/{name}": data for name, data in files.items()}


def fetch(config, *ids):
    return list(run([ArticleId(*_split(text)) for text in ids], config))


def _split(text):
    pmcid, _, version = text.partition(".")
    return pmcid, int(version) if version else None


def only(config, *ids):
    found = fetch(config, *ids)
    assert len(found) == 1, found
    return found[0]


def tree(folder):
    """Everything in a folder by content, without the lock."""
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file() and path.name != ".lock"
    }


def test_an_article_comes_whole_with_what_its_metadata_say(store, config, proxy):
    objects = article("PMC123.2", others=("PMC123.2.txt", "PMC123.2.pdf", "data.xlsx"))
    store(objects)
    found = only(config, "PMC123")
    assert (found.article_id, found.pmcid, found.version, found.versions) == ("PMC123.2", "PMC123", 2, (2,))
    assert (found.license_code, found.pmid, found.doi) == ("CC BY", "7", "10.1/x")
    assert (found.is_retracted, found.is_manuscript, found.is_open_access) == (False, False, True)
    assert (found.missing_fields, found.num_other_files, found.dropped_files) == ((), 3, ())
    files = {file.key: file for file in (found.xml, found.metadata, *found.media)}
    assert files.keys() == {key for key in objects if key.endswith((".xml", ".json", ".jpg", ".png"))}
    for key, file in files.items():
        data = (Path(config.folder) / file.path).read_bytes()
        assert data == objects[key]
        assert (file.num_bytes, file.sha256) == (len(data), hashlib.sha256(data).hexdigest())
        assert file.checks == (("etag",) if key.endswith(".json") else ("etag", "metadata"))
    assert len(tree(Path(config.folder))) == len(files) + 1  # and the note that they are complete
    # one listing and one request for each file: no HEAD, no second look
    assert len(proxy.requests) == 1 + len(files)
    assert from_row(json.loads(json.dumps(to_row(found))), FetchedArticle, "row") == found


def test_articles_of_the_development_data_arrive_byte_for_byte(store, config):
    if not JATS.is_dir():
        pytest.skip("PHENOLIP_TEST_DATA is not set")
    objects, number = {}, 1000
    for xml in sorted([*JATS.rglob("*.xml"), *JATS.rglob("*.nxml")]):
        if xml.stat().st_size < 2_000_000:
            number += 1
            beside = [path for path in xml.parent.iterdir() if path.suffix in MEDIA and path.stat().st_size < 300_000]
            media = {path.name: path.read_bytes() for path in beside}
            objects |= article(f"PMC{number}.1", media, xml=xml.read_bytes())
    store(objects)
    found = fetch(config, *(f"PMC{place}" for place in range(1001, number + 1)))
    assert len(found) == number - 1000 > 20
    on_disk = {
        file.key: (Path(config.folder) / file.path).read_bytes()
        for row in found
        for file in (row.xml, row.metadata, *row.media)
    }
    assert on_disk == {key: data for key, data in objects.items() if not key.endswith(".pdf")}
    assert sum(len(row.media) for row in found) > 20


def test_the_highest_version_counts_as_a_number(store, config):
    for version in (1, 2, 9, 10):
        store(article(f"PMC1.{version}"))
    store(article("PMC10.77"))
    assert only(config, "PMC1").article_id == "PMC1.10"
    assert only(config, "PMC1").versions == (1, 2, 9, 10)
    assert only(config, "PMC1.9").article_id == "PMC1.9"
    assert only(config, "PMC1.3").reason == "not_found"


def test_what_is_complete_is_not_asked_for_again(store, config, proxy):
    store(article("PMC1.1") | article("PMC2.1"))
    before = fetch(config, "PMC1", "PMC2.1")
    asked = len(proxy.requests)
    assert fetch(config, "PMC1", "PMC2.1") == before
    assert len(proxy.requests) == asked
    store(article("PMC1.2"))
    assert only(config, "PMC1").article_id == "PMC1.1"
    assert only(replace(config, refresh=True), "PMC1").article_id == "PMC1.2"
    assert only(config, "PMC1").article_id == "PMC1.2"


def test_a_version_that_was_named_does_not_stand_for_the_highest(store, config):
    store(article("PMC1.1") | article("PMC1.2"))
    assert only(config, "PMC1.1").article_id == "PMC1.1"
    assert only(config, "PMC1").article_id == "PMC1.2"


def test_other_choices_fetch_only_what_they_add(store, config, proxy):
    store(article("PMC1.1"))
    assert only(replace(config, xml_only=True), "PMC1").media == ()
    proxy.requests.clear()
    assert len(only(config, "PMC1").media) == 2
    assert sorted(Counter(path.rpartition("/")[2] for path in proxy.paths() if "?" not in path)) == [
        "gr1.jpg",
        "gr2.png",
    ]


def test_a_file_that_went_missing_or_changed_its_size_is_fetched_again(store, config, proxy):
    store(article("PMC1.1"))
    found = only(config, "PMC1")
    (Path(config.folder) / found.media[0].path).unlink()
    (Path(config.folder) / found.xml.path).write_bytes(b"cut")
    before = len(proxy.requests)
    assert only(config, "PMC1") == found
    assert len(proxy.requests) == before + 3  # listing and the two files
    assert all(
        (Path(config.folder) / file.path).stat().st_size == file.num_bytes for file in (found.xml, *found.media)
    )


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"license_code": ..., "licence": "CC BY"}, ("license_code",)),
        ({"license_code": 5.5, "is_retracted": "perhaps"}, ("license_code", "is_retracted")),
        ({"media_urls": {"a": 1}, "xml_url": "nowhere"}, ("xml_url", "media_urls")),
        ({"is_pmc_openaccess": ..., "is_open_access": "yes", "pmid": "12"}, ()),
    ],
)
def test_fields_that_are_missing_are_named(store, config, given, expected):
    store(article("PMC1.1", **given))
    assert only(config, "PMC1").missing_fields == expected


def test_metadata_may_be_elsewhere_or_nowhere(store, config):
    objects = article("PMC1.1") | article("PMC2.1")
    store({key.replace("PMC1.1/PMC1.1.json", "metadata/PMC1.1.json"): data for key, data in objects.items()})
    assert only(config, "PMC1").license_code == "CC BY"
    store({key: data for key, data in article("PMC3.1").items() if not key.endswith(".json")})
    found = only(config, "PMC3")
    assert (found.metadata, found.license_code, len(found.missing_fields)) == (None, None, 10)
    assert only(replace(config, licenses=("CC BY",)), "PMC3").reason == "no_license"


@pytest.mark.parametrize(
    "data", [b"", b"{", b"[]", b'"x"', b"[" * 100_000, b"\xff\xfe", b'{"version": ' + b"9" * 9999]
)
def test_metadata_that_are_no_object_drop_the_article(store, config, data):
    store(article("PMC1.1") | {"PMC1.1/PMC1.1.json": data})
    assert only(config, "PMC1").reason == "bad_metadata"


def test_metadata_of_another_article_drop_it(store, config):
    store(article("PMC1.1", pmcid="PMC2") | article("PMC3.1", version=4))
    assert [row.reason for row in fetch(config, "PMC1", "PMC3")] == ["metadata_mismatch"] * 2


def test_licences_are_compared_before_anything_else_is_fetched(store, config, proxy):
    wanted = replace(config, licenses=("cc-by", "CC0"))
    codes = {"PMC1": "CC BY 4.0", "PMC2": "CC BY-NC", "PMC3": "CC0", "PMC4": "TDM", "PMC5": ...}
    for pmcid, code in codes.items():
        store(article(f"{pmcid}.1", license_code=code))
    found = fetch(wanted, *codes)
    assert [getattr(row, "reason", "kept") for row in found] == [
        "kept",
        "license_not_wanted",
        "kept",
        "license_not_wanted",
        "no_license",
    ]
    assert not [path for path in proxy.paths() if re.search(r"PMC[245]\.1/.*(jpg|png|xml)$", path)]
    assert only(replace(config, licenses=("CC0",)), "PMC1").reason == "license_not_wanted"  # also of a complete one


def test_what_was_withdrawn_is_dropped(store, config):
    store(article("PMC1.1", is_retracted=True))
    assert only(config, "PMC1").reason == "retracted"
    assert only(replace(config, keep_retracted=True), "PMC1").is_retracted is True


HOSTILE = (
    "../../evil.jpg",
    "/abs.jpg",
    "a/b.jpg",
    "a\\b.jpg",
    "nul\0.jpg",
    ".hidden.jpg",
    "c:d.jpg",
    "n" * 260 + ".jpg",
)


def test_keys_that_are_no_file_names_are_never_written(store, config, tmp_path):
    store(article("PMC1.1", (*HOSTILE, "ok 1.jpg", "né.jpg"), media_urls=[]))
    found, *drops = fetch(config, "PMC1")
    assert [file.path.rpartition("/")[2] for file in found.media] == ["né.jpg", "ok 1.jpg"] or len(found.media) == 2
    assert [drop.reason for drop in drops] == ["unsafe_name"] * len(HOSTILE)
    assert tuple(drops) == found.dropped_files
    assert {path.name for path in tmp_path.rglob("*") if path.suffix == ".jpg"} == {"ok 1.jpg", "né.jpg"}
    assert fetch(config, "PMC1") == [found, *drops]


def test_names_that_differ_by_case_alone_do_not_overwrite_each_other(store, config):
    store(article("PMC1.1", ("A.jpg", "a.JPG", "b.jpg", "pmc1.1.XML.jpg"), media_urls=[]))
    found, drop = fetch(config, "PMC1")
    assert [file.key for file in found.media] == ["PMC1.1/A.jpg", "PMC1.1/b.jpg", "PMC1.1/pmc1.1.XML.jpg"]
    assert (drop.key, drop.reason) == ("PMC1.1/a.JPG", "name_collision")


def test_objects_above_the_limit_and_media_that_only_the_metadata_name_are_counted(store, config):
    media = {"big.jpg": b"x" * 5000, "small.jpg": b"x"}
    store(article("PMC1.1", media, media_urls=[f"s3://{BUCKET}/PMC1.1/gone.jpg", f"s3://{BUCKET}/PMC2.1/small.jpg"]))
    found, *drops = fetch(replace(config, max_bytes=4000), "PMC1")
    assert [file.key for file in found.media] == ["PMC1.1/small.jpg"]
    assert [(drop.key, drop.reason) for drop in drops] == [
        ("PMC1.1/big.jpg", "too_large"),
        ("PMC1.1/gone.jpg", "not_found"),
        ("PMC2.1/small.jpg", "not_found"),
    ]
    assert only(replace(config, max_bytes=100), "PMC1").reason == "too_large"


def test_an_article_without_xml_is_dropped_and_another_name_is_found(store, config):
    store({key: data for key, data in article("PMC1.1").items() if not key.endswith(".xml")})
    assert only(config, "PMC1").reason == "no_xml"
    store({key.replace("PMC2.1.xml", "main.nxml"): data for key, data in article("PMC2.1").items()})
    store(article("PMC2.1", xml_url=f"s3://{BUCKET}/PMC2.1/main.nxml"))
    assert only(config, "PMC2").xml.key == "PMC2.1/PMC2.1.xml"
    store({"PMC3.1/main.nxml": b"<a/>", "PMC3.1/PMC3.1.json": b'{"xml_url": "s3://b/PMC3.1/main.nxml"}'})
    assert only(config, "PMC3").xml.key == "PMC3.1/main.nxml"


SLOW = ("silent", "trickle")
PASSING = ["503", "silent", "truncated", "corrupt", "corrupt unnoticed by x-amz", "reset", "longer", "trickle"]
REASONS = {
    "404": "not_found",
    "503": "unavailable",
    "silent": "timeout",
    "trickle": "timeout",
    "truncated": "truncated",
    "corrupt": "checksum_mismatch",
    "corrupt unnoticed by x-amz": "checksum_mismatch",
    "reset": "unavailable",
    "longer": "size_mismatch",
}


@pytest.mark.parametrize("kind", PASSING)
def test_what_passes_is_tried_again(store, config, proxy, kind, monkeypatch):
    store(article("PMC1.1", {"gr1.jpg": b"a" * 8000, "gr2.png": b"b"}))
    config = replace(config, timeout_s=1.0 if kind in SLOW else 5.0)
    monkeypatch.setattr(bucket_module, "_MIN_BYTES_PER_S", 1_000_000)
    proxy.faults.append(Fault("gr1.jpg", kind, times=1))
    assert len(only(config, "PMC1").media) == 2
    assert sum(path.endswith("gr1.jpg") for path in proxy.paths()) == 2
    assert not list((Path(config.folder) / ".partial").iterdir())


@pytest.mark.parametrize("kind", REASONS)
def test_what_stays_is_a_drop_and_the_next_run_completes_it(store, config, proxy, kind, monkeypatch):
    store(article("PMC1.1", {"gr1.jpg": b"a" * 8000, "gr2.png": b"b"}) | article("PMC2.1"))
    config = replace(config, timeout_s=1.0 if kind in SLOW else 5.0, retries=1)
    monkeypatch.setattr(bucket_module, "_MIN_BYTES_PER_S", 1_000_000)
    proxy.faults.append(Fault("PMC1.1/gr1.jpg", kind))
    drop, other = fetch(config, "PMC1", "PMC2")
    assert (drop.key, drop.reason) == ("PMC1", REASONS[kind])
    assert "PMC1.1/gr1.jpg" in drop.detail
    assert isinstance(other, FetchedArticle)
    tries = sum(path.endswith("PMC1.1/gr1.jpg") for path in proxy.paths())
    assert tries == (1 if kind == "404" else 2)
    left = tree(Path(config.folder))
    assert not [path for path in left if "gr1.jpg" in path and "PMC1.1" in path or ".partial" in path]
    assert "PMC0/PMC1.1.json" not in left
    proxy.faults.clear()
    proxy.requests.clear()
    assert len(only(config, "PMC1").media) == 2
    assert len(proxy.requests) == 3  # the listing and the two files that were missing


@pytest.mark.parametrize(("kind", "tries"), [("503", 3), ("reset", 3), ("truncated", 3)])
def test_listings_are_tried_again_too(store, config, proxy, kind, tries):
    store(article("PMC1.1"))
    proxy.faults.append(Fault("list-type=2", kind, times=2))
    assert isinstance(only(config, "PMC1"), FetchedArticle)
    assert sum("list-type=2" in path for path in proxy.paths()) == tries


def test_a_checksum_of_the_metadata_counts(store, config):
    wrong = f"s3://{BUCKET}/PMC1.1/gr1.jpg?md5={'0' * 32}"
    store(article("PMC1.1", media_urls=[wrong]))
    drop = only(config, "PMC1")
    assert drop.reason == "checksum_mismatch" and "metadata" in drop.detail


def test_objects_stored_in_parts_have_no_md5_and_are_fetched_anew(store, owner, config, proxy):
    store(article("PMC1.1", (), media_urls=[]))
    upload = owner.create_multipart_upload(Bucket=BUCKET, Key="PMC1.1/big.tif", ACL="public-read")
    part = {"Bucket": BUCKET, "Key": "PMC1.1/big.tif", "UploadId": upload["UploadId"]}
    tag = owner.upload_part(PartNumber=1, Body=b"tif" * 1000, **part)["ETag"]
    owner.complete_multipart_upload(MultipartUpload={"Parts": [{"PartNumber": 1, "ETag": tag}]}, **part)
    found = only(config, "PMC1")
    assert found.media[0].etag.endswith("-1") and found.media[0].checks == ()
    assert found.media[0].sha256 == hashlib.sha256(b"tif" * 1000).hexdigest()
    next(Path(config.folder).glob("PMC0/*.json")).unlink()
    proxy.requests.clear()
    assert only(config, "PMC1") == found
    assert len(proxy.requests) == 2  # the listing and this file: the others are known by their checksums


def test_an_etag_of_an_object_under_a_key_of_its_owner_is_no_md5(store, config, proxy):
    store(article("PMC1.1", ("gr1.jpg",), media_urls=[]))
    proxy.faults.append(Fault("gr1.jpg", "own key"))
    assert only(config, "PMC1").media[0].checks == ()


def test_x_amz_checksums_count_alone(store, config, proxy):
    store(article("PMC1.1", ("gr1.jpg",), media_urls=[]))
    proxy.faults.append(Fault("gr1.jpg", "own key, checksum"))
    drop = only(config, "PMC1")
    assert drop.reason == "checksum_mismatch" and "x-amz-checksum" in drop.detail


def test_a_store_that_is_down_ends_the_run(store, config, proxy):
    store(article("PMC1.1"))
    proxy.faults.append(Fault("", "503"))
    outcomes = run([ArticleId(f"PMC{number}") for number in range(1, 100)], replace(config, max_failures=3))
    with pytest.raises(
        DataError, match="^3 articles in a row could not be fetched, .* answered 503 SlowDown. Run again"
    ) as caught:
        for outcome in outcomes:
            assert outcome.reason == "unavailable"
    assert caught.tb  # which keeps the frames of the run alive: its threads have ended all the same
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("fetch_articles")]
    assert len(proxy.requests) < 60
    assert only(replace(config, endpoint="http://127.0.0.1:9"), "PMC1").reason == "unavailable"


def test_a_bucket_that_does_not_exist_is_an_error(server, config):
    with pytest.raises(DataError, match="There is no bucket 'nowhere' at http"):
        fetch(replace(config, bucket="nowhere"), "PMC1")


def test_a_request_that_no_retry_can_help_is_an_error(store, config, proxy):
    store(article("PMC1.1"))
    proxy.faults.append(Fault("list-type=2", "400"))
    with pytest.raises(DataError, match="answered 400 InvalidRequest"):
        fetch(config, "PMC1")


def test_requests_keep_their_distance(store, config, proxy):
    for number in range(1, 6):
        store(article(f"PMC{number}.1"))
    proxy.faults.append(Fault("PMC3.1/gr1.jpg", "503", times=2))
    fetch(replace(config, requests_per_s=40.0, concurrency=5), *(f"PMC{number}" for number in range(1, 6)))
    times = sorted(moment for moment, _ in proxy.requests)
    assert len(times) == 5 * 5 + 2  # retries count
    assert times[-1] - times[0] >= 0.8 * (len(times) - 1) / 40
    for first, last in zip(times, times[10:], strict=False):  # in any window: never more than the rate and a little
        assert last - first >= 0.5 * 10 / 40


def test_ids_of_the_input_keep_their_order_and_repeat_no_article(store, config):
    for number in (1, 2, 3):
        store(article(f"PMC{number}.1"))
    bad = Drop("fetch_articles", "ids.txt line 4", "bad_id")
    ids = [ArticleId("PMC3"), ArticleId("PMC1"), ArticleId("PMC3", 1), bad, ArticleId("PMC2")]
    found = list(run(ids, config))
    assert [getattr(row, "article_id", "") or row.reason for row in found] == [
        "PMC3.1",
        "PMC1.1",
        "duplicate",
        "bad_id",
        "PMC2.1",
    ]


def test_an_article_that_is_named_twice_in_a_row_is_fetched_once(store, config, proxy):
    store(article("PMC3.1"))
    proxy.faults.append(Fault("PMC3.1.xml", "503", times=1))
    assert len(fetch(replace(config, concurrency=4, backoff_s=0.2), "PMC3", "PMC3.1", "PMC3")) == 3
    assert sum(path.endswith("gr1.jpg") for path in proxy.paths()) == 1


def test_ids_are_read_no_further_than_needed(store, config):
    store(article("PMC1.1"))
    read = []

    def ids():
        for number in range(1, 10_000):
            read.append(number)
            yield ArticleId(f"PMC{number}")

    outcomes = run(ids(), config)
    next(outcomes)
    outcomes.close()
    assert len(read) <= 4 * config.concurrency
    assert only(config, "PMC1").article_id == "PMC1.1"  # closing has let go of the folder


def test_progress_is_shown_where_it_is_asked_for(store, config, capsys):
    store(article("PMC1.1"))
    only(config, "PMC1")
    assert "Fetching" not in capsys.readouterr().err
    only(replace(config, progress=True), "PMC1")
    assert "Fetching articles: 1article" in capsys.readouterr().err


def test_two_runs_do_not_share_a_folder(store, config):
    store(article("PMC1.1") | article("PMC2.1"))
    first = run([ArticleId("PMC1"), ArticleId("PMC2")], config)
    next(first)
    with pytest.raises(ConfigurationError, match="`folder` .* is in use by another run"):
        fetch(config, "PMC1")
    assert len(list(first)) == 1


@pytest.mark.parametrize("where", ["write", "replace", "note"])
def test_a_full_disk_is_one_sentence_and_leaves_nothing_that_looks_whole(store, config, monkeypatch, where):
    store(article("PMC1.1"))
    full = OSError(errno.ENOSPC, "No space left on device")

    def fail_on(name, real):
        def call(*args, **kwargs):
            if name == "write" or str(args[-1]).endswith("gr2.png" if name == "replace" else "PMC1.1.json"):
                if name != "note" or Path(args[-1]).parent.name == "PMC0":
                    raise full
            return real(*args, **kwargs)

        return call

    if where == "write":
        monkeypatch.setattr(bucket_module.os, "fsync", fail_on("write", os.fsync))
    else:
        monkeypatch.setattr("phenolip.phenokg.articles.article_folder.os.replace", fail_on(where, os.replace))
    with pytest.raises(DataError, match="^The disk of .* is full: free some space and run again, what was fetched is"):
        fetch(config, "PMC1")
    left = [path for path in tree(Path(config.folder)) if not path.startswith(".partial")]
    assert "PMC0/PMC1.1.json" not in left
    assert len(left) == {"write": 0, "replace": 3, "note": 4}[where]
    monkeypatch.undo()
    assert len(only(config, "PMC1").media) == 2
    assert not list((Path(config.folder) / ".partial").iterdir())


def test_a_folder_that_cannot_be_written_is_an_error(config, tmp_path):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(DataError, match="cannot be written: Not a directory"):
        fetch(replace(config, folder=tmp_path / "file" / "below"), "PMC1")


def test_a_note_of_someone_else_is_named(store, config):
    store(article("PMC1.1"))
    only(config, "PMC1")
    note = Path(config.folder) / "PMC0" / "PMC1.1.json"
    for text in ("{", "[]", "{}", json.dumps({**json.loads(note.read_bytes()), "article": {}})):
        note.write_text(text)
        with pytest.raises(DataError, match="PMC1.1.json is no note of this program: delete it"):
            fetch(config, "PMC1")


KILLED = """
import sys
from phenolip.phenokg.fetch_articles import FetchConfig, run
from phenolip.phenokg.records import ArticleId
folder, endpoint = sys.argv[1:]
config = FetchConfig(folder=folder, endpoint=endpoint, requests_per_s=60.0, concurrency=3)
list(run([ArticleId(f"PMC{number}") for number in range(1, 9)], config))
"""


def test_killed_at_any_time_a_rerun_ends_with_the_same_files(store, server, proxy, config, tmp_path):
    for number in range(1, 9):
        store(article(f"PMC{number}.1", ("gr1.jpg", "gr2.png", "gr3.tif")))
    ids = [f"PMC{number}" for number in range(1, 9)]
    whole = fetch(replace(config, folder=tmp_path / "whole", endpoint=server), *ids)
    folder = Path(config.folder)
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    for num_files in (1, 12, 30):
        process = subprocess.Popen([sys.executable, "-c", KILLED, folder, proxy.url], env=environment)
        # Names alone are counted: a file may get its final name before it could be read here.
        while sum(path.is_file() for path in folder.rglob("*")) < num_files and process.poll() is None:
            time.sleep(0.005)
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
        finals = {path for path in tree(folder) if not path.startswith(".partial")}
        expected = tree(tmp_path / "whole")
        assert all(tree(folder)[path] == expected[path] for path in finals)  # what has its name is whole
    there = sum(path.startswith("PMC0/PMC") and "/" in path[5:] for path in tree(folder))
    proxy.requests.clear()
    assert fetch(config, *ids) == whole
    assert tree(folder) == tree(tmp_path / "whole")
    downloads = sum("list-type=2" not in path for path in proxy.paths())
    assert downloads == 8 * 5 - there  # only what was missing


def test_the_bucket_is_listed_a_page_at_a_time(store, server, proxy, config, monkeypatch):
    names = [f"PMC{number}.{version}" for number in (1, 9, 10, 100, 2000) for version in (1, 2, 10)]
    store({f"{name}/{name}.xml": b"x" for name in names})
    store({"metadata/PMC1.1.json": b"{}", "README.txt": b"x", "PMC5/x": b"x", "PMCx.1/x": b"x", "PMC07.1/x": b"x"})
    real = bucket_module.Bucket._pages  # noqa: SLF001
    monkeypatch.setattr(bucket_module.Bucket, "_pages", lambda self, **query: real(self, **query, MaxKeys=4))
    listed = list(list_articles(config))
    assert [str(row) for row in listed if isinstance(row, ArticleId)] == [
        "PMC1.10",
        "PMC10.10",
        "PMC100.10",
        "PMC2000.10",
        "PMC9.10",
    ]
    assert sorted(row.key for row in listed if isinstance(row, Drop)) == ["'PMC07.1'", "'PMC5'", "'PMCx.1'"]
    assert sum("list-type=2" in path for path in proxy.paths()) == 5  # 18 prefixes, 4 a page
    every = [row for row in list_articles(config, highest_only=False) if isinstance(row, ArticleId)]
    assert sorted(map(str, every)) == sorted(names)
    after = [str(row) for row in list_articles(config, start_after="PMC10.1") if isinstance(row, ArticleId)]
    assert after == ["PMC100.10", "PMC2000.10", "PMC9.10"]
    assert [str(row) for row in list_articles(config, prefix="PMC1")] == ["PMC1.10", "PMC10.10", "PMC100.10"]
    with pytest.raises(ConfigurationError, match="`prefix` must be 'PMC' and digits, got 'metadata'"):
        list(list_articles(config, prefix="metadata"))
    proxy.faults.append(Fault("", "503"))
    with pytest.raises(DataError, match="^The bucket could not be listed: "):
        list(list_articles(config))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"requests_per_s": 0.0}, "`requests_per_s` must be above 0, got 0.0"),
        ({"timeout_s": float("nan")}, "`timeout_s` must be above 0, got nan"),
        ({"concurrency": 0}, "`concurrency` must be from 1 to 256, got 0"),
        ({"retries": -1}, "`retries` must be from 0 to 20, got -1"),
        ({"endpoint": "127.0.0.1"}, "`endpoint` must begin with http:// or https://, got '127.0.0.1'"),
        ({"media_suffixes": ("jpg",)}, "`media_suffixes` must be like '.jpg', got 'jpg'"),
        ({"max_bytes": 0}, "`max_bytes` must be at least 1, got 0"),
        ({"licenses": (" ",)}, "`licenses` must be codes like 'CC BY', got ' '"),
    ],
)
def test_settings_out_of_range_are_refused(change, message):
    with pytest.raises(ConfigurationError, match=re.escape(message)):
        FetchConfig(folder="x", **change)
