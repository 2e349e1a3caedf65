"""The files of the node's system that are ours: units, network, access. Paths of one cluster lie on the data disk."""

from __future__ import annotations

import hashlib

from . import address

DATA = "/var/lib/carbonbudget-cluster"  # where the node mounts what belongs to one cluster


def service(name: str, after: str, command: str, more: str = "") -> str:
    """A unit that runs a file of the data disk, restarted whenever it ends."""
    return f"""[Unit]
Description={name} of the node
After={after}
RequiresMountsFor={DATA}
StartLimitIntervalSec=0

[Service]
ExecStart={command}
Restart=always
RestartSec=1
{more}
[Install]
WantedBy=multi-user.target
"""


def files() -> dict[str, str]:
    """Path -> content of every file that is ours in the image."""
    ours = "Delegate=yes\nKillMode=process\nOOMScoreAdjust=-999\nLimitNOFILE=1048576\nTasksMax=infinity"
    units = {
        "containerd": service(
            "containerd", "local-fs.target dbus.service", f"/usr/bin/containerd --config={DATA}/config/containerd.toml",
            f"Type=notify\n{ours}",
        ),
        "kubelet": service(
            "kubelet", "containerd.service network-online.target", f"/bin/sh {DATA}/config/kubelet.sh"
        ),
        "kube-proxy": service("kube-proxy", "network-online.target", f"/bin/sh {DATA}/config/kube-proxy.sh"),
    }  # fmt: skip
    return {f"etc/systemd/system/{name}.service": text for name, text in units.items()} | {
        "etc/fstab": f"/dev/nvme0n1 / ext4 defaults 0 0\n/dev/nvme0n2 {DATA} ext4 defaults 0 0\n",
        "etc/hostname": "node\n",
        "etc/resolv.conf": "",
        "etc/hosts": "127.0.0.1 localhost\n",
        "etc/machine-id": hashlib.md5(DATA.encode()).hexdigest() + "\n",
        "etc/modules-load.d/node.conf": "overlay\nveth\nnf_conntrack\n",
        "etc/systemd/network/10-node.network": (
            f"[Match]\nDriver=virtio_net\n\n[Network]\nAddress={address.NODE}/{address.PREFIX}\n"
            f"Gateway={address.HOST}\nLinkLocalAddressing=no\nIPv6AcceptRA=no\n"
        ),
        # Routes to pods are CNI's.
        "etc/systemd/networkd.conf": "[Network]\nManageForeignRoutes=no\nManageForeignRoutingPolicyRules=no\n",
        "etc/systemd/system/ssh.service.d/node.conf": f"[Unit]\nRequiresMountsFor={DATA}\n",
        "etc/ssh/sshd_config.d/node.conf": (
            f"HostKey {DATA}/ssh/host\nAuthorizedKeysFile {DATA}/ssh/authorized_keys\n"
            "PermitRootLogin prohibit-password\nPasswordAuthentication no\nUseDNS no\n"
        ),
    }
