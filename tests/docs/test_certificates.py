"""The page about certificates of your own names what the chart's pods mount and what clients connect to."""

from __future__ import annotations

import re
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parent.parent.parent
PAGE = (ROOT / "docs/certificates.md").read_text(encoding="utf-8")
TEMPLATES = "\n".join(path.read_text() for path in sorted((ROOT / "charts/carbonbudget/templates").glob("*.yaml")))
BLOCKS = [one for text in re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL) for one in yaml.safe_load_all(text)]


def test_each_secret_that_a_pod_mounts_is_on_the_page_and_each_certificate_is_for_its_service() -> None:
    mounted = set(re.findall(r"secretName: (carbonbudget-[a-z]+-tls)", TEMPLATES))
    assert mounted == set(re.findall(r"^\| Secret `(carbonbudget-[a-z]+-tls)`", PAGE, re.MULTILINE))
    leaves = [one["spec"] for one in BLOCKS if one.get("kind") == "Certificate" and not one["spec"].get("isCA")]
    assert {leaf["secretName"] for leaf in leaves} == mounted
    for leaf in leaves:
        service = leaf["secretName"].removesuffix("-tls")
        assert leaf["dnsNames"] == [f"{service}.carbonbudget-system.svc"]
        assert f"name: {service}" in TEMPLATES


def test_the_annotation_of_the_values_names_a_certificate_of_the_page() -> None:
    (values,) = [one["certificates"] for one in BLOCKS if "certificates" in one]
    source = values["webhookAnnotations"]["cert-manager.io/inject-ca-from"]
    names = {f"{one['metadata']['namespace']}/{one['metadata']['name']}" for one in BLOCKS if "metadata" in one}
    assert source in names
