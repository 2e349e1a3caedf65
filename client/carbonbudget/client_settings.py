"""What the environment says to the client: where the server is, who asks, where to write, and which rank this is."""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

_TOKEN_FILE = "/var/run/secrets/carbonbudget.dev/token"  # noqa: S105 - a path
# Of torchrun, Open MPI, Intel MPI and Slurm: the number of this process among those of its node.
_LOCAL_RANKS = ("LOCAL_RANK", "OMPI_COMM_WORLD_LOCAL_RANK", "MPI_LOCALRANKID", "SLURM_LOCALID")


class ClientSettings:
    """The environment at one instant. It is read at the first span, at `init` and in a forked child."""

    __slots__ = (
        "ca_file",
        "ca_pem",
        "disabled",
        "local_rank",
        "log",
        "model",
        "run",
        "server_url",
        "token_file",
        "version",
    )

    def __init__(self, environment: Mapping[str, str] = os.environ) -> None:
        def text(name: str) -> str:
            return environment.get(f"CARBONBUDGET_{name}", "").strip()

        self.server_url = text("SERVER_URL").rstrip("/")
        self.token_file = text("TOKEN_FILE") or _TOKEN_FILE
        self.ca_pem = text("CA")
        self.ca_file = text("CA_FILE")
        self.log = text("LOG")
        self.run = text("RUN") or None
        self.model = text("MODEL") or None
        self.version = text("MODEL_VERSION") or None
        self.disabled = text("DISABLED") not in ("", "0")
        ranks = (environment.get(name, "") for name in _LOCAL_RANKS)
        self.local_rank = next((int(rank) for rank in ranks if rank.isascii() and rank.isdigit()), 0)

    @property
    def records(self) -> bool:
        """Whether spans of this process go anywhere. Only the first process of a pod records."""
        return not self.disabled and self.local_rank == 0 and bool(self.server_url or self.log)

    @property
    def forgotten(self) -> bool:
        """Whether neither a server nor a log file is set, and the library is not switched off either."""
        return not (self.disabled or self.local_rank or self.server_url or self.log)

    def same_place(self, other: ClientSettings) -> bool:
        """Whether spans go where the other's go."""
        places = ("server_url", "token_file", "ca_pem", "ca_file", "log", "records")
        return all(getattr(self, name) == getattr(other, name) for name in places)
