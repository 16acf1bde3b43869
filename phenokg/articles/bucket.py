"""A bucket of an S3-compatible store, read politely: every request rate-limited and retried, every object checked.

Through boto3. obstore was tried: its prefixes are whole path segments, so that "PMC1." finds no version of PMC1; one
key with ".." fails the whole listing that it is in; and it does not hand on `x-amz-checksum-*`.
"""

import hashlib
import os
import random
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

import boto3
import urllib3
from botocore import UNSIGNED
from botocore import exceptions as aws
from botocore.client import BaseClient
from botocore.config import Config
from botocore.parsers import ResponseParserError

from phenolip.exceptions import ConfigurationError, DataError

Result = TypeVar("Result")

RETRIED = ("unavailable", "timeout", "truncated", "size_mismatch", "checksum_mismatch")
_CHUNK_BYTES = 1_024  # a read ends when it is full, however slowly: small, so that time is looked at often
_MIN_BYTES_PER_S = 1_024  # a server that trickles must not hold a worker for days
_THROTTLED = {"SlowDown", "RequestLimitExceeded", "Throttling", "ThrottlingException", "RequestTimeout"}


class ObjectError(Exception):
    """An object could not be had.

    Attributes:
        reason: One of `RETRIED`, "not_found" or "forbidden".
        detail: One sentence for a person.
    """

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail


@dataclass(frozen=True, kw_only=True)
class BucketConfig:
    """Which bucket, and how gently it is read.

    Attributes:
        bucket: Its name.
        endpoint: Address of the store, such as "http://127.0.0.1:5000"; None is Amazon's.
        region: Of the bucket.
        anonymous: Sign no request. False uses the credentials that boto3 finds.
        requests_per_s: Most requests begun in a second, retries included.
        concurrency: Articles fetched at the same time.
        timeout_s: Longest wait for a connection or for the next bytes, in seconds.
        retries: Attempts after the first.
        backoff_s: Longest wait before the first retry, in seconds; doubles with each. The wait is drawn at random.
        max_backoff_s: Where that doubling ends.
    """

    bucket: str = "pmc-oa-opendata"
    endpoint: str | None = None
    region: str = "us-east-1"
    anonymous: bool = True
    requests_per_s: float = 10.0
    concurrency: int = 4
    timeout_s: float = 30.0
    retries: int = 5
    backoff_s: float = 1.0
    max_backoff_s: float = 30.0

    def __post_init__(self) -> None:
        if self.endpoint is not None and not self.endpoint.startswith(("http://", "https://")):
            raise ConfigurationError(f"`endpoint` must begin with http:// or https://, got {self.endpoint!r}.")
        for name in ("requests_per_s", "timeout_s", "backoff_s", "max_backoff_s"):
            if not 0 < getattr(self, name) < float("inf"):
                raise ConfigurationError(f"`{name}` must be above 0, got {getattr(self, name)}.")
        if not 1 <= self.concurrency <= 256:
            raise ConfigurationError(f"`concurrency` must be from 1 to 256, got {self.concurrency}.")
        if not 0 <= self.retries <= 20:
            raise ConfigurationError(f"`retries` must be from 0 to 20, got {self.retries}.")


@dataclass(frozen=True, slots=True)
class StoredObject:
    """An object as the bucket lists it: name, size in bytes, and ETag without quotes."""

    key: str
    num_bytes: int
    etag: str

    @property
    def md5(self) -> str | None:
        """The checksum in the ETag; None for an object that was stored in several parts."""
        return self.etag if len(self.etag) == 32 and "-" not in self.etag else None


@dataclass(frozen=True, slots=True)
class Digests:
    """Of a file on disk, in hexadecimal digits."""

    md5: str
    sha256: str
    num_bytes: int


class RateLimit:
    """Hands out moments at a fixed distance: a token bucket that holds one token."""

    def __init__(self, per_s: float) -> None:
        self._distance_s = 1 / per_s
        self._next = 0.0
        self._lock = threading.Lock()

    def reserve(self) -> float:
        """Seconds to wait until the moment that is now the caller's own."""
        with self._lock:
            now = time.monotonic()
            moment = max(now, self._next)
            self._next = moment + self._distance_s
        return moment - now


