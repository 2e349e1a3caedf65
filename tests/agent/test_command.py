"""The command as a process: a dry run on a small true node, and bad options."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from tests.agent.node import UID_A, FakeNode
from tests.disk import small_disk

from carbonbudget_core.node_report_json import decode_report

AGENT = str(Path(sys.executable).parent / "carbonbudget-agent")


def run(*args: str, **environment: str) -> subprocess.CompletedProcess[str]:
    clean = {key: value for key, value in os.environ.items() if not key.startswith(("CARBONBUDGET_", "KUBERNETES_"))}
    return subprocess.run(
        [AGENT, *args], capture_output=True, text=True, env=clean | environment, timeout=60, check=False
    )


def test_a_dry_run_prints_reports_that_conserve(tmp_path: Path) -> None:
    node = FakeNode(tmp_path)
    node.burn(1_000_000, UID_A)
    done = run(
        "run", "--dry-run", "--windows", "1", "--window", "10", "--interval", "1", "--node-name", "node-1",
        "--sysfs", str(tmp_path / "sys"), "--procfs", str(node.procfs), "--cgroup-root", str(node.cgroups),
        "--pods-file", str(node.pod_list(UID_A)),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    (line,) = done.stdout.splitlines()
    report = decode_report(line)  # which checks that it adds up
    assert (report.node, report.domains[0].method, [pod.name for pod in report.pods]) == ("node-1", "model", ["pod-a"])


@pytest.mark.parametrize(
    ("args", "sentence"),
    [
        (("run",), "--server-url and --outbox are needed, or --dry-run"),
        (("run", "--dry-run"), "no source of pods"),
        (("run", "--dry-run", "--pods-file", "x", "--window", "11"), "--window must be one of 10, 15, 20, 30, 60"),
        (("run", "--dry-run", "--pods-file", "x", "--interval", "0"), "--interval must be 1 to 30 seconds"),
        (("run", "--dry-run", "--pods-file", "x", "--interval", "x"), "invalid int value"),
        (("run", "--dry-run", "--pods-file", "x", "--metrics-listen", "9109"), "must be ADDRESS:PORT"),
        (("run", "--dry-run", "--pods-file", "x", "--metrics-listen", "0.0.0.0:²"), "must be ADDRESS:PORT"),
        (("run", "--dry-run", "--pods-file", "x", "--metrics-listen", "h:" + "9" * 5_000), "must be ADDRESS:PORT"),
        (("run", "--dry-run", "--pods-file", "x", "--calibration", "m5"), "'m5' is not MACHINE=FACTOR"),
        (
            ("run", "--server-url", "nonsense", "--outbox", "x", "--pods-file", "x"),
            "--server-url must be an http or https",
        ),
        (("run", "--dry-run", "--kubelet-port", "10250"), "--kubelet-port needs --host-ip"),
        (("run", "--dry-run", "--host-ip", "::1", "--kubelet-port", "70000"), "must be 1 to 65535"),
        (("run", "--dry-run", "--kubelet-url", "https://h:port"), "--kubelet-url must be an http or https URL"),
        (("run", "--dry-run", "--api-url", "ftp://h"), "--api-url must be an http or https URL, not 'ftp://h'"),
        (("meters", "--calibration", "m5=50"), "'m5=50' is not MACHINE=FACTOR"),
        (("fly",), "invalid choice"),
    ],
)
def test_a_bad_option_is_a_usage_error_in_a_sentence(args: tuple[str, ...], sentence: str) -> None:
    done = run(*args)
    assert done.returncode == 2
    assert sentence in done.stderr
    assert "Traceback" not in done.stderr


def test_an_option_can_come_from_the_environment() -> None:
    done = run("run", "--dry-run", "--pods-file", "x", CARBONBUDGET_WINDOW="11")
    assert (done.returncode, "--window must be one of" in done.stderr) == (2, True)


def test_a_cgroup_root_that_is_none_is_said_in_a_line(tmp_path: Path) -> None:
    node = FakeNode(tmp_path)
    done = run("run", "--dry-run", "--pods-file", "x", "--cgroup-root", str(tmp_path), "--procfs", str(node.procfs))
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith(f"carbonbudget-agent: {tmp_path} holds neither cgroup v2")


@pytest.mark.parametrize("outbox", ["/proc/outbox", "/dev/null"])
def test_an_outbox_that_cannot_be_made_is_named_in_a_line(tmp_path: Path, outbox: str) -> None:
    node = FakeNode(tmp_path)
    done = run(
        "run", "--sysfs", str(tmp_path / "sys"), "--procfs", str(node.procfs), "--cgroup-root", str(node.cgroups),
        "--pods-file", str(node.pod_list(UID_A)), "--outbox", outbox, "--server-url", "https://127.0.0.1:1",
    )  # fmt: skip
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith(f"carbonbudget-agent: {outbox} cannot be used: ")
    assert "Traceback" not in done.stderr


def test_an_outbox_that_cannot_be_written_is_said_in_a_line(tmp_path: Path) -> None:
    node = FakeNode(tmp_path)
    with small_disk(tmp_path / "outbox", "64k"):
        subprocess.run(["mount", "-o", "remount,ro", str(tmp_path / "outbox")], check=True)
        done = run(
            "run", "--sysfs", str(tmp_path / "sys"), "--procfs", str(node.procfs), "--cgroup-root", str(node.cgroups),
            "--pods-file", str(node.pod_list(UID_A)), "--outbox", str(tmp_path / "outbox"),
            "--server-url", "https://127.0.0.1:1",
        )  # fmt: skip
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith(
        f"carbonbudget-agent: the outbox {tmp_path}/outbox cannot be written: if its file system is read-only"
    )
    assert "Traceback" not in done.stderr


def test_meters_lists_what_is_there_and_why_not(tmp_path: Path) -> None:
    done = run("meters", "--sysfs", str(tmp_path / "sys"), "--procfs", str(FakeNode(tmp_path).procfs))
    assert done.returncode == 0
    assert [line[:25].split() for line in done.stdout.splitlines()] == [
        ["rapl", "absent"], ["hwmon", "absent"], ["nvml", "absent"], ["model", "measures", "cpu"],
        ["dram", "measured", "by", "nobody"], ["gpu", "measured", "by", "nobody"],
    ]  # fmt: skip


def test_meters_tells_the_machine_type_and_the_calibration_that_the_model_works_with(tmp_path: Path) -> None:
    node = FakeNode(tmp_path)
    node.write("proc/cpuinfo", "processor : 0\nvendor_id : NewVendor\n")
    done = run(
        "meters", "--sysfs", str(tmp_path / "sys"), "--procfs", str(node.procfs),
        CARBONBUDGET_INSTANCE_TYPE="m7g.large", CARBONBUDGET_CALIBRATION="m7g.large=0.9",
    )  # fmt: skip
    (line,) = [line for line in done.stdout.splitlines() if line.startswith("model")]
    assert "AWS Graviton3 (Neoverse V1) (by instance type m7g.large), 1 threads, idle 423 mW" in line
    assert line.endswith("calibrated by 0.9 (m7g.large)")


def test_a_limit_of_open_files_below_three_a_pod_hides_no_pod(tmp_path: Path) -> None:
    node = FakeNode(tmp_path)
    uids = [f"5b0c1f7e-0000-4000-8000-{n:012x}" for n in range(100)]
    for uid in uids:
        node.burn(1_000_000, uid)
    done = subprocess.run(
        [
            "sh", "-c", 'ulimit -S -n 64 && exec "$@"', "sh", AGENT, "run", "--dry-run", "--windows", "1", "--window",
            "10", "--interval", "1", "--sysfs", str(tmp_path / "sys"), "--procfs", str(node.procfs), "--cgroup-root",
            str(node.cgroups), "--pods-file", str(node.pod_list(*uids)),
        ],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    (line,) = done.stdout.splitlines()
    assert len(decode_report(line).pods) == 100
