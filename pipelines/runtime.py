"""Starts and stops Ray, in the same way for every job."""

from __future__ import annotations

import gc
import logging
import os
import signal
import sys
import threading
from collections.abc import Callable
from typing import Any

from pipelines.local_ray import Folder, remove_abandoned

log = logging.getLogger(__name__)

# Receives progress events: {"stage": "segment", "done": 12, "total": 40 or None, ...more counts}
ProgressCallback = Callable[[dict[str, Any]], None]

STORE_ERRORS = ("AWS Error", "Generic S3 error")  # how the messages of Arrow and Lance begin
STORE_RETRIES = 3
OBJECT_STORE_BYTES = 512 * 1024**2
OBJECT_STORE_SHARE = 0.3
LARGE_BYTES = 6 * 1024**3  # a machine with so much memory can hold the votes of a large catalogue
LOCAL_STARTS = 3  # attempts; Ray waits 30 s for its node, which is too short on an overloaded machine
# Name prefixes of Ray Data's threads in the driver, which pull results and schedule tasks
DATA_THREADS = ("iter_threaded", "StreamingExecutor-")
DATA_THREAD_S = 30.0  # longest wait for each; they end by themselves soon after the last read


_folder: Folder | None = None  # of the Ray that this process started
_environment: dict[str, str | None] = {}  # values to restore when that Ray stops


def ray_is_up() -> bool:
    """Whether this process uses a Ray. Does not import Ray, so that what does not need it starts fast."""
    return "ray" in sys.modules and bool(sys.modules["ray"].is_initialized())


def start_ray(address: str | None = None) -> None:
    """Connect to the Ray at `address`, or start a local one. Does nothing if Ray is already running.

    A local Ray has no dashboard. Its object store has 30 % of the memory, which it takes only when it needs it; at most
    512 MiB on machines below 6 GiB, because only large sweeps pass more than names and small tables through it. It
    listens on 127.0.0.1 only and requires its token.
    Raises ConnectionError if no Ray answers at `address`, OSError if no folder is suitable for a local one.
    """
    local = address == "local" or (address is None and "RAY_ADDRESS" not in os.environ)
    on_main = threading.current_thread() is threading.main_thread()
    handler = signal.getsignal(signal.SIGTERM)
    if ray_is_up():
        pass
    elif local:
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
        most = memory if memory >= LARGE_BYTES else OBJECT_STORE_BYTES
        start_local(object_store_memory=int(min(most, OBJECT_STORE_SHARE * memory)))
    else:
        import ray

        try:
            ray.init(address=address, logging_level=logging.ERROR, log_to_driver=False)
        except ConnectionError as error:
            raise ConnectionError(
                f"{error}. Is it running? If it has a token, set RAY_AUTH_MODE=token and RAY_AUTH_TOKEN_PATH."
            ) from error
    if on_main:
        signal.signal(signal.SIGTERM, handler)  # Ray replaces it by one that ends the process without clean-up
    _set_up_data()
    _keep_messages()


def start_local(**options: Any) -> None:
    """Start a local Ray with a new token. `options` are passed to `ray.init`.

    Raises RuntimeError if this process uses a Ray already: its next call, with another token, would end the process.
    """
    global _folder
    if ray_is_up():
        raise RuntimeError("this process uses a Ray already: stop that one first (pipelines.runtime.stop_ray)")
    remove_abandoned()
    _folder = Folder.make()
    for name, value in _folder.environment.items():  # must be set before Ray is imported
        _environment[name] = os.environ.get(name)
        os.environ[name] = value
    _environment["RAY_AUTH_TOKEN"] = os.environ.pop("RAY_AUTH_TOKEN", None)  # it would take precedence
    import ray

    core: Any = ray._raylet  # it reads these variables only when it is imported, which may have been earlier
    core.Config.initialize("")
    core.AuthenticationTokenLoader.instance().reset_cache()
    _init(_folder, options)


def _init(folder: Folder, options: dict[str, Any]) -> None:
    """`ray.init`, again if the node did not start in time."""
    import ray

    for attempts_left in reversed(range(LOCAL_STARTS)):
        try:
            ray.init(
                address="local",
                include_dashboard=False,
                logging_level=logging.ERROR,
                log_to_driver=False,
                _temp_dir=str(folder.sessions),
                **options,
            )
            return
        except Exception as error:  # Ray raises a plain Exception here
            if not attempts_left or "timed out during startup" not in str(error):
                raise
            log.warning("Ray did not start within 30 s (machine overloaded?); retrying")


def kill_ray() -> None:
    """End the Ray of this process without waiting for anything."""
    if _folder is not None:
        _folder.remove()


def _set_up_data() -> None:
    import ray
    import ray.data

    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False  # ours show tracks and hours, Ray's show blocks
    context.print_on_execution_start = False
    context.raise_original_map_exception = True  # needed by `worker_error`
    # neither Arrow nor Lance retries a response that breaks off
    context.retried_map_errors = [*STORE_ERRORS]
    context.max_map_retries = STORE_RETRIES
    logging.getLogger("ray.data").setLevel(logging.CRITICAL)  # we report failures ourselves
    log.info("Ray has %d CPUs", int(ray.cluster_resources().get("CPU", 0)))


def _keep_messages() -> None:
    """What Ray says to the driver of tasks that it tries again goes to our log, and is for debugging.

    Ray prints it, tracebacks and all, to standard output, between the rows of a table; it has no setting for that. What
    makes a task fail for good is raised, and told by who started it.
    """
    import ray._private.worker as worker

    def keep(data: dict[str, Any], ignore_prefix: bool) -> None:
        log.debug("%s: %s", data["pid"], "\n".join(data["lines"]))

    worker.print_to_stdstream = keep


def is_own_ray() -> bool:
    """Whether this process started the Ray that it uses, on this machine alone and without an autoscaler."""
    return _folder is not None


def stop_ray() -> None:
    """Stop the Ray that this process started or joined, after the threads of Ray Data have ended.

    If a thread of an interrupted pipeline called Ray after its end, Ray would end the whole process with code 1.
    """
    global _folder
    import ray

    gc.collect()  # an interrupted pipeline may lie in a reference cycle, and its threads wait for whoever reads it
    for thread in threading.enumerate():
        if thread.name.startswith(DATA_THREADS):
            thread.join(DATA_THREAD_S)
    ray.shutdown()
    if _folder is not None:
        _folder.remove()
        _folder = None
        for name, value in _environment.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value


def worker_error(error: Exception) -> Exception:
    """The original error that a worker raised, if Ray has wrapped it; otherwise `error` itself."""
    from ray.exceptions import RayTaskError

    while isinstance(error, RayTaskError) and isinstance(error.cause, Exception):
        error = error.cause
    error.args = tuple(part for arg in error.args if (part := _without_advice(arg)) != "")
    return OSError(*error.args) if type(error) is OSError else error  # the text of an OSError ignores changed args


def _without_advice(arg: Any) -> Any:
    """An argument of an error, without the advice on Ray Data's settings, which users of asid cannot change."""
    return arg.split("Failed to apply UDF transform", 1)[0].rstrip() if isinstance(arg, str) else arg


def assigned_device() -> str:
    """`cuda` if Ray assigned a GPU to this task, or without Ray if there is one; else `cpu`.

    Ray leaves all GPUs visible to tasks that requested none, so torch alone cannot tell.
    """
    if ray_is_up():
        return "cuda" if sys.modules["ray"].get_gpu_ids() else "cpu"
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"
