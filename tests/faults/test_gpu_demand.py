"""Actors that encode on GPUs ask for nodes that are not there yet, as the GPU groups of cluster/ rely on."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.conftest import FOLDER
from tests.faults.driver import ROOT

# this process does what an autoscaler does: it reads the demand and starts a node. Its GPU exists in Ray's books only
RUN = """
import sys
import threading
import time
import pyarrow as pa
import ray
from ray._raylet import GcsClient
from ray.autoscaler.v2.sdk import get_cluster_resource_state as demand
from ray.cluster_utils import Cluster
from pipelines import driver
from pipelines.runtime import start_ray

class Doubled:
    def __call__(self, batch):
        on_gpu = pa.array([bool(ray.get_gpu_ids())] * batch.num_rows)
        return pa.table({"number": [2 * n.as_py() for n in batch["number"]], "on_gpu": on_gpu})

def encode():
    blocks = [pa.table({"number": [n]}) for n in range(3)]
    rows.extend(driver.map_blocks(Doubled, blocks, 1, True))

node = {"num_cpus": 1, "object_store_memory": 100 * 2**20, "include_dashboard": False, "temp_dir": sys.argv[1]}
cluster = Cluster(initialize_head=True, head_node_args=node)
start_ray(cluster.address)
assert driver.gpus() == 0
rows = []
encoding = threading.Thread(target=encode)
encoding.start()
client = GcsClient(cluster.address)
while not any(one.request.resources_bundle.get("GPU") for one in demand(client).pending_resource_requests):
    time.sleep(0.2)
cluster.add_node(num_cpus=1, num_gpus=1, object_store_memory=100 * 2**20)
encoding.join()
assert rows == [{"number": 2 * n, "on_gpu": True} for n in range(3)], rows
assert driver.gpus() == 1
ray.shutdown()
cluster.shutdown()
print("done")
"""


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_gpu_node_comes_for_the_actors_that_need_it() -> None:
    run = [sys.executable, "-c", RUN, str(FOLDER.sessions)]
    ended = subprocess.run(run, capture_output=True, text=True, cwd=ROOT)
    assert ended.returncode == 0 and "done" in ended.stdout, ended.stderr[-4000:]
