"""Flows that Prefect runs: parameters, tasks and artifacts only; `kline_core` computes everything."""

import os

if "PREFECT__FLOW_RUN_ID" in os.environ:
    # In a process that was started for a flow run, before anything else of it: its worker may be gone at any time.
    from flows.common.output import outlive_worker

    outlive_worker()
