"""Untrusted input (files, manifests, weights, URIs) runs no code and has bounded cost; secrets are never written."""

from __future__ import annotations

import ast
import json
import os
import pickle
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import soundfile
import torch

from asid_core.config import SegmentConfig
from asid_core.model.fingerprinter import Fingerprinter
from pipelines.ingest.corpus import Corpus, Refusal
from pipelines.ingest.decoding import READER
from pipelines.ingest.segment_task import FILES, segment_batch
from pipelines.store.catalogue import Catalogue
from pipelines.store.location import Location, StorageError, redacted
from tests.asid_core.signal.test_decode import wav_header
from tests.pipelines.catalogues import LINEAR
from tests.test_house import FILES as SOURCES
from tests.test_house import ROOT

SECRET = "sEcReT0123456789"


class Trap:
    """Creates a folder when it is unpickled."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.file),)


def calls(path: Path) -> list[tuple[str, set[str]]]:
    """Dotted name and `name=value` keywords of every call in a file."""
    nodes = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)]
    return [(ast.unparse(n.func), {f"{k.arg}={ast.unparse(k.value)}" for k in n.keywords}) for n in nodes]


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: str(p.relative_to(ROOT)))
def test_no_code_unpickles_its_input(path: Path) -> None:
    for name, keywords in calls(path):
        assert not name.startswith(("pickle.", "cloudpickle.", "joblib.", "marshal.", "shelve.")), name
        assert name not in ("yaml.load", "yaml.unsafe_load", "yaml.full_load", "eval", "exec", "os.system")
        assert name != "torch.load" or "weights_only=True" in keywords
        assert "allow_pickle=True" not in keywords and "shell=True" not in keywords


def test_pickled_weights_are_refused_without_running_code(tmp_path: Path) -> None:
    Fingerprinter(LINEAR).eval().save(tmp_path / "w")
    trap = Trap(tmp_path / "sprung")
    (tmp_path / "w/model.safetensors").write_bytes(pickle.dumps(trap))
    with pytest.raises(Exception, match="(?i)header|safetensors|weights"):
        Fingerprinter.from_pretrained(tmp_path / "w")
    torch.save({"model": trap}, tmp_path / "state.pt")
    with pytest.raises(pickle.UnpicklingError):
        torch.load(tmp_path / "state.pt", weights_only=True)
    assert not (tmp_path / "sprung").exists()
    pickle.loads(pickle.dumps(trap))
    assert (tmp_path / "sprung").exists()  # the trap works


@pytest.mark.parametrize(
    "uri", [f"s3://KEY:{SECRET}@bucket/a", f"https://x:{SECRET}@host/a", f"https://host/a.wav?X-Amz-Signature={SECRET}"]
)
def test_credentials_in_a_uri_are_refused_and_not_repeated(tmp_path: Path, uri: str) -> None:
    with pytest.raises(StorageError) as caught:
        Location(uri)
    assert SECRET not in str(caught.value)
    (tmp_path / "m.jsonl").write_text(json.dumps({"uri": uri}) + "\n")
    (refused,) = Corpus(str(tmp_path / "m.jsonl"))
    assert isinstance(refused, Refusal) and SECRET not in repr(refused)


def test_an_endpoint_with_a_password_is_not_repeated(s3_bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://user:{SECRET}@127.0.0.1:1")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    with pytest.raises(OSError) as caught:
        Location(s3_bucket).join("x").read_bytes()
    assert SECRET not in str(caught.value)


def test_keys_of_s3_keep_their_odd_characters() -> None:
    assert redacted("s3://bucket/what?.mp3") == "s3://bucket/what?.mp3"
    assert Location("s3://bucket/me@home/a.wav").uri == "s3://bucket/me@home/a.wav"


def flac_header(samples: int) -> bytes:
    """The header of a 16 kHz FLAC file that claims to have this many samples."""
    rate, channels, bits = 16_000, 1, 16
    about = rate << 44 | (channels - 1) << 41 | (bits - 1) << 36 | samples
    info = struct.pack(">HH", 4096, 4096) + bytes(6) + about.to_bytes(8, "big") + bytes(16)
    return b"fLaC\x80\0\0\x22" + info


READ = """
import resource, sys
resource.setrlimit(resource.RLIMIT_CPU, (30, 30))
resource.setrlimit(resource.RLIMIT_AS, (3 << 30, 3 << 30))
from asid_core.signal.decode import DecodeError, open_native
try:
    with open_native(sys.argv[1]) as (_, blocks):
        print(sum(map(len, blocks)))
except DecodeError as error:
    print(error.error_type)
"""


@pytest.mark.parametrize("name", ["long.wav", "channels.wav", "cut.flac", "bare.flac", "many.aiff"])
def test_a_false_length_in_a_header_costs_neither_time_nor_memory(tmp_path: Path, name: str) -> None:
    """Headers claim 2^31 samples or more; reading must stay within 30 s of CPU and 3 GiB of address space."""
    second = np.zeros(16_000, "<i2").tobytes()
    soundfile.write(tmp_path / "good.flac", np.zeros(16_000), 16_000)
    good = (tmp_path / "good.flac").read_bytes()
    aiff = b"FORM\x7f\xff\xff\xffAIFFCOMM\0\0\0\x12\0\x01\x7f\xff\xff\xff\0\x10\x40\x0c\xfa\0\0\0\0\0\0\0"
    content = {
        "long.wav": wav_header(1, 16_000, 0xFFFFFFFE, second),
        "channels.wav": wav_header(65_535, 16_000, 0xFFFFFFFE, second),
        "cut.flac": flac_header(2**36 - 1) + good[42:],
        "bare.flac": flac_header(2**31),
        "many.aiff": aiff + b"SSND\x7f\xff\xff\xff" + bytes(8) + second,
    }
    (tmp_path / name).write_bytes(content[name])
    ended = subprocess.run([sys.executable, "-c", READ, str(tmp_path / name)], capture_output=True, text=True, cwd=ROOT)
    assert ended.returncode == 0, ended.stderr
    said = ended.stdout.strip()
    assert said in ("truncated", "not_audio", "no_samples", "header") or int(said) <= 16_000


def test_decoding_of_a_small_file_with_very_long_audio_stops_at_the_limit(tmp_path: Path) -> None:
    """An hour of silence is a FLAC file of a few kilobytes; decoding stops at the maximum length of a track."""
    soundfile.write(tmp_path / "bomb.flac", np.zeros(3600 * 8000, np.int16), 8000)
    assert (tmp_path / "bomb.flac").stat().st_size < 500_000
    file = {"track_id": "bomb", "uri": str(tmp_path / "bomb.flac"), "size_bytes": 1, "version": "1"}
    Catalogue(str(tmp_path / "c"), create=True)
    outcome = segment_batch(
        pa.Table.from_pylist([file], schema=FILES), str(tmp_path / "c"), "r", SegmentConfig(max_track_s=60.0), READER
    ).to_pylist()[0]
    assert outcome["reject"]["error_type"] == "too_long"
    assert list((tmp_path / "c").rglob("*.parquet")) == []
