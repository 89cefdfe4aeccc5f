"""Artifacts made and changed by a client of any server.

Not by the client's own functions, which also send an event to the server that this process's own settings name.
"""

from uuid import UUID

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.actions import ArtifactCreate, ArtifactUpdate


def create(client: SyncPrefectClient, artifact: ArtifactCreate) -> None:
    """Make an artifact."""
    client.request("POST", "/artifacts/", json=artifact.model_dump(mode="json", exclude_unset=True))


def update(client: SyncPrefectClient, artifact: UUID, changed: ArtifactUpdate) -> None:
    """Change what is set in `changed`."""
    body = changed.model_dump(mode="json", exclude_unset=True)
    client.request("PATCH", "/artifacts/{id}", path_params={"id": artifact}, json=body)
