"""Images: archives written from files alone, inputs hashed, the machine's settings lent and not kept."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path

from localcluster import addons, imports
from localcluster.archive import Entry, architecture, write
from localcluster.imagebuild import builder, inputs, surroundings
from localcluster.settings import Settings


def test_an_archive_holds_the_layer_the_configuration_and_the_name(tmp_path: Path) -> None:
    entries = {"bin/tool": Entry(b"\x7fELF"), "bin/sh": Entry(link="/bin/tool"), "tmp": Entry(mode=0o1777)}
    image_id = write(tmp_path / "x.tar", "tool:dev", entries, ["/bin/tool"], user="65532:65532")
    with tarfile.open(tmp_path / "x.tar") as tar:
        files = {name: tar.extractfile(name).read() for name in tar.getnames()}  # type: ignore[union-attr]
    (image,) = json.loads(files["manifest.json"])
    assert image["RepoTags"] == ["tool:dev"]
    assert image["Config"] == image_id.removeprefix("sha256:") + ".json"
    config = json.loads(files[image["Config"]])
    assert config["config"]["Entrypoint"] == ["/bin/tool"]
    assert config["config"]["User"] == "65532:65532"
    assert config["architecture"] == architecture()
    with tarfile.open(fileobj=io.BytesIO(files[image["Layers"][0]])) as layer:
        assert layer.getnames() == ["bin", "bin/sh", "bin/tool", "tmp"]
        assert layer.getmember("bin/sh").linkname == "/bin/tool"
        assert layer.getmember("tmp").mode == 0o1777


def test_the_same_content_gives_the_same_image(tmp_path: Path) -> None:
    first = write(tmp_path / "a.tar", "x:dev", {"a": Entry(b"1"), "b": Entry(b"2")}, ["/a"])
    second = write(tmp_path / "b.tar", "x:dev", {"b": Entry(b"2"), "a": Entry(b"1")}, ["/a"])
    assert first == second
    assert (tmp_path / "a.tar").read_bytes() == (tmp_path / "b.tar").read_bytes()


def test_the_ids_in_an_archive_are_read_back(tmp_path: Path) -> None:
    image_id = write(tmp_path / "x.tar", "x:dev", {"a": Entry(b"1")}, ["/a"])
    assert imports.in_archive(tmp_path / "x.tar") == {"x:dev": image_id}
    (tmp_path / "no.tar").write_text("not a tar")
    assert imports.in_archive(tmp_path / "no.tar") == {}


def test_short_names_are_completed_as_containerd_does() -> None:
    assert imports.full_name("busybox:dev").endswith("/library/busybox:dev")
    assert imports.full_name("team/app:1").endswith("/team/app:1")
    assert imports.full_name("localhost/app:1") == "localhost/app:1"
    assert imports.full_name("registry.example:5000/app:1") == "registry.example:5000/app:1"


def test_names_of_architectures_are_gos() -> None:
    assert [architecture("x86_64"), architecture("aarch64")] == ["amd64", "arm64"]


def checkout(root: Path) -> Path:
    trees = ("requirements/agent.txt", "core/c/w.py", "agent/a/x.py", "operator/o/y.py")
    for name in ("Dockerfile", "pyproject.toml", *trees):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(name)
    return root


def test_a_changed_source_changes_the_inputs_and_bytecode_does_not(tmp_path: Path) -> None:
    repo = checkout(tmp_path)
    before = inputs.digest(repo, inputs.sources(repo))
    (repo / "agent/a/__pycache__").mkdir()
    (repo / "agent/a/__pycache__/x.pyc").write_text("bytecode")
    (repo / "docs").mkdir()
    (repo / "docs/page.md").write_text("not in the image")
    assert inputs.digest(repo, inputs.sources(repo)) == before
    (repo / "agent/a/x.py").write_text("changed")
    assert inputs.digest(repo, inputs.sources(repo)) != before


def test_a_renamed_file_changes_the_inputs(tmp_path: Path) -> None:
    repo = checkout(tmp_path)
    before = inputs.digest(repo, inputs.sources(repo))
    (repo / "agent/a/x.py").rename(repo / "agent/a/z.py")
    assert inputs.digest(repo, inputs.sources(repo)) != before


def test_a_note_without_its_archive_counts_as_not_built(tmp_path: Path) -> None:
    inputs.Built("x:dev", "sha256:1", "2").save(tmp_path / "x.tar")
    assert inputs.built(tmp_path / "x.tar") is None
    (tmp_path / "x.tar").touch()
    assert inputs.built(tmp_path / "x.tar") == inputs.Built("x:dev", "sha256:1", "2")


def test_the_base_is_what_the_first_stage_names() -> None:
    assert builder.base_of("# x\nFROM debian:bookworm-slim AS python\nFROM python\n") == "debian:bookworm-slim"


def test_a_mirror_is_read_from_either_format_of_apt_sources() -> None:
    old = "deb-src http://a.example/debian bookworm main\n"
    old += "deb [signed-by=/k] http://b.example/debian bookworm main\n"
    new = "Types: deb\nURIs: http://c.example/debian\nSuites: bookworm bookworm-updates\nComponents: main\n"
    assert surroundings.mirror(old, "bookworm") == "http://b.example/debian"
    assert surroundings.mirror(new, "bookworm") == "http://c.example/debian"
    assert surroundings.mirror(new, "trixie") is None


def test_pips_settings_are_merged_and_the_environment_wins() -> None:
    files = ["[global]\nindex-url = http://a.example\ncert = /etc/x\n", "[install]\ntimeout = 9\n"]
    merged = surroundings.pip_settings(files, {"PIP_INDEX_URL": "http://b.example", "PIP_NO_INPUT": "1"})
    assert merged == {"index-url": "http://b.example", "timeout": "9"}


def test_pods_are_not_sent_to_a_resolver_on_the_machines_loopback() -> None:
    assert addons.reachable_resolvers("nameserver 127.0.0.53\nsearch x\nnameserver 192.0.2.53\n") == ["192.0.2.53"]
    settings = Settings(state=Path("/s"), run=Path("/r"))
    assert "forward" not in addons.dns_manifest(settings, "nameserver 127.0.0.53\n")
    assert "forward . /etc/resolv.conf" in addons.dns_manifest(settings, "nameserver 192.0.2.53\n")
