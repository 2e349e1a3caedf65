"""Which pods run on this node (kubelet, API watch or a file), and what each used (cgroups)."""
