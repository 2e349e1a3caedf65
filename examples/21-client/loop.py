"""A training in the standard library: a line is fitted to points. It needs nothing but carbonbudget-client."""

import random

import carbonbudget as cb


@cb.track("make points")
def points(count: int) -> list[tuple[float, float]]:
    """Points around y = 3 x + 1."""
    numbers = random.Random(0)
    return [(x := numbers.random(), 3 * x + 1 + numbers.gauss(0, 0.01)) for _ in range(count)]


def main() -> None:
    """Fit by gradient descent."""
    cb.init(run="line-fit")
    data = points(2_000)
    slope = offset = 0.0
    for epoch in cb.epochs(range(20)):
        for x, y in data:
            error = slope * x + offset - y
            slope -= 0.05 * error * x
            offset -= 0.05 * error
        cb.units(points=len(data))
        if epoch % 10 == 9:
            with cb.track("evaluate", step=epoch):
                loss = sum((slope * x + offset - y) ** 2 for x, y in data) / len(data)
    print(f"y = {slope:.1f} x + {offset:.1f}, loss {loss:.4f}")


if __name__ == "__main__":
    main()
