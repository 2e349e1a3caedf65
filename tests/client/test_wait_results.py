"""Waiting for results at the end of a training: `wait_results`, and what the exit itself waits for."""

from __future__ import annotations

from tests.client.trainings import ContractServer, train

SOON = """
import carbonbudget as cb, sys, threading, time
from carbonbudget import result_polling
result_polling._AGAIN_S = 60
result_polling._SOON_S = result_polling._AGAIN_WAITING_S = 0.2
from carbonbudget.tracker_log import TrackerLog
def write(run, span, result):
    time.sleep(0.3)
    print("written", span.name, flush=True)
"""


def run(code: str, server: ContractServer, **variables: str) -> tuple[str, str]:
    ended = train(SOON + code, **server.variables, **variables)
    assert ended.code == 0
    return ended.output, ended.errors


def test_it_waits_until_every_span_has_a_result_and_the_listeners_have_heard_of_it(server: ContractServer) -> None:
    output, errors = run(
        """
heard = []
cb.add_listener(lambda span, result: (time.sleep(0.2), heard.append(span.step)))
for epoch in cb.epochs(range(3)): pass
start = time.monotonic()
print(cb.wait_results(60), heard, time.monotonic() - start < 30)
""",
        server,
    )
    assert output == "True [0, 1, 2] True\n", errors


def test_it_waits_until_a_slow_tracker_has_taken_the_figures(server: ContractServer) -> None:
    output, errors = run(
        """
TrackerLog("T", lambda: "run", write).follow()
for step in range(2):
    with cb.track("epoch", step): pass
print(cb.wait_results(60))
""",
        server,
    )
    assert output == "written epoch\nwritten epoch\nTrue\n", errors


def test_it_gives_up_in_time_where_no_result_comes(server: ContractServer) -> None:
    server.set(until=False)
    code = """
cb.add_listener(print)
with cb.track("epoch"): pass
start, cpu = time.monotonic(), time.process_time()
print(cb.wait_results(2), 1.9 < time.monotonic() - start < 5, time.process_time() - cpu < 1)
"""
    assert run(code, server)[0] == "False True True\n"
    server.set(mode="500")
    assert run(code, server)[0] == "False True True\n"


def test_it_returns_at_once_where_nobody_wants_a_result(server: ContractServer) -> None:
    code = """
with cb.track("epoch"): pass
start = time.monotonic()
print(cb.wait_results(60), time.monotonic() - start < 10)
"""
    assert run(code, server)[0] == "True True\n"
    assert run(code, server, LOCAL_RANK="1")[0] == "True True\n"


def test_it_does_not_wait_for_itself_in_a_listener(server: ContractServer) -> None:
    output, errors = run(
        """
cb.add_listener(lambda span, result: print(cb.wait_results(60)))
for step in range(2):
    with cb.track("epoch", step): pass
start = time.monotonic()
print(cb.wait_results(60), time.monotonic() - start < 30)
""",
        server,
    )
    assert output == "True\nTrue\nTrue True\n", errors


def test_figures_that_have_arrived_reach_the_tracker_before_the_process_ends(server: ContractServer) -> None:
    output, errors = run(
        """
TrackerLog("T", lambda: "run", write).follow()
with cb.track("epoch") as span: pass
span.result(wait=20)
""",
        server,
    )
    assert output == "written epoch\n", errors


def test_a_tracker_that_hangs_and_a_server_that_hangs_share_the_two_seconds_of_the_exit(
    server: ContractServer,
) -> None:
    output, errors = run(
        f"""
import atexit, urllib.request as u
log = TrackerLog("T", lambda: "run", lambda *_: threading.Event().wait())
log.follow()
with cb.track("epoch") as span: pass
span.result(wait=20)
u.urlopen(u.Request("http://127.0.0.1:{server.port}/control", data=b'{{"mode":"slow"}}', method="PUT")).read()
with cb.track("last"): pass
start = time.monotonic()
def ended():
    cb.SESSION.at_exit()
    print(log.wait(0), time.monotonic() - start < 2.5)
atexit.register(ended)
""",
        server,
    )
    assert output == "False True\n", errors
