"""asid on S3 and on three nodes, one of which is killed: the tables equal those of an undisturbed local run.

The slow tests use the thirty tracks of `asid demo` and the linear model: `make slow`, half an hour.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from asid_core.config import ProbesConfig, ScoreConfig, SearchConfig
from asid_core.synthetic.demo_music import write_demo
from pipelines.store.catalogue import Catalogue
from pipelines.store.location import Location
from tests.conftest import s3_environment, tone, write_audio
from tests.faults.contents import Contents, assert_equal, contents
from tests.faults.driver import ROOT, Ended, asid
from tests.faults.nodes import Nodes
from tests.pipelines.catalogues import LINEAR, melody, save_model

pytestmark = pytest.mark.ray
KEY, SECRET = "AKIDASIDDRILL", "aSecretThatIsWrittenNowhere"
SMALL = ("segment.commit_tracks=4", "segment.files_per_task=2")
slow = [pytest.mark.slow, pytest.mark.timeout(3600)]


@pytest.fixture(scope="module")
def s3(s3_server: str) -> Iterator[str]:
    """`s3://BUCKET` for this module. The environment of this process, and so of every node, names its server."""
    import botocore.session

    before = dict(os.environ)
    secrets = {"AWS_ACCESS_KEY_ID": KEY, "AWS_SECRET_ACCESS_KEY": SECRET}
    os.environ.update(s3_environment(s3_server) | secrets | {"PYTHONPATH": str(ROOT)})
    botocore.session.Session().create_client("s3", endpoint_url=s3_server).create_bucket(Bucket="cluster-drill")
    yield "s3://cluster-drill"
    os.environ.clear()
    os.environ.update(before)


@pytest.fixture(scope="module")
def cluster(s3: str) -> Iterator[Nodes]:
    nodes = Nodes()
    yield nodes
    nodes.stop()


@pytest.fixture()
def nodes(cluster: Nodes) -> Nodes:
    """Three running nodes, whatever the last test did."""
    cluster.complete()
    return cluster


def upload(folder: Path, uri: str) -> None:
    for file in folder.rglob("*"):
        if file.is_file():
            Location(uri).join(*file.relative_to(folder).parts).write_bytes(file.read_bytes())


def settings(*assignments: str) -> list[str]:
    return [word for assignment in assignments for word in ("--set", assignment)]


def done(ended: Ended, struck: bool = True) -> Ended:
    assert (ended.code, ended.struck) == (0, struck), ended.text[-4000:]
    return ended


def after(stage: str, share: float) -> Callable[[dict[str, Any]], bool]:
    """True from the event on at which this share of a stage is done."""
    return lambda event: event["stage"] == stage and event["done"] >= share * (event.get("total") or 30)


class Drill:
    """Runs the same commands on S3 and the cluster and locally, and compares the results."""

    def __init__(self, s3: str, here: Path, corpus: Path, options: list[str]) -> None:
        self.s3, self.here, self.corpus, self.options = s3, here, corpus, options
        upload(corpus, f"{s3}/music")

    def far(self, verb: str, catalogue: str, nodes: Nodes, **more: Any) -> Ended:
        uris = ["--corpus", f"{self.s3}/music", "--catalogue", f"{self.s3}/{catalogue}"]
        return asid(verb, *uris, "--ray-address", nodes.address, *self.options, **more)

    def near(self, verb: str, catalogue: str) -> Contents:
        uris = ["--corpus", str(self.corpus), "--catalogue", str(self.here / catalogue)]
        done(asid(verb, *uris, "--ray-address", "local", *self.options), struck=False)
        return contents(str(self.here / catalogue))

    def far_contents(self, catalogue: str) -> Contents:
        return contents(f"{self.s3}/{catalogue}")


@pytest.fixture(scope="module")
def small(s3: str, tmp_path_factory: pytest.TempPathFactory) -> Drill:
    """Nine tracks of a few seconds, one unreadable file, and a model for them whose weights are also on S3."""
    folder = tmp_path_factory.mktemp("small")
    for number in range(8):
        write_audio(folder / f"music/{number}.flac", melody(7.0 + number, number)[:, None], 16_000)
    write_audio(folder / "music/short.ogg", tone(2.0), 16_000)
    (folder / "music/broken.mp3").write_bytes(b"no music" * 100)
    config = replace(
        LINEAR,
        probes=ProbesConfig((-1.0, 0.0, 1.0), (1.0,), 0.4),
        search=SearchConfig(hits_per_window=10, shard_tracks=1),
        score=ScoreConfig(threshold=0.0),
    )
    save_model(config, folder / "w")
    upload(folder / "w", f"{s3}/small/w")
    options = ["--weights", f"{s3}/small/w", "--max-rejects", "0.2"]
    return Drill(f"{s3}/small", folder, folder / "music", options + settings(*SMALL))


def objects(uri: str) -> Iterator[bytes]:
    place = Location(uri)
    for entry in place.list():
        if entry.kind == "file":
            yield place.join(entry.name).read_bytes()


@pytest.mark.timeout(900)
def test_the_main_job_loses_a_node(small: Drill, nodes: Nodes) -> None:
    ended = small.far("run", "c", nodes, strike=lambda _: nodes.kill_one(), when=after("sweep", 0.2))
    done(ended)
    assert nodes.count == 2
    for text in (ended.text.encode(), *objects(f"{small.s3}/c")):
        assert KEY.encode() not in text and SECRET.encode() not in text
    far = small.far_contents("c")
    assert far.counts["detections"] > 0 and far.counts["rejects"] == 1
    assert_equal(far, small.near("run", "c"))
    print(far.counts)


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    "environment", [{"RAY_AUTH_MODE": "disabled"}, {"RAY_AUTH_TOKEN": "f" * 64}], ids=["no token", "another token"]
)
def test_a_cluster_refuses_who_has_not_its_token(small: Drill, nodes: Nodes, environment: dict[str, str]) -> None:
    """The other drills have it: conftest.py sets RAY_AUTH_MODE=token and RAY_AUTH_TOKEN_PATH for every node."""
    ended = small.far("run", "refused", nodes, env=environment)
    assert ended.code == 1 and "set RAY_AUTH_MODE=token and RAY_AUTH_TOKEN_PATH" in ended.summary
    assert Catalogue(f"{small.s3}/refused").count_tracks() == 0


@pytest.fixture(scope="module")
def demo(s3: str, tmp_path_factory: pytest.TempPathFactory) -> Drill:
    folder = tmp_path_factory.mktemp("demo")
    write_demo(folder)
    return Drill(f"{s3}/demo", folder, folder / "music", settings(*SMALL))


@pytest.fixture(scope="module")
def clean(demo: Drill) -> Contents:
    """The result of the main job on the demo, run locally and undisturbed."""
    return demo.near("run", "clean")


@pytest.mark.parametrize(
    "stage", [pytest.param(name, marks=slow) for name in ("segment", "embed", "sweep")], ids=lambda stage: stage
)
def test_the_main_job_on_the_demo_loses_a_node(demo: Drill, clean: Contents, nodes: Nodes, stage: str) -> None:
    done(demo.far("run", f"lost-in-{stage}", nodes, strike=lambda _: nodes.kill_one(), when=after(stage, 0.25)))
    far = demo.far_contents(f"lost-in-{stage}")
    print(f"node lost in {stage}: {far.counts}; clean local run: {clean.counts}")
    assert_equal(far, clean)


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_reindexing_loses_its_driver_and_then_a_node(demo: Drill, nodes: Nodes, tmp_path: Path, s3: str) -> None:
    """Files are removed, renamed, changed and added; on the cluster, first the driver and then a node is killed."""
    shutil.copytree(demo.corpus, tmp_path / "music")
    demo = Drill(f"{s3}/changing", tmp_path, tmp_path / "music", demo.options)
    first = demo.far("run", "changing", nodes)
    done(first, struck=False)
    demo.near("run", "changing")
    names = sorted(path.name for path in demo.corpus.iterdir())
    (demo.corpus / names[0]).unlink()
    (demo.corpus / names[1]).rename(demo.corpus / "renamed.wav")
    shutil.copy(demo.corpus / names[2], demo.corpus / names[3])  # changed: now a copy of another
    for number in range(3):
        write_audio(demo.corpus / f"new {number}.flac", melody(20.0, number)[:, None], 16_000)
    for name in names[:2]:
        Location(demo.s3).join("music", name).delete()
    upload(demo.corpus, f"{demo.s3}/music")
    killed = demo.far("reindex", "changing", nodes, strike=lambda driver: driver.kill(), when=after("sweep", 0.25))
    assert killed.code == -9 and killed.struck
    done(demo.far("reindex", "changing", nodes, strike=lambda _: nodes.kill_one(), when=after("sweep", 0.5)))
    far, near = demo.far_contents("changing"), demo.near("reindex", "changing")
    print(f"reindex, driver and node lost: {far.counts}; clean local run: {near.counts}")
    assert_equal(far, near)
    report = asid("report", "--catalogue", f"{demo.s3}/changing", "--output", f"{demo.s3}/report")
    assert done(report, struck=False).summary and Location(f"{demo.s3}/report/index.html").exists()


TINY = """
model:
  name: tiny
  front_end: {kind: log_mel}
  encoder: {kind: gnn, channels: [8, 16], blocks: [1, 1], pooled_dim: 16, hidden_dim: 16, dim: 8}
  reranker: {heads: 0}