class Bucket:
    """Reads one bucket; safe to share among threads."""

    def __init__(self, config: BucketConfig) -> None:
        self.config = config
        self._rate = RateLimit(config.requests_per_s)
        self._stopped = threading.Event()
        self._client = _client(config)
        # on every attempt, also those that botocore would add
        self._client.meta.events.register("before-send.s3", self._wait_for_turn)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.stop()
        self._client.close()

    def stop(self) -> None:
        """Ends every wait; requests that have not begun fail."""
        self._stopped.set()

    def objects(self, prefix: str, most: int) -> list[StoredObject]:
        """All objects whose key begins with `prefix`, in the order of their keys.

        Raises:
            ObjectError: If the bucket cannot be read, or (reason "too_many_objects") there are more than `most`.
        """
        found = []
        for page in self._pages(Prefix=prefix):
            for entry in page.get("Contents", ()):
                found.append(StoredObject(entry["Key"], entry["Size"], entry.get("ETag", "").strip('"').lower()))
            if len(found) > most:
                raise ObjectError("too_many_objects", f"More than {most} objects begin with {prefix!r}.")
        return found

    def folders(self, prefix: str, start_after: str = "") -> Iterator[str]:
        """What stands before the first "/" of the keys that begin with `prefix`, each once, a page in memory."""
        for page in self._pages(Prefix=prefix, Delimiter="/", StartAfter=start_after):
            yield from (entry["Prefix"].removesuffix("/") for entry in page.get("CommonPrefixes", ()))

    def download(self, wanted: StoredObject, path: Path, md5: str | None = None) -> Digests:
        """Write an object to `path`, flushed to the disk and equal in size and checksums, or leave no file.

        Args:
            wanted: Its size and ETag are what the file must have.
            path: Overwritten.
            md5: A further checksum that the file must have.

        Raises:
            ObjectError: If it could not be had after all retries.
        """
        try:
            return self._retried(wanted.key, lambda: self._download(wanted, path, md5))
        except BaseException:
            path.unlink(missing_ok=True)
            raise

    def _pages(self, **query: str) -> Iterator[dict[str, Any]]:
        query = {name: value for name, value in query.items() if value}
        while True:
            page = self._retried(
                query["Prefix"], lambda: self._client.list_objects_v2(Bucket=self.config.bucket, **query)
            )
            yield page
            token = page.get("NextContinuationToken")
            if not page.get("IsTruncated") or not token or token == query.get("ContinuationToken"):
                return
            query["ContinuationToken"] = token

    def _download(self, wanted: StoredObject, path: Path, md5: str | None) -> Digests:
        response = self._client.get_object(Bucket=self.config.bucket, Key=wanted.key)
        body = response["Body"]
        deadline = time.monotonic() + self.config.timeout_s + wanted.num_bytes / _MIN_BYTES_PER_S
        hashes, num_bytes = Hashes(), 0
        try:
            with path.open("wb") as file:
                while chunk := body.read(_CHUNK_BYTES):
                    num_bytes += len(chunk)
                    if num_bytes > wanted.num_bytes:
                        break
                    if time.monotonic() > deadline:
                        raise ObjectError(
                            "timeout", f"{wanted.key!r} came at under {_MIN_BYTES_PER_S} bytes a second."
                        )
                    file.write(chunk)
                    hashes.update(chunk)
                file.flush()
                os.fsync(file.fileno())
        finally:
            body.close()
        if num_bytes != wanted.num_bytes:
            raise ObjectError(
                "size_mismatch", f"{wanted.key!r} is listed with {wanted.num_bytes} bytes, and others came."
            )
        for name, expected in (("ETag", _is_md5(response) and wanted.md5), ("metadata", md5)):
            if expected and expected != hashes.md5:
                raise ObjectError(
                    "checksum_mismatch", f"{wanted.key!r} has MD5 {hashes.md5}, but {expected} in its {name}."
                )
        return hashes.digests(num_bytes)

    def _retried(self, key: str, attempt: Callable[[], Result]) -> Result:
        """The result of `attempt`, tried again after failures that may pass."""
        for number in range(self.config.retries + 1):
            try:
                return attempt()
            except (aws.BotoCoreError, aws.ClientError, urllib3.exceptions.HTTPError, ObjectError) as error:
                failure = error if isinstance(error, ObjectError) else self._as_object_error(key, error)
            if failure.reason not in RETRIED or number == self.config.retries:
                raise failure
            longest = min(self.config.max_backoff_s, self.config.backoff_s * 2**number)
            self._sleep(random.uniform(0, longest))
        raise AssertionError("a loop over at least one attempt returns or raises")

    def _as_object_error(self, key: str, error: Exception) -> ObjectError:
        """What a failed request means; raises where no other object of the bucket could be had either."""
        where = f"bucket {self.config.bucket!r} at {self.config.endpoint or 'Amazon'}"
        if isinstance(error, aws.ClientError):
            code = str(error.response.get("Error", {}).get("Code", ""))
            status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
            if code == "NoSuchBucket":
                raise DataError(f"There is no {where}.") from None
            if status == 404:
                return ObjectError("not_found", f"There is no {key!r} in {where}.")
            if status >= 500 or status == 429 or code in _THROTTLED:
                return ObjectError("unavailable", f"For {key!r}, {where} answered {status} {code}.")
            if status == 403:
                return ObjectError("forbidden", f"{key!r} in {where} may not be read.")
            raise DataError(f"For {key!r}, {where} answered {status} {code}.") from None
        if isinstance(error, aws.ConnectTimeoutError | aws.ReadTimeoutError | urllib3.exceptions.TimeoutError):
            return ObjectError("timeout", f"For {key!r}, {where} was silent for {self.config.timeout_s:g} s.")
        if isinstance(error, aws.IncompleteReadError | aws.ResponseStreamingError | urllib3.exceptions.HTTPError):
            return ObjectError("truncated", f"{key!r} of {where} broke off before its end.")
        if isinstance(error, aws.FlexibleChecksumError):
            return ObjectError("checksum_mismatch", f"{key!r} of {where} differs from its x-amz-checksum.")
        if isinstance(error, aws.ConnectionError | aws.HTTPClientError | ResponseParserError):
            return ObjectError("unavailable", f"For {key!r}, {where} gave no answer: {type(error).__name__}.")
        raise DataError(f"{where.capitalize()} cannot be read: {error}") from error

    def _wait_for_turn(self, **_: Any) -> None:
        self._sleep(self._rate.reserve())

    def _sleep(self, seconds: float) -> None:
        if self._stopped.wait(seconds):
            raise StoppedError


