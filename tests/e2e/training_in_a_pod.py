"""What the pod of test_tracked_training.py runs: three epochs of a fixed amount of work, each with a pause at its end.

It begins when the file /tmp/start is there, and prints what the kernel counted of its container in each part.
"""

import json
import sys
import time
from pathlib import Path

import carbonbudget as cb
from carbonbudget.cpu_counter import CpuCounter, counter_file


def work(rounds: int) -> None:
    """The same number of operations each time, however long they take."""
    number = 1
    for _ in range(rounds):
        number = (number * 1_103_515_245 + 12_345) & 0x7FFFFFFF


def say(**facts: object) -> None:
    """One line for who reads the log."""
    print(json.dumps(facts), flush=True)


def send() -> None:
    """Until the server has all spans so far."""
    while not cb.flush(5):
        time.sleep(0.2)
    say(sent=True)


def main(rounds: int) -> None:
    """Epochs of two, three and four times `rounds` operations."""
    kernel = CpuCounter(counter_file())

    def used_us() -> int:
        return kernel.read_us() or 0

    while not Path("/tmp/start").exists():
        time.sleep(0.1)
    for epoch in cb.epochs(range(3)):
        before_us = used_us()
        work((epoch + 2) * rounds)
        worked_us = used_us()
        with cb.track("pause", step=epoch):
            time.sleep(1.5)
        say(epoch=worked_us - before_us, pause=used_us() - worked_us)
        if epoch == 0:
            send()
    cb.units(samples=300)
    send()
    time.sleep(3600)  # the pod is asked from inside


if __name__ == "__main__":
    main(int(sys.argv[1]))
