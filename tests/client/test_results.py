"""Results of spans and predictions, as they arrive from the server."""

from __future__ import annotations

import math
import re
import time
from types import SimpleNamespace

import pytest
from tests.client.trainings import ContractServer, train

from carbonbudget import Result, prediction_text, result_polling
from carbonbudget.result_polling import ResultPolling


def test_a_result_that_is_waited_for_arrives_with_all_its_figures(server: ContractServer) -> None:
    ended = train(
        """
        import carbonbudget as cb
        with cb.track("epoch") as span:
            print(span.result(wait=9))
        print(span.result())
        result = span.result(wait=20)
        print(result.energy_j, result.co2e_g == result.energy_j, result.measured_percent, result.resolution)
        print(result.state)
        print(span.result() == result)
        """,
        **server.variables,
    )
    assert re.fullmatch(r"None\nNone\n[\d.]+ True 93.0 weighted\nprovisional\nTrue\n", ended.output), (
        ended.output + ended.errors
    )


def test_waiting_is_bounded_where_no_result_comes(server: ContractServer) -> None:
    server.set(until=False)
    code = """
        import carbonbudget as cb, time
        with cb.track("epoch") as span: pass
        start = time.monotonic()
        print(span.result(wait=1.5), time.monotonic() - start < 4)
        """
    assert train(code, **server.variables).output == "None True\n"
    server.set(mode="500")
    assert train(code, **server.variables).output == "None True\n"
    assert train(code).output == "None True\n"


def test_a_listener_that_ends_its_thread_ends_not_ours(server: ContractServer) -> None:
    ended = train(
        """
        import carbonbudget as cb, sys
        from carbonbudget import result_polling
        result_polling._SOON_S = result_polling._AGAIN_WAITING_S = 0.1
        cb.add_listener(lambda span, result: sys.exit(3))
        with cb.track("a") as span: pass
        print(span.result(wait=20) is not None)
        with cb.track("b"): pass
        print(cb.flush(5))
        """,
        **server.variables,
    )
    assert (ended.code, ended.output) == (0, "True\nTrue\n")
    assert "SystemExit: 3" in ended.errors


class Displaced:
    """Another thread wants 1,000 other spans while the result of this one arrives: it is forgotten."""

    id, name, end_ms = "displaced", "displaced", 1

    def __init__(self, polling: ResultPolling) -> None:
        self._polling, self._result = polling, None

    @property
    def known_result(self) -> Result | None:
        return self._result

    @known_result.setter
    def known_result(self, result: Result) -> None:
        self._result = result
        for number in range(1_000):
            self._polling.want(SimpleNamespace(id=str(number), name="displaced", known_result=None, end_ms=2**62))