class StoppedError(Exception):
    """The bucket was stopped while a request waited."""


class Hashes:
    """MD5, for the checksums of the bucket, and SHA-256, for ours, over the same bytes."""

    def __init__(self) -> None:
        self._md5 = hashlib.md5(usedforsecurity=False)
        self._sha256 = hashlib.sha256()

    def update(self, data: bytes) -> None:
        """Takes further bytes."""
        self._md5.update(data)
        self._sha256.update(data)

    @property
    def md5(self) -> str:
        """So far, in hexadecimal digits."""
        return self._md5.hexdigest()

    def digests(self, num_bytes: int) -> Digests:
        """The result."""
        return Digests(self.md5, self._sha256.hexdigest(), num_bytes)


def digest_file(path: Path) -> Digests:
    """Of a file that is already here."""
    hashes = Hashes()
    with path.open("rb") as file:
        while chunk := file.read(1 << 20):
            hashes.update(chunk)
        return hashes.digests(file.tell())


def _client(config: BucketConfig) -> BaseClient:
    settings = Config(
        signature_version=UNSIGNED if config.anonymous else None,
        connect_timeout=config.timeout_s,
        read_timeout=config.timeout_s,
        max_pool_connections=config.concurrency,
        retries={"total_max_attempts": 1},  # one policy only: `_retried` also covers bodies
        s3={"addressing_style": "path" if config.endpoint else "auto"},
        response_checksum_validation="when_supported",  # compares x-amz-checksum-* as the body is read
    )
    return _session().client("s3", endpoint_url=config.endpoint, region_name=config.region, config=settings)


@cache
def _session() -> boto3.session.Session:
    """Read once a process, since its description of S3 takes some tenths of a second."""
    return boto3.session.Session()


def _is_md5(response: dict[str, Any]) -> bool:
    """Whether the ETag can be an MD5: it is none of an object that is encrypted with a customer's key."""
    return response.get("ServerSideEncryption", "AES256") == "AES256" and "SSECustomerAlgorithm" not in response
