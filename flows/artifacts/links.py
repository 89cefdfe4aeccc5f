"""Links between the pages of Prefect, relative, so that they hold under any host and path of the server."""

from collections.abc import Mapping
from uuid import UUID

# A page of an artifact, of a series and of a run lies two levels below the root, whichever of them shows the text.
_ROOT = "../.."


def artifact_link(text: str, artifact: UUID | str) -> str:
    """Markdown link to the page of an artifact."""
    return f"[{text}]({_ROOT}/artifacts/artifact/{artifact})"


def series_link(text: str, key: str) -> str:
    """Markdown link to all artifacts of a key, the newest first."""
    return f"[{text}]({_ROOT}/artifacts/key/{key})"


def run_link(text: str, flow_run: UUID | str) -> str:
    """Markdown link to the page of a flow run."""
    return f"[{text}]({_ROOT}/runs/flow-run/{flow_run})"


def artifact_links(made: Mapping[str, UUID]) -> list[str]:
    """Links to artifacts by what they are."""
    return [artifact_link(what, artifact) for what, artifact in made.items()]
