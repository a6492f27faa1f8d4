"""S3 clients. Endpoint, region and credentials come only from the standard AWS environment variables."""

from __future__ import annotations

import contextlib
import functools
import os
from collections.abc import Iterator
from typing import Any

import pyarrow.fs

from pipelines.store.errors import StoreFailure, redacted

CONNECT_S = 10.0  # timeout for connecting
ANSWER_S = 20.0  # timeout for an answer; with the clients' retries, a dead store is given up after some minutes
READS = 3  # attempts to read an answer that breaks off
UPLOAD_BYTES = 8 << 20  # size of the parts of an upload, and of the buffer for one


def endpoint() -> str | None:
    return os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")


def region() -> str | None:
    return os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION")


@functools.lru_cache(maxsize=1)
def _client(endpoint: str | None, region: str | None, process: int) -> Any:
    """One S3 client per process, because its connections do not survive a fork."""
    import s3fs
    from botocore.handlers import add_expect_header

    waits = {"connect_timeout": CONNECT_S, "read_timeout": ANSWER_S}
    client = s3fs.S3FileSystem(
        endpoint_url=endpoint,
        client_kwargs={"region_name": region},
        config_kwargs=waits,
        default_block_size=UPLOAD_BYTES,
        use_listings_cache=False,
        skip_instance_cache=True,
    )
    client.retries = READS
    # an upload would wait for "100 Continue" without limit, where a store takes requests and never answers
    client.s3.meta.events.unregister("before-call.s3", add_expect_header)
    return client


def s3() -> Any:
    """The s3fs file system of this process."""
    return _client(endpoint(), region() or ("us-east-1" if endpoint() else None), os.getpid())


@contextlib.contextmanager
def s3_errors(uri: str) -> Iterator[None]:
    """Convert S3 errors to FileNotFoundError, PermissionError or, for others (network, throttling), StoreFailure."""
    from aiohttp import ClientError as ConnectionFailure
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        yield
    except OSError as error:  # s3fs has its own for a ClientError
        if not isinstance(error.__cause__, ClientError):  # of something else, such as a local disk
            raise
        code = error.__cause__.response.get("Error", {}).get("Code")
        if code in ("404", "NoSuchKey", "NotFound"):
            raise FileNotFoundError(f"{uri} does not exist") from None
        if code in ("403", "AccessDenied"):
            raise PermissionError(f"no permission to use {uri}") from None
        raise StoreFailure(f"{uri}: {redacted(str(error.__cause__))}") from error
    except (BotoCoreError, ConnectionFailure) as error:
        raise StoreFailure(f"{uri}: {redacted(str(error))}; check AWS_ENDPOINT_URL and the AWS credentials") from error


def status_of(error: OSError) -> int | None:
    """The HTTP status behind an error of s3fs, None where no answer came."""
    response = getattr(error.__cause__, "response", {})
    return response.get("ResponseMetadata", {}).get("HTTPStatusCode")


def arrow_filesystem() -> pyarrow.fs.S3FileSystem:
    """Arrow's S3 filesystem, for reading parts of Parquet files."""
    options: dict[str, Any] = {"region": region() or "us-east-1"} if region() or endpoint() else {}
    if where := endpoint():
        scheme, _, host = where.partition("://")
        options |= {"scheme": scheme, "endpoint_override": host.rstrip("/")}
    attempts = int(os.environ.get("AWS_MAX_ATTEMPTS", "5"))  # botocore reads this variable itself, Arrow does not
    retries = pyarrow.fs.AwsStandardS3RetryStrategy(max_attempts=attempts)
    waits = {"connect_timeout": CONNECT_S, "request_timeout": ANSWER_S}
    return pyarrow.fs.S3FileSystem(retry_strategy=retries, **waits, **options)


def lance_options() -> dict[str, str]:
    """Storage options of `lance` and `lancedb`; credentials stay in the environment."""
    # the retry timeout equals the answer timeout, so a busy store is retried, but not one that does not answer
    options = {"connect_timeout": f"{CONNECT_S}s", "timeout": f"{ANSWER_S}s"}
    options["client_retry_timeout"] = f"{max(1, round(ANSWER_S))}"
    if attempts := os.environ.get("AWS_MAX_ATTEMPTS"):  # Lance's own default is 10
        options["client_max_retries"] = attempts
    if where := endpoint():
        options |= {"aws_endpoint": where, "aws_region": region() or "us-east-1"}
        if where.startswith("http://"):
            options["allow_http"] = "true"
    return options
