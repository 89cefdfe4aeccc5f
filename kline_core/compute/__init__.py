"""Runs on a Dask threaded cluster, in the only package that imports Dask."""
