"""The steps of a flow as Prefect's tasks."""
