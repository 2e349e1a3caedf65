"""A second node in a virtual machine by software emulation, with cgroup v2 and the systemd driver as most nodes have.

The machine itself stays as it is. QEMU's process is all there is of the node here: its tap device, with the address
and the route to the node's pods, goes when that process ends, however it ends.
"""