def test_a_span_that_two_threads_forget_and_want_is_not_asked_for_forever(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("_SOON_S", "_AGAIN_PROVISIONAL_S"):
        monkeypatch.setattr(result_polling, name, 0)
    polling, asked = ResultPolling(), []

    def ask(query: str) -> dict[str, object]:
        asked.append(query)
        return {"spans": [{"id": "displaced", "energy_uj": 1}]}

    polling.want(Displaced(polling), soon=True)
    for _ in range(4):
        polling.poll(ask)
    assert len(asked) <= 2
    assert polling.next_due_s() > time.monotonic()


def test_listeners_are_called_from_the_thread_once_provisional_and_once_final(server: ContractServer) -> None:
    ended = train(
        f"""
        import carbonbudget as cb, threading, time, urllib.request as u
        from carbonbudget import result_polling
        result_polling._AGAIN_S = result_polling._AGAIN_PROVISIONAL_S = 0.2
        heard = []
        def broken(span, result): raise ValueError("of the listener")
        def listener(span, result):
            heard.append((span.name, result.state, threading.current_thread().name, span.result(wait=60) is result))
        cb.add_listener(broken)
        cb.add_listener(listener)
        cb.add_listener(listener)
        with cb.track("epoch"): pass
        cb.flush(5)
        def until(count):
            start = time.monotonic()
            while len(heard) < count and time.monotonic() - start < 10: time.sleep(0.02)
        until(1)
        u.urlopen(u.Request("http://127.0.0.1:{server.port}/control", data=b'{{"state":"final"}}', method="PUT")).read()
        until(2)
        time.sleep(0.5)
        print(heard)
        """,
        **server.variables,
    )
    assert ended.output == (
        "[('epoch', 'provisional', 'carbonbudget', True), ('epoch', 'final', 'carbonbudget', True)]\n"
    ), ended.errors
    assert ended.errors == "carbonbudget: a listener failed and is skipped: ValueError: of the listener\n"


def test_nobody_asks_for_results_that_nobody_wants(server: ContractServer) -> None:
    train(**server.variables)
    assert not [request for request in server.seen()["requests"] if request["method"] == "GET"]


AT_ONCE = "from carbonbudget import server_delivery\nserver_delivery._PROGRESS_EVERY_S = 0"
EPOCHS = """
    import carbonbudget as cb, time
    for epoch in cb.epochs(range(6)):
        time.sleep(0.02)
        if epoch > 2: cb.flush(5)
    """


def test_epochs_report_progress_and_show_the_servers_prediction_once(server: ContractServer) -> None:
    kwh = 3_600_000_000_000
    prediction = {"energy_uj": 31 * kwh // 10, "low_uj": 3 * kwh, "high_uj": 4 * kwh, "emissions_ug": 1_200_000_000}
    server.set(prediction=prediction | {"low_ug": 900_000_000, "high_ug": 1_600_000_000, "ends_at_ms": 0})
    code = "from carbonbudget import server_delivery\nserver_delivery._PROGRESS_EVERY_S = 0\n" + EPOCHS.replace(
        "\n    ", "\n"
    )
    ended = train(code, **server.variables)
    assert re.fullmatch(
        r"carbonbudget: about 3\.1 kWh, 1\.2 kg CO2e by the end \(0\.90 to 1\.6 kg\) \(epoch \d of 6\)\n", ended.errors
    ), ended.errors
    progress = server.seen()["progress"]
    assert progress[-1] | {"at_ms": 0} == {"done": 6, "total": 6, "unit": "epoch", "at_ms": 0}
    assert [span["step"] for span in server.spans()] == list(range(6))


def test_without_a_servers_prediction_the_mean_of_the_epochs_is_taken(server: ContractServer) -> None:
    code = f"{AT_ONCE}\nfrom carbonbudget import result_polling\nresult_polling._AGAIN_S = 0\n"
    code += EPOCHS.replace("\n    ", "\n")
    ended = train(code, **server.variables)
    assert re.fullmatch(
        r"carbonbudget: about [\d.]+ Wh, [\d.]+ g CO2e by the end \([\d.]+ to [\d.]+ g\), by the mean of \d so far "
        r"\(epoch \d of 6\)\n",
        ended.errors,
    ), ended.errors


def test_epochs_of_a_resumed_training_go_on_with_their_numbers_and_their_progress(server: ContractServer) -> None:
    ended = train(
        """
        import carbonbudget as cb
        from carbonbudget import server_delivery
        def run(*args, **kwargs):
            print(len(list(cb.epochs(*args, **kwargs))))
            cb.flush(5)
        server_delivery._PROGRESS_EVERY_S = 0
        run(range(5, 8))
        run("ab", start=3, name="pass")
        run(iter("ab"), 9, start=4, name="of nine")
        run(range(4, 8, 2), name="twos")
        run(range(5, 7), start=0, name="anew")
        run(range(-2, 0), name="below zero")
        run("a", start="three", name="no number")
        run(range(1, 4), name="from one")
        run(range(5, 7), 2, name="own total")
        """,
        **server.variables,
    )
    assert ended.output == "3\n2\n2\n2\n2\n2\n1\n3\n2\n", ended.errors
    steps: dict[str, list[int]] = {}
    for span in server.spans():
        steps.setdefault(span["name"], []).append(span["step"])
    assert steps == {
        "epoch": [5, 6, 7], "pass": [3, 4], "of nine": [4, 5], "twos": [0, 1], "anew": [0, 1], "below zero": [0, 1],
        "no number": [0], "from one": [1, 2, 3], "own total": [5, 6],
    }  # fmt: skip
    newest = {line["unit"]: (line["done"], line["total"]) for line in server.seen()["progress"]}
    assert newest == {
        "epoch": (8, 8), "pass": (5, 5), "of nine": (6, 9), "twos": (2, 2), "anew": (2, 2), "below zero": (2, 2),
        "no number": (1, 1), "from one": (3, 3), "own total": (2, 2),
    }  # fmt: skip


def test_a_loop_inside_an_epoch_reports_no_progress_of_its_own(server: ContractServer) -> None:
    train(
        """
        import carbonbudget as cb
        for epoch in cb.epochs(range(3)):
            for fold in cb.epochs(range(5), name="fold"): pass
        """,
        **server.variables,
    )
    assert {(line["unit"], line["total"]) for line in server.seen()["progress"]} == {("epoch", 3)}
    assert len(server.spans()) == 3 + 15


def test_epochs_of_a_loop_that_breaks_or_fails_end_their_span(server: ContractServer) -> None:
    ended = train(
        """
        import carbonbudget as cb
        for epoch in cb.epochs(range(5), name="pass"):
            if epoch == 1: break
        print(cb.current_spans())
        try:
            for epoch in cb.epochs(iter([1, 2]), total=9): raise KeyError
        except KeyError: pass
        def loader():
            yield 1
            raise OSError("of the loader")
        try:
            list(cb.epochs(loader()))
        except OSError as error: print(error)
        print(cb.current_spans())
        class Odd:
            def __iter__(self): return iter("ab")
            def __len__(self): raise TypeError
        print(list(cb.epochs(Odd())), list(cb.epochs([])), list(cb.epochs("ab", total="many")))
        """,
        **server.variables,
    )
    assert ended.output == "()\nof the loader\n()\n['a', 'b'] [] ['a', 'b']\n", ended.errors
    assert [(span["name"], span["step"]) for span in server.spans()][:3] == [("pass", 0), ("pass", 1), ("epoch", 0)]


def test_offline_only_the_time_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    text = prediction_text.of_time(700, 8, "epoch")
    assert text == "about 12 min to the end (8 epochs left); energy and CO2e are known once the server has the spans"


def test_figures_have_two_digits_and_their_unit() -> None:
    assert prediction_text.sentence(3.1 * 3.6e6, 1_200, 900, 1_600) == (
        "about 3.1 kWh, 1.2 kg CO2e by the end (0.90 to 1.6 kg)"
    )
    assert prediction_text.sentence(3_600 * 42, 17, 16, 18.4) == "about 42 Wh, 17 g CO2e by the end (16 to 18 g)"
    assert prediction_text.sentence(15, 0.002, 0.0019, 0.1) == (
        "about 0.0042 Wh, 0.0020 g CO2e by the end (0.0019 to 0.10 g)"
    )
    assert prediction_text.sentence(0, 0, 0, 0) == "about 0 Wh, 0 g CO2e by the end (0 to 0 g)"
    assert prediction_text.sentence(3_600, None, None, None) == "about 1.0 Wh by the end"


def test_a_mean_contains_the_spans_inside_and_is_none_without_results() -> None:
    answer = {"energy_uj": 10**6, "inclusive_energy_uj": 3_600 * 10**6, "emissions_ug": 10**6}
    assert (
        prediction_text.of_results([Result(answer)], 5)
        == "about 5.0 Wh, 5.0 g CO2e by the end, by the mean of 1 so far"
    )
    assert prediction_text.of_results([], 5) is None


@pytest.mark.parametrize("value", [None, "12", True, [], {}])
def test_a_figure_that_is_no_number_is_not_known(value: object) -> None:
    result = Result({"energy_uj": 5, "emissions_ug": value, "state": value, "resolution": value})
    assert (result.co2e_g, result.state) == (None, "provisional")
    assert math.isclose(result.energy_j, 5e-6)
    assert "energy_j=5e-06" in repr(result)
    assert prediction_text.of_server({"energy_uj": value}) is None
