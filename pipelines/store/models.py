"""Removes what a catalogue holds of a model that is no longer used."""

from __future__ import annotations

import logging
import shutil

from pipelines.store import detections, embedded, fingerprints, tags
from pipelines.store.catalogue import Catalogue
from pipelines.store.embedded import list_of
from pipelines.store.errors import CatalogueError
from pipelines.store.location import Location

log = logging.getLogger(__name__)


def drop_model(catalogue: Catalogue, model_id: str) -> tuple[int, int]:
    """Delete the fingerprints of a model and its sweeps; returns the bytes and the number of sweeps. Driver only.

    A killed call is simply repeated. Raises CatalogueError if the catalogue has no such model, if the newest sweep is
    of this model, so it is in use, or if a tag keeps its table.
    """
    name = fingerprints.table_name(model_id)
    heads = detections.sweeps(catalogue)
    _check(catalogue, name, model_id, heads[-1].get("model_id") if heads else None)
    catalogue.check_writing()
    embedded.list_of(catalogue, name).delete()
    deleted = _delete_table(catalogue.location.join(f"{name}.lance"))
    list_of(catalogue, name).delete()
    theirs = [head["sweep_id"] for head in heads if head.get("model_id") == model_id]
    for sweep_id in theirs:
        catalogue.check_writing()
        detections.delete(catalogue, sweep_id)
    log.info("dropped model %s: %d bytes, %d sweeps", model_id, deleted, len(theirs))
    return deleted, len(theirs)


def _check(catalogue: Catalogue, name: str, model_id: str, in_use: str | None) -> None:
    known = [table.removeprefix(fingerprints.PREFIX) for table in fingerprints.tables(catalogue)]
    if model_id not in known:
        raise CatalogueError(f"no fingerprints of model {model_id!r}. The models are: {', '.join(known) or 'none'}.")
    if model_id == in_use:
        raise CatalogueError(
            f"the newest sweep is of model {model_id}, so it is in use. Run asid reindex with another model first."
        )
    if keeping := [tag["tag"] for tag in tags.all_tags(catalogue) if name in tag[tags.TABLES]]:
        raise CatalogueError(
            f"tags keep model {model_id}: {', '.join(keeping)}. Remove them first (asid maintain untag)."
        )


def _delete_table(place: Location) -> int:
    """Delete the folder of a Lance table; returns its bytes. Without its manifests, which go first, it has no rows."""
    files = [entry for entry in place.list() if entry.kind == "file"]
    for is_manifest in (True, False):
        place.delete_below([entry.name for entry in files if entry.name.startswith("_versions/") == is_manifest])
    if not place.is_s3:
        shutil.rmtree(place.uri, ignore_errors=True)  # empty folders
    return sum(entry.size_bytes or 0 for entry in files)
