"""The configuration files of containerd, CNI, kubelet and kube-proxy, as text or JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from .settings import Settings

# The CRI plugin expands short names; the kubelet's pods and `ctr import` see the same full name.
PAUSE_IMAGE = "pause:dev"
CGROUP_DRIVER = "cgroupfs"  # needs no systemd, which this machine may lack


def containerd(settings: Settings, cni_bin: Path, protect_sandboxes: bool, cgroup_driver: str = CGROUP_DRIVER) -> str:
    """containerd 1.6/1.7 (config version 2), apart from any other containerd of the machine.

    Without `protect_sandboxes` a container's OOM score stays at or above containerd's own.
    """
    state = settings.state
    # Fewer plugins start faster and leave nothing in the system's own directories.
    disabled = [f"io.containerd.snapshotter.v1.{name}" for name in ("aufs", "btrfs", "devmapper", "zfs")]
    disabled += ["io.containerd.internal.v1.tracing", "io.containerd.tracing.processor.v1.otlp"]
    return f"""version = 2
root = "{state}/containerd"
state = "{settings.run}/containerd"
disabled_plugins = {json.dumps(disabled)}

[grpc]
  address = "{settings.containerd_socket}"

[plugins."io.containerd.internal.v1.opt"]
  path = "{state}/containerd/opt"

[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{PAUSE_IMAGE}"
  disable_apparmor = true
  restrict_oom_score_adj = {"false" if protect_sandboxes else "true"}
  tolerate_missing_hugetlb_controller = true
  stream_server_address = "127.0.0.1"
  stream_server_port = "0"

  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "{cni_bin}"
    conf_dir = "{settings.config}/cni"

  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "overlayfs"
    default_runtime_name = "runc"

    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"

      [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
        Root = "{settings.run}/runc"
        SystemdCgroup = {"true" if cgroup_driver == "systemd" else "false"}
"""


def cni(settings: Settings, mtu: int) -> str:
    """One veth pair a pod, addresses from one range, masquerading for what leaves the machine."""
    ptp = {
        "type": "ptp",
        "ipMasq": True,
        "mtu": mtu,
        "ipam": {
            "type": "host-local",
            "dataDir": f"{settings.state}/cni",
            "ranges": [[{"subnet": settings.pod_cidr, "gateway": settings.pod_gateway}]],
            "routes": [{"dst": "0.0.0.0/0"}],
        },
    }
    plugins = [ptp, {"type": "portmap", "capabilities": {"portMappings": True}}]
    return json.dumps({"cniVersion": "0.4.0", "name": "carbonbudget", "plugins": plugins}, indent=1)


def kubelet(settings: Settings, cgroup_driver: str = CGROUP_DRIVER, more: Mapping[str, object] = {}) -> str:
    """The kubelet's configuration; `more` goes over it."""
    config: dict[str, object] = {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "address": "0.0.0.0",
        "authentication": {
            "anonymous": {"enabled": False},
            "webhook": {"enabled": True},
            "x509": {"clientCAFile": str(settings.pki / "ca.crt")},
        },
        "authorization": {"mode": "Webhook"},
        "cgroupDriver": cgroup_driver,
        "failCgroupV1": False,
        "clusterDNS": [settings.dns_ip],
        "clusterDomain": "cluster.local",
        "containerRuntimeEndpoint": f"unix://{settings.containerd_socket}",
        "failSwapOn": False,
        "healthzBindAddress": "127.0.0.1",
        "resolvConf": "/etc/resolv.conf",
        "volumePluginDir": str(settings.kubelet_root / "volume-plugins"),
        "maxPods": 250,
        "serializeImagePulls": False,
        "shutdownGracePeriod": "0s",
        # Images are imported, not pulled: the kubelet must never clean them away to save disk.
        "imageGCHighThresholdPercent": 100,
        "evictionHard": {"memory.available": "100Mi", "nodefs.available": "1%", "imagefs.available": "1%"},
        # Secrets and config maps reach pods within seconds, so that tests need not wait a minute.
        "syncFrequency": "10s",
        "nodeStatusReportFrequency": "1m",
    }
    if settings.kubelet_serving_cert == "cluster":
        config["tlsCertFile"] = str(settings.pki / "kubelet-serving.crt")
        config["tlsPrivateKeyFile"] = str(settings.pki / "kubelet-serving.key")
    return json.dumps({**config, **more}, indent=1)


def kube_proxy(settings: Settings) -> str:
    return json.dumps(
        {
            "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
            "kind": "KubeProxyConfiguration",
            "mode": "iptables",
            "clientConnection": {"kubeconfig": str(settings.config / "kube-proxy.kubeconfig")},
            "clusterCIDR": settings.pod_cidr,
            "hostnameOverride": settings.node_name,
            "healthzBindAddress": "127.0.0.1:10256",
            "metricsBindAddress": "127.0.0.1:10249",
            # The machine's own limits and sysctls stay as they are.
            "conntrack": {
                "maxPerCore": 0,
                "min": 0,
                "tcpEstablishedTimeout": "0s",
                "tcpCloseWaitTimeout": "0s",
            },
            "iptables": {"localhostNodePorts": False, "minSyncPeriod": "100ms"},
        },
        indent=1,
    )
