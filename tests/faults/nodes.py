"""A Ray cluster of three nodes on this machine, one of which can be killed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.conftest import FOLDER

NODE = {"num_cpus": 1, "object_store_memory": 120 * 1024**2}


class Nodes:
    """A head and two workers; this process never connects to them. Their workers have this process's environment."""

    def __init__(self) -> None:
        from ray._private.utils import get_ray_address_file
        from ray.cluster_utils import Cluster

        # a cluster writes its address there, also if its own folder is another one, and does not make the folder
        Path(get_ray_address_file(None)).parent.mkdir(exist_ok=True)

        head = {**NODE, "include_dashboard": False, "temp_dir": str(FOLDER.sessions)}
        self._cluster: Any = Cluster(initialize_head=True, head_node_args=head)
        self.complete()

    @property
    def address(self) -> str:
        return str(self._cluster.address)

    @property
    def count(self) -> int:
        return 1 + len(self._cluster.worker_nodes)

    def complete(self) -> None:
        """Start nodes until there are three."""
        while self.count < 3:
            self._cluster.add_node(**NODE)

    def kill_one(self) -> None:
        """Kill a worker node with its processes and all that is in its memory."""
        self._cluster.remove_node(min(self._cluster.worker_nodes, key=id), allow_graceful=False)

    def stop(self) -> None:
        self._cluster.shutdown()
