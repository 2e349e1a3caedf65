"""What tenants are told about missing units has no address, file or words of the store in it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from carbonbudget_operator.answers.told_reason import told_reason

HOST = "prometheus.monitoring.svc:9090"
LOG = "the server's log says why"


@pytest.mark.parametrize(
    ("reason", "told"),
    [
        (f"Prometheus does not answer: [Errno 111] Connect call failed ('10.0.0.7', 9090), {HOST}",
         f"Prometheus does not answer: {LOG}"),
        ("Prometheus does not answer within 30 s (units.timeout_seconds)", "Prometheus does not answer within 30 s"),
        (f"Prometheus answers 502: no upstream {HOST}", f"Prometheus answers 502: {LOG}"),
        ("Prometheus answers 401; check units.token_file or units.password_file, and what it may read",
         f"Prometheus answers 401: {LOG}"),
        (f"the answer is incomplete (store {HOST} is away): it is asked for again",
         "the answer is incomplete: it is asked for again"),
        ("/etc/prometheus/ca.crt has no CA certificates: put them into the Secret",
         f"Prometheus cannot be asked: {LOG}"),
        ("the token of https://prometheus/ is refused", f"Prometheus cannot be asked: {LOG}"),
        ("connect to fe80::1%eth0", f"Prometheus cannot be asked: {LOG}"),
    ],
)  # fmt: skip
def test_the_class_of_a_failure_is_told(reason: str, told: str) -> None:
    assert told_reason(reason) == told


@pytest.mark.parametrize(
    "reason",
    [
        "",
        "Prometheus has not been asked for these hours yet",
        "no Prometheus is configured to count them (units.url)",
        "the hour is older than units.give_up_days, after which Prometheus is not asked any more",
        "the pods of these hours are no longer stored, so their labels are not known (server.pod_days)",
        "Prometheus has samples of 12 of that hour's 60 minutes: it was away, or has forgotten the hour "
        "(units.scraped_query)",
        "the answer is longer than 1000 bytes: narrow the counter by matchLabels, scrape it more seldom, or raise "
        "units.max_response_bytes",
        "the metric is a native histogram, which has no counter: use another metric",
    ],
)
def test_what_a_tenant_can_use_is_told_as_it_is(reason: str) -> None:
    assert told_reason(reason) == reason


@given(
    st.sampled_from(["Prometheus does not answer: {}", "Prometheus answers 500: {}", "the answer is incomplete ({})",
                     "{} is away", "asked {}", "see ({})"]),
    st.sampled_from(["10.1.2.3", "10.1.2.3:9090", "http://prom", "https://prom.example.org/x", "prom:9090",
                     "prometheus.monitoring.svc", "[fd00::7]:9090", "/var/run/secrets/token"]),
)  # fmt: skip
def test_no_sentence_lets_an_address_through(sentence: str, place: str) -> None:
    assert place not in told_reason(sentence.format(place))
