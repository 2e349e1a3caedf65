"""A story that is played on a simulated clock and told as a page: what people write, type and read."""

from __future__ import annotations

import datetime as dt
import re
import shlex
from dataclasses import dataclass, field
from pathlib import Path
from zoneinfo import ZoneInfo

from tests.conftest import Cluster

ZONE = ZoneInfo("Europe/Berlin")
HOUR = 3600
_AGE = re.compile(r"  +AGE$|  +\d+[smhd]\d*[smh]?$", re.MULTILINE)


def at(day: int, hour: int = 0, month: int = 3) -> int:
    """UTC seconds of a local hour of 2027."""
    return int(dt.datetime(2027, month, day, hour, tzinfo=ZONE).timestamp())


@dataclass
class Clock:
    """UTC seconds."""

    now: int = at(1)

    def __call__(self) -> float:
        return float(self.now)


@dataclass
class Story:
    """`namespace` is shown as team-a. `directory` is where a person's manifests are."""

    cluster: Cluster
    namespace: str
    clock: Clock
    directory: Path
    lines: list[str] = field(default_factory=list, kw_only=True)

    @property
    def date(self) -> str:
        return dt.datetime.fromtimestamp(self.clock.now, ZONE).strftime("%a %d %b %H:%M")

    def say(self, text: str) -> None:
        """A paragraph of the story."""
        self.lines += ["", f"**{self.date}** {text}", ""]

    def file(self, name: str, manifest: str) -> str:
        """A manifest that a person has written, shown; its path."""
        path = self.directory / name
        path.write_text(manifest)
        self.lines += [f"`{name}`:", "", "```yaml", *manifest.splitlines(), "```"]
        return str(path)

    def kubectl(self, *args: str) -> str:
        """What a person types, and what is answered; AGE is of the real clock and left out."""
        done = self.cluster.kubectl("-n", self.namespace, *args, check=False)
        said = self._as_told(_AGE.sub("", (done.stdout + done.stderr).rstrip()))
        typed = self._as_told(shlex.join(["kubectl", *args]))
        self.lines += ["```", f"$ {typed}", *map(str.rstrip, said.splitlines()), "```"]
        return said

    def _as_told(self, text: str) -> str:
        return text.replace(self.namespace, "team-a").replace(f"{self.directory}/", "")
