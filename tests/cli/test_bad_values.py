"""Every command with values and options that cannot be right: it ends with a sentence, and nothing is half done."""

from __future__ import annotations

import pytest
from tests.cli.api_server import Asked, Said, api_server
from tests.cli.bad_world import DAYS, SERVERS, Run, World, assert_refused
from tests.cli.bad_world import run as run
from tests.cli.bad_world import world as world

BAD_VALUES = {
    "allocate": [
        ["allocate"], ["allocate", "--from", "2025-01-01"], ["allocate", "--from", "x", "--to", "2025-01-02"],
        ["allocate", "--from", "2025-01-02", "--to", "2025-01-01"], ["allocate", "--from", "", "--to", ""],
        ["allocate", "--from", "2025-13-01", "--to", "2026-01-01"],
        ["allocate", "--from", "0001-01-01T00:00:00+14:00", "--to", "2026-01-01"],
        ["allocate", "--from", "1960-01-01", "--to", "1961-01-01"],
        ["allocate", "--from", "-1", "--to", "2026-01-01"],
        ["allocate", *DAYS, "--group-by", "ns"], ["allocate", *DAYS, "--group-by", "label:"],
        ["allocate", *DAYS, "--filter", "namespace"], ["allocate", *DAYS, "--filter", "namespace="],
        ["allocate", *DAYS, "--filter", "workload=train-a"], ["allocate", *DAYS, "--filter", "namespace=a,namespace=b"],
        ["allocate", *DAYS, "--idle", "nobody"], ["allocate", *DAYS, "--overhead", "nobody"],
        ["allocate", *DAYS, "--shared", "kube-system"], ["allocate", *DAYS, "--shared", "kube-system=a:-1"],
        ["allocate", *DAYS, "--shared", "a=b:x"], ["allocate", *DAYS, "-o", "xml"],
        ["allocate", *DAYS, "--server-url", "http://127.0.0.1:1", "--idle", "even"],
    ],
    "export": [
        ["export", "--format", "csv"], ["export", "--format", "xml", "--window", "7d"],
        ["export", "--format", "csv", "--window", "x"], ["export", "--format", "csv", "--window", "7d", *DAYS],
        ["export", "--format", "csv", "--from", "2025-01-02", "--to", "2025-01-01"],
        ["export", "--format", "csv", "--from", "2025-01-01"], ["export", "--format", "csv", *DAYS, "--by", "pod"],
        ["export", "--format", "focus", *DAYS, "--currency", "euro"],
        ["export", "--format", "csv", *DAYS, "--step", "x"],
        ["export", "--format", "csv", *DAYS, "--output-file", "{none}/x/file"],
        ["export", "--format", "csv", *DAYS, "--output-file", "{text}"],
    ],
    "report": [
        ["report"], ["report", "--period", "soon"], ["report", "--period", "2025", "--from", "2025-01-01"],
        ["report", "--from", "2025-01-01"], ["report", "--to", "2025-01-01"], ["report", "--period", "2025-W60"],
        ["report", "--from", "2025-01-02", "--to", "2025-01-01"], ["report", "--period", "2025", "-o", "xml"],
        ["report", "close"], ["report", "close", "soon"], ["report", "close", "2099"], ["report", "show", "2025"],
        ["report", "show", "2025-00"], ["report", "verify", "2025-02-30"], ["report", "verify", "2025"],
        ["report", "export", "2025"], ["report", "export", "soon", "{new}"], ["report", "export", "2025", "{new}"],
        ["report", "reopen", "2025"], ["report", "reopen", "2025", "--reason", " "], ["report", "frobnicate"],
        ["report", "reopen", "2025", "--reason", "x" * 501], ["report", "reopen", "2025", "--reason", "why"],
        ["report", "close", "2025"], ["report", "--config", "{config}", "close", "2025"],
        ["report", "--ledger", "sqlite:///{ledger}", "show", "2025"], ["report", "--period", "2025", "list"],
    ],
    "when": [
        ["when"], ["when", "-f", "{job}"], ["when", "-f", "{job}", "--finish-by", "soon"],
        ["when", "-f", "{job}", "--finish-by", "2020-01-01"], ["when", "-f", "{job}", "--finish-by", "9999-01-01"],
        ["when", "-f", "{job}", "--finish-by", "2999-01-01", "--duration", "long"],
        ["when", "-f", "{job}", "--finish-by", "2999-01-01", "-n", "No/Name"],
        ["when", "-f", "{job}", "--finish-by", "2999-01-01", "--ledger", "sqlite:///{ledger}"],
        ["when", "-f", "{text}", "--finish-by", "2999-01-01"], ["when", "-f", "{none}", "--finish-by", "2999-01-01"],
        ["when", "-f", "{job}", "--finish-by", "2999-01-01", "-o", "xml"],
        ["when", "-f", "{job}", "--finish-by", "2999-01-01", "--duration", "0s"],
        *(["when", "-f", name, "--finish-by", "2999-01-01"] for name in (
            "", "\0", "/dev/zero", "{binary}", "{unreadable}", "{directory}")),
    ],
    "gate": [
        ["gate"], ["gate", "--target", ""], ["gate", "--target", "a/b", "--timeout", "0"],
        *(["gate", "-n", "team-a", "--run", run, "--max", "5kg"] for run in ("", "/", "\u202e", "\n")),
        *(["gate", "-n", "team-a", "--run", "a", "--max", most] for most in (
            "", "5", "nan", "-1kg", "1e999kg", "9" * 5000 + "kg", "\u0665kg", "5kg\n")),
        *(["gate", "-n", name, "--run", "a", "--max", "5kg"] for name in ("", "No/Name", "a" * 64, "{{}}", "%s")),
        *(["gate", "-n", "a", "--model", "m", "--version", "1", "--against", old, "--max-increase", by] for old, by in (
            ("1", "5"), ("2", "9" * 5000), ("2", "1e9"), ("2", "nan"), ("2", ""), ("", "5"), ("/", "5"))),
        *(["gate", "-n", "a", "--run", "a", "--max", "5kg", "--from", start] for start in (
            "soon", "2999-01-01", "1960-01-01", "2026-02-30", "0001-01-01T00:00:00+14:00")),
        *(["gate", "--target", name] for name in ("a/", "/a", "a/b/c", "A/b", "a/B", "n.s/b", "a" * 254, "a\n")),
        ["gate", "-n", "a", "--run", "a", "--max", "5kg", "-o", "csv"],
        ["gate", "-n", "a", "--run", "a", "--max", "5kg", "--stage", "lunch"],
        ["gate", "-n", "a", "--run", "a", "--max", "5kg", "--service-account", "x"],
    ],
    "card": [
        ["card"], ["card", "-n", "No/Name", "--model", "m"], ["card", "-n", "a", "--model", "/"],
        ["card", "-n", "a", "--model", "m", "--version", "/"], ["card", "-n", "a", "--model", "m", "--from", "x"],
        ["card", "-n", "a", "--model", "m", "--from", "2025-01-02", "--to", "2025-01-01"],
        *(["card", "-n", "a", "--model", "m", "--consumer-units", units] for units in ("x", "0 token", "nan token")),
        ["card", "-n", "a", "--model", "m", "--format", "pdf"],
        ["card", "-n", "a", "--model", "m", "--unlabelled-stage", "lunch"],
    ],
    "usage": [
        ["usage"], ["usage", "-n", "No/Name", *DAYS], ["usage", "-n", "a", "--from", "x", "--to", "2025-01-01"],
        ["usage", "-n", "a", "--from", "2025-01-02", "--to", "2025-01-01"], ["usage", "-n", "a", *DAYS, "-o", "xml"],
    ],
    "estimate": [
        ["estimate"], ["estimate", "--hours", "-1", "--gpu", "A100"], ["estimate", "--hours", "x", "--gpu", "A100"],
        ["estimate", "--hours", "nan", "--gpu", "A100"], ["estimate", "--hours", "1"],
        ["estimate", "--hours", "1", "--gpu", "A100", "--region", "mars-1"],
        ["estimate", "--hours", "1", "--gpu", "A100", "--zone", "mars-1"], ["estimate", "--hours", "1", "--gpu", "Z80"],
        ["estimate", "--hours", "1", "--gpu", "A100", "--count", "-1"],
        ["estimate", "--hours", "1", "--cpu-cores", "-1"], ["estimate", "--hours", "1", "--gpu", "A100", "--pue", "0"],
        ["estimate", "--hours", "1", "--gpu", "A100", "--basis", "guess"],
        ["estimate", "--hours", "1", "--gpu", "A100", "--usage", "101"],
        ["estimate", "--hours", "1", "--gpu", "A100", "-o", "xml"],
        ["estimate", "--hours", "1e-9", "--gpu", "A100", "--zone", "DE"],
        ["estimate", "--hours", "1", "--gpu", "A100", "--pue", "nan"],
    ],
    "release": [
        ["release"], ["release", "--all", "-n", "a"], ["release", "--budget", "b"],
        ["release", "--all", "--budget", "b"],
        ["release", "--all", "--stop-controller", "x"], ["release", "--all", "--timeout", "0"], ["release", "--all"],
        ["release", "-n", "No/Name"], ["release", "--all", "--kueue", "v9/../x"],
    ],
    "check": [
        ["check"], ["check", "-f", "{none}"], ["check", "-f", "{binary}"], ["check", "-f", "{yaml}"],
        ["check", "-f", "{unreadable}"], ["check", "-f", "/dev/zero"], ["check", "-f", "\0"],
        ["check", "-f", "{scalar}"], ["check", "-f", "{directory}"], ["check", "-f", "{list}"],
        ["check", "-f", "{job}", "-o", "csv"], ["check", "-f", "{job}", "--timeout", "-5"], ["check", "-f", ""],
        ["check", "-f", "{job}", "-n", "No/Name", "--kubeconfig", "{none}"],
    ],
    "servers": [
        [one, *more] for one in SERVERS for more in (
            ["--log-level", "loud"], ["--listen", "nowhere"], ["--listen", "127.0.0.1:99999"], ["--listen", ":1"],
            ["--listen", "127.0.0.1:²"], ["--listen", "127.0.0.1:" + "9" * 5_000],
            [], ["--config", "{config}"],
        )
    ] + [
        [one, "--tls-cert", cert, "--tls-key", key] for one in ("server", "admission")
        for cert, key in (("{none}", "{none}"), ("{text}", "{text}"), ("{directory}", "{text}"))
    ],
    "ledger": [
        ["ledger"], ["ledger", "backup"], ["ledger", "restore"], ["ledger", "import"], ["ledger", "frobnicate"],
        ["ledger", "restore", "{none}", "--ledger", "sqlite:///{new}"],
        ["ledger", "restore", "{text}", "--ledger", "sqlite:///{new}"],
        ["ledger", "restore", "{directory}", "--ledger", "sqlite:///{new}"],
        ["ledger", "import", "{none}", "--ledger", "sqlite:///{ledger}"],
        ["ledger", "import", "{directory}", "--ledger", "sqlite:///{ledger}"],
        ["ledger", "import", "{unreadable}", "--ledger", "sqlite:///{ledger}"],
        ["ledger", "restore", "{unreadable}", "--ledger", "sqlite:///{new}"],
    ],
    "settings": [
        ["settings"], ["settings", "check"], ["settings", "check", "{unreadable}"],
        ["settings", "check", "{none}"], ["settings", "check", ""],
        ["settings", "check", "/dev/zero"],
    ],
}  # fmt: skip
ROWS = [args for rows in BAD_VALUES.values() for args in rows]
HELP = (["ledger"], ["settings"])  # a group by itself prints its help, with exit code 2


