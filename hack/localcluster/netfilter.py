"""Removes the iptables chains and rules that kube-proxy, the kubelet and CNI created.

Pure text work on what `iptables-save` prints, plus one function that applies it. Only chains named
KUBE-* or CNI-* that were not there before `up`, and rules of other chains that jump to them.
"""

from __future__ import annotations

import shlex
import shutil
import subprocess
from collections.abc import Collection, Mapping

PREFIXES = ("KUBE-", "CNI-")
# Debian has both kinds side by side; kube-proxy and CNI use whichever `iptables` stands for.
VARIANTS = ("iptables-nft", "iptables-legacy", "ip6tables-nft", "ip6tables-legacy")


def owned_chains(saved: str, keep: Collection[str] = ()) -> dict[str, list[str]]:
    """table -> the chains of ours in an iptables-save output; `keep` are `table/chain` to leave alone."""
    chains: dict[str, list[str]] = {}
    table = ""
    for line in saved.splitlines():
        if line.startswith("*"):
            table = line[1:].strip()
        elif line.startswith(":"):
            chain = line[1:].split()[0]
            if chain.startswith(PREFIXES) and f"{table}/{chain}" not in keep:
                chains.setdefault(table, []).append(chain)
    return chains


def _target(rule: str) -> str:
    words = shlex.split(rule)
    for flag in ("-j", "-g"):
        if flag in words[:-1]:
            return words[words.index(flag) + 1]
    return ""


def removal(saved: str, keep: Collection[str] = ()) -> str:
    """Input for `iptables-restore --noflush` that removes our chains and the jumps to them, else nothing."""
    chains = owned_chains(saved, keep)
    script: list[str] = []
    table = ""
    jumps: dict[str, list[str]] = {}
    for line in saved.splitlines():
        if line.startswith("*"):
            table = line[1:].strip()
        elif line.startswith("-A "):
            ours = chains.get(table, [])
            if line.split()[1] not in ours and _target(line) in ours:
                jumps.setdefault(table, []).append("-D" + line[2:])
    for table, names in chains.items():
        script.append(f"*{table}")
        script += [f":{name} - [0:0]" for name in names]  # naming a chain so empties it
        script += jumps.get(table, [])
        script += [f"-X {name}" for name in names]
        script.append("COMMIT")
    return "\n".join(script) + "\n" if script else ""


def _save(variant: str) -> str:
    program = shutil.which(f"{variant}-save", path="/usr/sbin:/sbin:/usr/bin")
    if program is None:
        return ""
    return subprocess.run([program], capture_output=True, text=True).stdout


def present() -> dict[str, list[str]]:
    """variant -> `table/chain` of every KUBE-* and CNI-* chain of the machine now."""
    found = {}
    for variant in VARIANTS:
        chains = owned_chains(_save(variant))
        names = [f"{table}/{chain}" for table, names in chains.items() for chain in names]
        if names:
            found[variant] = names
    return found


def remove(keep: Mapping[str, Collection[str]]) -> tuple[int, list[str]]:
    """Removes our chains in every variant. Returns how many went, and the variants where that failed."""
    count = 0
    failed = []
    for variant in VARIANTS:
        saved = _save(variant)
        script = removal(saved, keep.get(variant, ()))
        if not script:
            continue
        program = shutil.which(f"{variant}-restore", path="/usr/sbin:/sbin:/usr/bin") or f"{variant}-restore"
        done = subprocess.run([program, "--noflush"], input=script, capture_output=True, text=True)
        if done.returncode == 0:
            count += sum(len(names) for names in owned_chains(saved, keep.get(variant, ())).values())
        else:
            failed.append(f"{variant}: {done.stderr.strip().splitlines()[-1:]}")
    return count, failed
