# Both images of carbonbudget: `--target carbonbudget-agent` and `--target carbonbudget-operator`.
# Dependencies come from the hashed lock files and lie in a layer of their own: a change of our sources
# makes only a small layer anew. The ARGs without a value let a build pass the machine's own package
# settings (certificates, mirrors) to single steps; none of them stays in an image.

# The base has no digest here: `hack/images` makes it from Debian's signed packages where no registry can be reached, and
# what it makes has another digest than the registry's image. Who builds from a registry pins it there
# (docs/development/cluster.md).
FROM debian:bookworm-slim AS python
ARG APT_CONFIG
RUN apt-get -qq update \
 && DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends python3 ca-certificates >/dev/null \
 && rm -rf /var/lib/apt/lists/* /var/cache/apt/* /var/log/* /var/cache/debconf/*-old /usr/share/doc/* /usr/share/man/*

FROM python AS build
ARG APT_CONFIG
ARG PIP_CONFIG_FILE
ARG SSL_CERT_FILE
RUN apt-get -qq update \
 && DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends python3-pip >/dev/null
COPY requirements/build.txt /tmp/
RUN python3 -m venv --without-pip /opt/backend \
 && pip --no-cache-dir --python /opt/backend/bin/python install -q --require-hashes --only-binary :all: -r /tmp/build.txt

# Dependencies: wheels only, so that nothing is compiled and nothing runs at installation.
FROM build AS agent-dependencies
ARG PIP_CONFIG_FILE
ARG SSL_CERT_FILE
COPY requirements/agent.txt /tmp/
RUN python3 -m venv --without-pip /venv \
 && pip --no-cache-dir --python /venv/bin/python install -q --require-hashes --only-binary :all: --no-compile -r /tmp/agent.txt \
 && /venv/bin/python -m compileall -q --invalidation-mode unchecked-hash /venv/lib

FROM build AS operator-dependencies
ARG PIP_CONFIG_FILE
ARG SSL_CERT_FILE
COPY requirements/operator.txt /tmp/
RUN python3 -m venv --without-pip /venv \
 && pip --no-cache-dir --python /venv/bin/python install -q --require-hashes --only-binary :all: --no-compile -r /tmp/operator.txt \
 && /venv/bin/python -m compileall -q --invalidation-mode unchecked-hash /venv/lib

# Ourselves, installed under /ours with the paths of /venv, so that the final stages can lay it over.
FROM build AS ours
ENV SOURCE_DATE_EPOCH=1577836800
COPY pyproject.toml README.md LICENSE /src/
COPY core /src/core
COPY agent /src/agent
COPY operator /src/operator
RUN cd /src && /opt/backend/bin/python -m hatchling build -t wheel -d /dist >/dev/null \
 && python3 -m venv --without-pip /venv \
 && pip --python /venv/bin/python install -q --no-index --no-deps --no-compile --prefix /ours /dist/*.whl \
 && /venv/bin/python -m compileall -q --invalidation-mode unchecked-hash -s /ours -p /venv /ours/lib

# What seldom changes comes first; our own layer is the last, so that a change of our sources makes just it.
FROM python AS carbonbudget-agent
ENV PATH=/venv/bin:/usr/local/bin:/usr/bin:/bin PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 HOME=/
# The node's files (cgroups, powercap, sockets) belong to root; the chart drops every capability.
USER 0:0
ENTRYPOINT ["carbonbudget-agent"]
ARG VERSION=dev
LABEL org.opencontainers.image.title="carbonbudget-agent" \
      org.opencontainers.image.description="Measures each pod's energy on its node" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="$VERSION"
COPY --from=agent-dependencies /venv /venv
COPY --from=ours /ours /venv

FROM python AS carbonbudget-operator
ENV PATH=/venv/bin:/usr/local/bin:/usr/bin:/bin PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 HOME=/
USER 65532:65532
ENTRYPOINT ["carbonbudget"]
ARG VERSION=dev
LABEL org.opencontainers.image.title="carbonbudget-operator" \
      org.opencontainers.image.description="Ledger, controller and admission of carbonbudget" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="$VERSION"
COPY --from=operator-dependencies /venv /venv
COPY --from=ours /ours /venv