@pytest.mark.parametrize("args", [row for row in ROWS if row not in HELP], ids=lambda args: " ".join(args)[:100])
def test_a_value_that_cannot_be_right(run: Run, world: World, args: list[str]) -> None:
    before = world.snapshot()
    reads = args[0] in ("allocate", "export", "report", "factors", "card", "usage") and "--server-url" not in args
    done = run([*args, "--ledger", "sqlite:///{ledger}"] if reads else args)
    assert_refused(done)
    assert world.snapshot() == before


PLUGIN_ROWS = [
    ["budgets", "-A", "-n", "a"], ["top", "-A", "-n", "a"], ["explain"], ["explain", "b", "--cluster", "-n", "a"],
    ["budgets", "-o", "csv"], ["budgets", "--timeout", "0"], ["budgets", "-n", "No/Name"], ["top", "-n", "No/Name"],
    ["top", "-o", "csv"], ["top", "--window", "7d"], ["top", "--by", "pod"], ["top", "--by", "run", "-A", "-n", "a"],
    ["top", "--by", "run", "--accounting", "LocationBased"], ["top", "--by", "model", "-n", "No/Name"],
    ["top", "--by", "model", "--service-account", "x"], ["top", "--by", "model", "--server-namespace", "No/Name"],
    ["explain", "No/Name", "-n", "a"], ["frobnicate"], ["transfer"], ["transfer", "5kg", "--from", "a"],
    *[
        ["transfer", amount, "--from", "a", "--to", "b/b"]
        for amount in ("5", "5 kg", "-5kg", "0kg", "0.0001mg", "1e9kg", "", "5kg\n")
    ],
    *[["transfer", "5kg", "--from", "a", "--to", to] for to in ("", "/", "b/", "/b", "a/b/c", "B/b", "b/B", "n.s/b")],
    *[["transfer", "5kg", "--from", source, "--to", "b/b"] for source in ("", "A", "a/b", "a b", "x" * 254)],
    *[["transfer", "5kg", "--from", "a", "--to", to, "-n", "x"] for to in ("a", "x/a")],
    *[["transfer", "5kg", "--from", "a", "--to", "b/b", "--wait", wait] for wait in ("", "2", "-1s", "2h", "soon")],
    *[["transfer", "5kg", "--from", "a", "--to", "b/b", "--reason", why] for why in ("a\nb", "x" * 129, "\u202e")],
    ["transfer", "5kg", "--from", "a", "--to", "b/b", "-n", "No/Name"],
]  # fmt: skip


@pytest.mark.parametrize("args", PLUGIN_ROWS, ids=" ".join)
def test_a_value_of_the_plugin_that_cannot_be_right(run: Run, world: World, args: list[str]) -> None:
    def answer(asked: Asked) -> Said:
        return Said({"items": [], "metadata": {}})

    with api_server(answer, world.directory):
        more = [] if args[0] == "frobnicate" else ["--kubeconfig", "{kubeconfig}"]
        assert_refused(run([*args, *more], "kubectl carbon"))
