"""Deployments that start a flow by hand."""

_NAMES = {"daily": "manual", "backfill": "range"}


def by_hand(flow: str) -> str:
    """Name of the deployment in `prefect.yaml` that starts a flow by hand: one made for that, or its weekly one."""
    return _NAMES.get(flow, "weekly")
