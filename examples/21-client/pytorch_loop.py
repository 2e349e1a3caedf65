"""A PyTorch training with a span for each epoch, and one for each evaluation. Not run in the tests: no PyTorch there.

Start it by `torchrun --nproc-per-node 8 pytorch_loop.py`, too: only local rank 0 records.
"""

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import carbonbudget as cb


def main() -> None:
    """Train a classifier of random numbers."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    inputs = torch.randn(20_000, 64)
    loader = DataLoader(TensorDataset(inputs, (inputs.sum(dim=1) > 0).long()), batch_size=256, shuffle=True)
    model = nn.Sequential(nn.Linear(64, 256), nn.ReLU(), nn.Linear(256, 2)).to(device)
    optimizer = torch.optim.Adam(model.parameters())
    for epoch in cb.epochs(range(10)):
        for batch, labels in loader:
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(batch.to(device)), labels.to(device)).backward()
            optimizer.step()
        if device == "cuda":
            torch.cuda.synchronize()  # else work that is queued on the GPU falls into the next span
        cb.units(samples=len(inputs))
        with cb.track("evaluate", step=epoch), torch.no_grad():
            model(inputs[:1_000].to(device)).argmax(dim=1).cpu()


if __name__ == "__main__":
    main()
