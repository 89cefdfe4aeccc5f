"""A worker that cannot see the home, as on a host that has not mounted it: preloaded with `dask worker --preload`."""


def dask_setup(worker):  # noqa: ARG001  Dask's
    """In the worker alone, not in its nanny."""
    from kline_core.store.folder import home_gone
    from kline_core.store.table import StoredTable

    def gone(table, *_arguments, **_named):
        raise home_gone(table.uri)

    StoredTable.open_or_none = StoredTable.open = gone
