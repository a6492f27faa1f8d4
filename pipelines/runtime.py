"""Starting Ray the same way in every job."""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
from collections.abc import Callable
from typing import Any

from pipelines.local_ray import Folder, remove_abandoned

log = logging.getLogger(__name__)

# What a pipeline tells while it works: {"stage": "segment", "done": 12, "total": 40 or None, ...more counts}
ProgressCallback = Callable[[dict[str, Any]], None]

STORE_ERRORS = ("AWS Error", "Generic S3 error")  # how Arrow's and Lance's begin
STORE_RETRIES = 3
OBJECT_STORE_BYTES = 512 * 1024**2
OBJECT_STORE_SHARE = 0.3
# Ray gives its node 30 s, which is not enough on an overloaded machine
LOCAL_STARTS = 3
# Of Ray Data, in the driver: what pulls results, and what schedules
DATA_THREADS = ("iter_threaded", "StreamingExecutor-")
DATA_THREAD_S = 30.0  # they end by themselves once nobody reads on, in a second or two of an idle machine


_folder: Folder | None = None  # of the Ray that this process started
_environment: dict[str, str | None] = {}  # what stood there before


def start_ray(address: str | None = None) -> None:
    """Connect to the Ray at `address`, or start one on this machine; nothing happens where Ray already runs.

    A local Ray has no dashboard and a bounded object store (512 MiB or 30 % of the memory, whichever is less): the
    pipelines pass file names and small tables through it, never audio. It listens on 127.0.0.1 alone and obeys only who
    has its token. Raises ConnectionError where there is no Ray, OSError where no folder is fit for one.
    """
    local = address == "local" or (address is None and "RAY_ADDRESS" not in os.environ)
    on_main = threading.current_thread() is threading.main_thread()
    handler = signal.getsignal(signal.SIGTERM)
    if "ray" in sys.modules and sys.modules["ray"].is_initialized():
        pass
    elif local:
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
        start_local(object_store_memory=int(min(OBJECT_STORE_BYTES, OBJECT_STORE_SHARE * memory)))
    else:
        import ray

        ray.init(address=address, logging_level=logging.ERROR, log_to_driver=False)
    if on_main:
        signal.signal(signal.SIGTERM, handler)  # Ray puts its own in place, which ends the process in disorder
    _set_up_data()


def start_local(**options: Any) -> None:
    """Start a Ray on this machine with a token of its own; `options` are those of `ray.init`."""
    global _folder
    remove_abandoned()
    _folder = Folder.make()
    for name, value in _folder.environment.items():  # before the import
        _environment[name] = os.environ.get(name)
        os.environ[name] = value
    _environment["RAY_AUTH_TOKEN"] = os.environ.pop("RAY_AUTH_TOKEN", None)  # it would take precedence
    import ray

    core: Any = ray._raylet  # it reads both variables once, at its import, which may have been before
    core.Config.initialize("")
    core.AuthenticationTokenLoader.instance().reset_cache()
    for left in reversed(range(LOCAL_STARTS)):
        try:
            ray.init(
                address="local",
                include_dashboard=False,
                logging_level=logging.ERROR,
                log_to_driver=False,
                _temp_dir=str(_folder.sessions),
                **options,
            )
            return
        except Exception as error:  # Ray raises no kind of its own here
            if not left or "timed out during startup" not in str(error):
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
    context.enable_progress_bars = False  # ours tell tracks and hours, Ray's tell blocks
    context.print_on_execution_start = False
    context.raise_original_map_exception = True  # so that `met_by_worker` finds it
    # an answer that breaks off in the middle: neither Arrow nor Lance asks again
    context.retried_map_errors = [*STORE_ERRORS]
    context.max_map_retries = STORE_RETRIES
    logging.getLogger("ray.data").setLevel(logging.CRITICAL)  # a failure is ours to tell
    log.info("Ray has %d CPUs", int(ray.cluster_resources().get("CPU", 0)))


def stop_ray() -> None:
    """End the Ray that this process started or joined, once Ray Data no longer asks it anything.

    A thread of a pipeline that was left half way would otherwise find Ray gone, upon which Ray ends the whole process
    at once, with code 1.
    """
    global _folder
    import ray

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


def met_by_worker(error: Exception) -> Exception:
    """The error itself, without what Ray wraps around one that a worker met."""
    from ray.exceptions import RayTaskError

    while isinstance(error, RayTaskError) and isinstance(error.cause, Exception):
        error = error.cause
    error.args = tuple(part for arg in error.args if (part := _without_advice(arg)) != "")
    return OSError(*error.args) if type(error) is OSError else error  # an OSError's words are not its args


def _without_advice(arg: Any) -> Any:
    """What Ray Data adds on its own settings is of no use to who set none of them."""
    return arg.split("Failed to apply UDF transform", 1)[0].rstrip() if isinstance(arg, str) else arg
