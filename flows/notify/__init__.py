"""`kline notify`: messages about flow runs, sent by automations of the Prefect server."""
