"""The command line of QEMU for the second node."""

from __future__ import annotations

from pathlib import Path

from . import address
from .rootfs import Image

MEMORY_MIB = 2560
CPUS = 2
# Vector instructions are slower than what programs do without them: each is a call of the emulator.
CPU = "max,avx=off,avx2=off,la57=off"


def tap_script() -> str:
    """What QEMU runs once it made the tap device ($1): our end's address, and the way to the node's pods."""
    return (
        "#!/bin/sh\nset -e\nPATH=$PATH:/usr/sbin:/sbin\n"
        f'ip address add {address.HOST}/{address.PREFIX} dev "$1"\n'
        'ip link set "$1" up\n'
        f'ip route add {address.POD_CIDR} via {address.NODE} dev "$1"\n'
    )


def command(image: Image, data: Path, script: Path, serial: Path) -> list[str]:
    """QEMU in the foreground. The kernel has NVMe and ext4 built in, so that it needs no initrd."""
    kernel = (
        "root=/dev/nvme0n1 rw console=ttyS0 panic=-1 net.ifnames=0 mitigations=off "
        "systemd.unified_cgroup_hierarchy=1 systemd.show_status=1"
    )
    return [
        "qemu-system-x86_64",
        "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot",
        "-machine", "q35", "-accel", "tcg,thread=multi", "-cpu", CPU,
        "-smp", str(CPUS), "-m", str(MEMORY_MIB), "-rtc", "base=utc",
        "-kernel", str(image.kernel), "-append", kernel,
        "-serial", f"file:{serial}",
        # The image stays as it is: what the node writes to it goes to a file that has no name any more.
        "-drive", f"if=none,id=root,format=raw,file={image.disk},snapshot=on",
        "-drive", f"if=none,id=data,format=raw,file={data},cache=unsafe,discard=unmap",
        # One controller: the order of two would be chance.
        "-device", "nvme,id=nvme,serial=node",
        "-device", "nvme-ns,drive=root,bus=nvme,nsid=1",
        "-device", "nvme-ns,drive=data,bus=nvme,nsid=2",
        "-netdev", f"tap,id=link,ifname={address.DEVICE},script={script},downscript=no",
        "-device", "virtio-net-pci,netdev=link,romfile=",
    ]  # fmt: skip
