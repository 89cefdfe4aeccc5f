"""What Prefect runs. Parameters, tasks and artifacts only: everything is computed by `kline_core`."""
