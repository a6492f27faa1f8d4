"""The metrics of a run: exported by Ray, scraped by the PodMonitor, shown by the board."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

from pipelines import metrics
from pipelines.store.lease import LEASE_S
from tests.cluster.manifests import CLUSTER, of_kind, values
from tests.test_house import ROOT

BOARD = json.loads((CLUSTER / "grafana.json").read_text())
EXPORTED = {f"ray_{name}" for name in metrics.GAUGES} | {f"ray_{name}_total" for name in metrics.COUNTERS}


def test_the_board_names_every_metric_and_no_other() -> None:
    named = {name for expression in values(BOARD, "expr") for name in re.findall(r"\w*asid_\w+", expression)}
    assert named == EXPORTED
    assert all(expression.count('{ray_io_cluster=~"$cluster"}') for expression in values(BOARD, "expr"))


def test_panels_do_not_overlap_and_the_lease_s_threshold_is_below_its_end() -> None:
    places = [(panel["gridPos"]["x"], panel["gridPos"]["y"]) for panel in BOARD["panels"]]
    assert len(set(places)) == len(places) and len({panel["id"] for panel in BOARD["panels"]}) == len(places)
    (steps,) = values(BOARD, "steps")
    assert LEASE_S / 2 < steps[-1]["value"] < LEASE_S


def test_the_monitor_finds_the_pods_and_their_port() -> None:
    (monitor,) = of_kind("PodMonitor")
    (policy,) = of_kind("NetworkPolicy")
    assert monitor["spec"]["selector"] == policy["spec"]["podSelector"]
    (endpoint,) = monitor["spec"]["podMetricsEndpoints"]
    ports = [port for ports in values(of_kind("RayCluster"), "ports") for port in ports]
    assert {"containerPort": 8080, "name": endpoint["port"]} in ports


RUN = """
import socket, sys, time, urllib.request
from pipelines import driver, metrics
from pipelines.runtime import start_local, stop_ray
from pipelines.store.lease import Lease
from pipelines.store.location import Location

class Two(driver.Stage):
    name, _done = "embed", 0
    def todo(self): return [1, 2]
    def submit(self, items): return (number for number, _ in driver.run_tasks(candidates, [(5,), (6,)]))
    def take(self, outcome): self._done += 1
    def counts(self): return {"done": self._done, "total": 2, "audio_s": 1800.0 * self._done, "rejects": 7}

def candidates(number):
    metrics.count_candidates(number)

with socket.socket() as free:
    free.bind(("127.0.0.1", 0))
    port = free.getsockname()[1]
soon = {"metrics_report_interval_ms": 200}
start_local(num_cpus=1, object_store_memory=100 * 2**20, _metrics_export_port=port, _system_config=soon)
with Lease(Location(sys.argv[1]), "test"):
    driver.drive(Two())
lines = []
while len({line.split("{")[0] for line in lines}) < 7:
    time.sleep(0.2)
    try:
        text = urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics").read().decode()
    except OSError:
        continue
    lines = [line for line in text.splitlines() if line.startswith("ray_asid_")]
print("\\n".join(lines))
stop_ray()
"""


def test_ray_exports_the_metrics_of_a_run(tmp_path: Path) -> None:
    run = [sys.executable, "-c", RUN, str(tmp_path)]
    ended = subprocess.run(run, capture_output=True, text=True, cwd=ROOT, timeout=240)
    assert ended.returncode == 0, ended.stderr
    lines = [line for line in ended.stdout.splitlines() if line.startswith("ray_asid_")]
    found = {line.split("{")[0]: float(line.split()[-1]) for line in lines}
    assert set(found) == EXPORTED
    assert found["ray_asid_tracks"] == found["ray_asid_tracks_planned"] == 2 and found["ray_asid_rejects"] == 7
    assert found["ray_asid_audio_hours"] == 1 and found["ray_asid_candidates_total"] == 11
    assert all('stage="embed"' in line for line in lines if "candidates" not in line and "lease" not in line)