training: {batch_pairs: 4, steps: 60, check_every: 5, warmup_steps: 1}
"""


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("lost", ["node", "driver"])
def test_training_loses_what_it_can(demo: Drill, nodes: Nodes, tmp_path: Path, lost: str) -> None:
    config = tmp_path / "tiny.yaml"
    config.write_text(TINY)
    stems, output = f"{demo.s3}/stems", f"{demo.s3}/trained-{lost}"
    far = ["--ray-address", nodes.address]
    made = done(asid("stems", "--corpus", f"{demo.s3}/music", "--output", stems, *far), struck=False)
    here = asid("stems", "--corpus", str(demo.corpus), "--output", str(tmp_path / "stems"), "--ray-address", "local")
    assert len(_stems(stems)) == len(_stems(str(tmp_path / "stems"))) > 0
    command = ["train", "encoder", "--stems", stems, "--output", output, "--config", str(config), "--workers", "2"]
    training = after("train encoder", 0.1)
    if lost == "driver":
        killed = asid(*command, *far, strike=lambda driver: driver.kill(), when=training)
        assert killed.code == -9
        ended = done(asid(*command, *far), struck=False)
    else:
        ended = done(asid(*command, *far, strike=lambda _: nodes.kill_one(), when=training))
    assert "60 steps" in ended.summary
    assert Location(output).join("best", "model.safetensors").exists()
    print(f"training, {lost} lost: {made.summary}; here: {here.summary}; {ended.summary}")
    again = done(asid(*command, *far), struck=False)
    assert "all 60 steps were already done" in again.summary


def _stems(uri: str) -> dict[str, int]:
    from pipelines.train.stem_files import StemTables

    return {track_id: about["spans"] for track_id, about in StemTables(uri).tracks.items()}
