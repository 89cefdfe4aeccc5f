"""Runs on a Dask threaded cluster, and the only wing that imports Dask."""
