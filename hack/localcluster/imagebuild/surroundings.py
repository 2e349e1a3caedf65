"""Makes the machine's package settings available to the build: certificates, apt sources, pip settings.

They go into a temporary directory that is mounted read-only while the steps run. Nothing of it is
committed and nothing stays in an image, so that addresses and certificates remain the machine's matter.
"""

from __future__ import annotations

import configparser
import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

MOUNT = "/run/machine"  # where the steps see the directory
CA_BUNDLES = ("/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt")
PIP_KEYS = ("index-url", "extra-index-url", "trusted-host", "proxy", "timeout", "retries")


def ca_bundle(env: Mapping[str, str] = os.environ) -> Path | None:
    """The certificates the machine trusts: what SSL_CERT_FILE names, else the distribution's bundle."""
    candidates = [env.get("SSL_CERT_FILE") or "", *CA_BUNDLES]
    return next((Path(c) for c in candidates if c and Path(c).is_file()), None)


def is_debian(codename: str, os_release: str) -> bool:
    lines = os_release.splitlines()
    return "ID=debian" in lines and f"VERSION_CODENAME={codename}" in lines


def mirror(sources: str, suite: str) -> str | None:
    """The first address that apt sources (either format) give for a suite."""
    uri = None
    for line in sources.splitlines():
        words = [word for word in line.split() if not word.startswith("[") and not word.endswith("]")]
        if len(words) >= 3 and words[0] == "deb" and words[2] == suite:
            return words[1]
        if words[:1] == ["URIs:"] and len(words) > 1:
            uri = words[1]
        if words[:1] == ["Suites:"] and suite in words and uri:
            return uri
    return None


def apt_sources() -> str:
    files = [Path("/etc/apt/sources.list"), *sorted(Path("/etc/apt/sources.list.d").glob("*.list"))]
    files += sorted(Path("/etc/apt/sources.list.d").glob("*.sources"))
    return "\n".join(path.read_text() for path in files if path.is_file())


def pip_settings(texts: list[str], env: Mapping[str, str]) -> dict[str, str]:
    """The configured package indexes of pip, by files (later ones win) and then by PIP_* variables."""
    parser = configparser.RawConfigParser()
    for text in texts:
        parser.read_string(text)
    merged: dict[str, str] = {}
    for section in ("global", "install"):
        if parser.has_section(section):
            merged |= {k: v for k, v in parser.items(section) if k in PIP_KEYS}
    for key in PIP_KEYS:
        value = env.get("PIP_" + key.upper().replace("-", "_"))
        if value:
            merged[key] = value
    return merged


def _pip_files() -> list[str]:
    home = Path.home()
    places = [Path("/etc/pip.conf"), home / ".pip" / "pip.conf", home / ".config" / "pip" / "pip.conf"]
    named = os.environ.get("PIP_CONFIG_FILE")
    if named:
        places.append(Path(named))
    return [path.read_text() for path in places if path.is_file()]


def write(directory: Path, codename: str) -> dict[str, str]:
    """Fills `directory`; returns the build arguments that make the steps use it."""
    arguments = {"APT_CONFIG": f"{MOUNT}/apt.conf", "PIP_CONFIG_FILE": f"{MOUNT}/pip.conf"}
    dump = subprocess.run(["apt-config", "dump"], capture_output=True, text=True).stdout
    # How to fetch (proxy, certificates, dates); not where from.
    apt = [line for line in dump.splitlines() if line.startswith("Acquire::") and "::CaInfo" not in line]
    bundle = ca_bundle()
    pip = pip_settings(_pip_files(), os.environ)
    if bundle:
        shutil.copyfile(bundle, directory / "ca.crt")
        arguments["SSL_CERT_FILE"] = f"{MOUNT}/ca.crt"
        apt.append(f'Acquire::https::CaInfo "{MOUNT}/ca.crt";')
        pip["cert"] = f"{MOUNT}/ca.crt"
    if is_debian(codename, Path("/etc/os-release").read_text()):
        (directory / "sources").mkdir()
        for path in (*Path("/etc/apt").glob("sources.list"), *Path("/etc/apt/sources.list.d").iterdir()):
            # Only Debian's own archive: other sources' keys are not in the image.
            if path.suffix in (".list", ".sources") and mirror(path.read_text(), codename):
                shutil.copyfile(path, directory / "sources" / path.name)
        apt += ['Dir::Etc::sourcelist "/dev/null";', f'Dir::Etc::sourceparts "{MOUNT}/sources";']
    (directory / "apt.conf").write_text("\n".join(apt) + "\n")
    lines = ["[global]", "disable-pip-version-check = true", "root-user-action = ignore"]
    (directory / "pip.conf").write_text("\n".join(lines + [f"{k} = {v}" for k, v in pip.items()]) + "\n")
    return arguments
