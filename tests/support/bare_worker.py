"""A worker on a host without the package: preloaded with `dask worker --preload`."""

import sys


class Absent:
    @staticmethod
    def find_spec(name, *_):
        if name.partition(".")[0] == "kline_core":
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)


def dask_setup(worker):  # noqa: ARG001  Dask's
    """In the worker alone, not in its nanny."""
    sys.meta_path.insert(0, Absent)
