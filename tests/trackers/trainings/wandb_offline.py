"""A run of W&B in offline mode, and what is in its file afterwards."""

import json
import struct
import threading
import time
from pathlib import Path

import wandb
from waiting import Logged
from wandb.proto import wandb_internal_pb2

import carbonbudget as cb
import carbonbudget.wandb as of_wandb


def records(path: Path):
    """The records of a .wandb file: seven bytes, then LevelDB's log format in blocks of 32 KiB."""
    data, place, whole = path.read_bytes(), 7, b""
    while place + 7 <= len(data):
        if 32_768 - place % 32_768 < 7:
            place += 32_768 - place % 32_768
            continue
        _, length, kind = struct.unpack_from("<IHB", data, place)
        whole += data[place + 7 : place + 7 + length]
        place += 7 + length
        if kind in (1, 4):  # whole, or its last part
            yield wandb_internal_pb2.Record.FromString(whole)
            whole = b""


def key(item) -> str:
    return item.key or "/".join(item.nested_key)


run = wandb.init(project="p", mode="offline", dir=".", settings=wandb.Settings(x_disable_stats=True, console="off"))
of_wandb.follow()
logged = Logged(of_wandb.LOG, 4)
for epoch in range(2):
    with cb.track("epoch", step=epoch), cb.track("evaluate", step=10 + epoch):
        pass
# The training goes on in two parts of each row, with steps of its own, until the figures have come.
waiting, step = threading.Thread(target=logged.wait), 0
waiting.start()
while waiting.is_alive() or step < 3:
    run.log({"loss": step}, step=step)
    waiting.join(0.2)
    run.log({"accuracy": step}, step=step)
    step += 1
# Nothing more comes from the training: these have no row of its own to join.
for epoch in range(2, 5):
    with cb.track("epoch", step=epoch):
        pass
waited = cb.wait_results(60)
run.finish()
of_wandb.LOG.log_result(*logged.newest)  # a figure that comes too late
of_wandb.LOG.wait(20)
file = next(Path("wandb").glob("offline-run-*/run-*.wandb"))
until = time.monotonic() + 20
while True:  # it is whole a moment after finish
    found = {"history": [], "config": {}, "metrics": []}
    kinds = set()
    for record in records(file):
        kinds.add(record.WhichOneof("record_type"))
        if record.HasField("history"):
            found["history"].append({key(item): json.loads(item.value_json) for item in record.history.item})
        if record.HasField("metric"):
            found["metrics"].append([record.metric.name or record.metric.glob_name, record.metric.step_metric])
        for item in record.config.update if record.HasField("config") else ():
            found["config"][key(item)] = json.loads(item.value_json)
    if "exit" in kinds or time.monotonic() > until:
        break
    time.sleep(0.1)
print(json.dumps({**found, "complete": "exit" in kinds, "steps": step, "waited": waited}))
