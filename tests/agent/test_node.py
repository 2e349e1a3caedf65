"""The node's facts and the loop's waiting: neither an API server nor a wall clock may hold up the sampling."""

from __future__ import annotations

import json
import socket
import threading
import time
from pathlib import Path

from tests.agent.node import FakeClock, FakeNode
from tests.agent.running_agent import START, Agent

from carbonbudget_agent.https_client import Endpoint
from carbonbudget_agent.node_description import NodeInfoSource, local_info
from carbonbudget_agent.run import _wait
from carbonbudget_core.node_report import NodeInfo

NODE = {
    "metadata": {"labels": {"topology.kubernetes.io/region": "eu-1", "node.kubernetes.io/instance-type": "m6a.large"}},
    "spec": {"providerID": "aws:///i-1"},
    "status": {"allocatable": {"cpu": "1930m", "memory": "7Gi", "nvidia.com/gpu": "2"}},
}


class Api:
    """An API server that answers one question at a time, when it is told to."""

    def __init__(self) -> None:
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.endpoint = Endpoint(f"http://127.0.0.1:{self.listener.getsockname()[1]}", None, None, timeout_s=20)

    def answer(self, status: str, value: object) -> None:
        connection, _ = self.listener.accept()
        with connection:
            connection.recv(65_536)
            body = json.dumps(value).encode()
            connection.sendall(f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body)


def until(facts: NodeInfoSource, region: str) -> NodeInfo:
    end = time.monotonic() + 20
    while facts().region != region:
        assert time.monotonic() < end
        time.sleep(0.01)
    return facts()


def test_an_api_server_that_does_not_answer_holds_up_nobody(tmp_path: Path) -> None:
    local = local_info(FakeNode(tmp_path).procfs)
    api = Api()
    with api.listener:
        facts = NodeInfoSource(api.endpoint, "node-1", local, FakeClock(START))
        began = time.monotonic()
        for _ in range(1_000):
            assert facts() == local
        assert time.monotonic() - began < 5  # it may take 20 s to be given up
        assert [thread.name for thread in threading.enumerate()].count("node-facts") == 1
        api.answer("200 OK", NODE)
        known = until(facts, "eu-1")
    assert (known.instance_type, known.allocatable.cpu_millicores, known.allocatable.gpus) == ("m6a.large", 1930, 2)
    assert (known.threads, known.cpu_model) == (local.threads, local.cpu_model)


def test_facts_are_asked_for_again_after_a_minute_if_they_could_not_be_had_and_hourly_if_they_could(
    tmp_path: Path,
) -> None:
    api, clock = Api(), FakeClock(START)
    with api.listener:
        facts = NodeInfoSource(api.endpoint, "node-1", local_info(FakeNode(tmp_path).procfs), clock)
        facts()
        api.answer("503 Busy", {})
        facts.wait(20)
        clock.go(59)
        assert facts.wait(20).region == ""
        clock.go(1)
        facts()
        api.answer("200 OK", NODE)
        until(facts, "eu-1")
        clock.go(3_599)
        assert facts.wait(20).region == "eu-1"
        clock.go(1)
        facts()
        api.answer("200 OK", NODE | {"metadata": {"labels": {"topology.kubernetes.io/region": "eu-2"}}})
        until(facts, "eu-2")


def test_a_wall_clock_that_is_set_back_while_the_loop_waits_delays_no_look(tmp_path: Path) -> None:
    class SetBack(FakeClock):
        """Two hours back at the first wait."""

        waited = 0

        def wait(self, milliseconds: int) -> bool:
            self.waited += 1
            if self.waited == 1:
                self.wall -= 7_200_000
            return super().wait(milliseconds)

    clock = SetBack(START + 1)
    agent = Agent(FakeNode(tmp_path), clock)
    before_ms = clock.steady
    assert not _wait(clock, agent.collector, 5_000)
    assert clock.steady - before_ms == 4_000
