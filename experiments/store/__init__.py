"""Where artifacts lie: a folder or a bucket, checked when read, shared by runs and machines."""

from experiments.store.store import Store, StoreError

__all__ = ["Store", "StoreError"]
