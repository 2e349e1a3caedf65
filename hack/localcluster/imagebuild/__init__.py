"""The project's container images without Docker and, where no registry can be reached, without one."""
