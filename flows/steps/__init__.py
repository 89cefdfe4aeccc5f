"""Steps of the flows as Prefect tasks."""
