"""Fixtures for the whole suite: a local Ray, an S3 server, recordings in every format."""

from __future__ import annotations

import atexit
import os

from pipelines.local_ray import Folder, remove_abandoned

# set before ray is imported anywhere, so that every Ray of the tests uses the token of this process
remove_abandoned()
FOLDER = Folder.make()
atexit.register(FOLDER.remove)
os.environ.update(FOLDER.environment)
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("RAY_worker_niceness", "0")  # or workers starve on a busy machine

from collections.abc import Callable, Iterator  # noqa: E402
from pathlib import Path  # noqa: E402
from typing import Any  # noqa: E402

import av  # noqa: E402
import numpy as np  # noqa: E402
import pytest  # noqa: E402
import soundfile  # noqa: E402
from hypothesis import settings  # noqa: E402

# A busy machine must not fail a test, and a commit must pass or fail everywhere alike: the examples are the same in
# every run. `pytest --hypothesis-profile explore` draws new ones.
settings.register_profile("repeatable", deadline=None, derandomize=True)
settings.register_profile("explore", deadline=None)
settings.load_profile("repeatable")

AV_CODECS = {"m4a": "aac", "opus": "libopus", "wma": "wmav2", "aac": "aac", "mp4": "aac"}


def s3_environment(endpoint: str) -> dict[str, str]:
    """Environment variables for using the S3 server of the tests."""
    return {
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "us-east-1",
    }


@pytest.fixture(scope="session")
def ray_session(s3_server: str) -> Iterator[Any]:
    """A local Ray with two CPUs for the whole session; its workers can use the S3 server."""
    import ray

    ray.init(
        address="local",
        num_cpus=2,
        include_dashboard=False,
        object_store_memory=200 * 1024**2,
        _temp_dir=str(FOLDER.sessions),
        log_to_driver=False,
        logging_level="ERROR",
        # workers import the tests' own stub decoders
        runtime_env={"env_vars": {"PYTHONPATH": str(Path(__file__).parents[1]), **s3_environment(s3_server)}},
    )
    ray.data.DataContext.get_current().enable_progress_bars = False
    yield ray
    ray.shutdown()


def tone(seconds: float, rate_hz: int = 16_000, channels: int = 1, seed: int = 0) -> np.ndarray:
    """A frequency sweep with a little noise, float32 [n, channels], peak below 0.6. Seeds differ in frequency."""
    t = np.arange(round(seconds * rate_hz)) / rate_hz
    start_hz = 220.0 + 37.0 * (seed % 17)
    wave = 0.5 * np.sin(2 * np.pi * (start_hz * t + 20.0 * t**2 / max(seconds, 1e-9)))
    wave = wave + 0.01 * np.random.default_rng(seed).standard_normal(len(t))
    return np.repeat(wave[:, None], channels, axis=1).astype(np.float32)


def write_audio(path: Path, samples: np.ndarray, rate_hz: int, container: str | None = None) -> Path:
    """Write float32 [n, channels] as `container` (default: the file's extension)."""
    kind = container or path.suffix[1:].lower()
    path.parent.mkdir(parents=True, exist_ok=True)
    if kind in AV_CODECS:
        _write_av(path, samples, rate_hz, kind)
    else:
        names = {"oga": "OGG", "aif": "AIFF"}
        soundfile.write(path, samples, rate_hz, format=names.get(kind, kind.upper()))
    return path


def _write_av(path: Path, samples: np.ndarray, rate_hz: int, kind: str) -> None:
    formats = {"m4a": "ipod", "wma": "asf", "aac": "adts", "opus": "ogg"}
    layout = {1: "mono", 2: "stereo"}[samples.shape[1]]
    with av.open(str(path), "w", format=formats.get(kind, kind)) as output:
        stream = output.add_stream(AV_CODECS[kind], rate=rate_hz, layout=layout)
        stream.bit_rate = 128_000  # wmav2 refuses to open without one
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(samples.T), format="fltp", layout=layout)
        frame.sample_rate = rate_hz
        output.mux(stream.encode(frame))
        output.mux(stream.encode(None))


@pytest.fixture()
def audio(tmp_path: Path) -> Callable[..., Path]:
    """`audio(name, seconds=3.0, rate_hz=16000, channels=1, seed=0, container=None)` writes a file in `tmp_path`."""

    def make(
        name: str,
        seconds: float = 3.0,
        rate_hz: int = 16_000,
        channels: int = 1,
        seed: int = 0,
        container: str | None = None,
    ) -> Path:
        return write_audio(tmp_path / name, tone(seconds, rate_hz, channels, seed), rate_hz, container)

    return make


@pytest.fixture(scope="session")
def s3_server() -> Iterator[str]:
    """The endpoint of a local S3 server."""
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture()
def s3_bucket(s3_server: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """The `s3://` URI of a new, empty bucket; the environment points to its server."""
    import uuid

    import botocore.session

    for name, value in s3_environment(s3_server).items():
        monkeypatch.setenv(name, value)
    bucket = f"bucket-{uuid.uuid4().hex[:12]}"
    botocore.session.Session().create_client("s3", endpoint_url=s3_server).create_bucket(Bucket=bucket)
    return f"s3://{bucket}"
