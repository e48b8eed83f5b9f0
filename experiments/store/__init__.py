"""The store of artifacts: a folder, verified when read, shared by runs and machines."""

from experiments.store.store import Store, StoreError

__all__ = ["Store", "StoreError"]
