"""Flows that Prefect runs: parameters, tasks and artifacts only; `kline_core` computes everything."""
