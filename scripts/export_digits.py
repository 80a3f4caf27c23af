"""`python scripts/export_digits.py`: make the ONNX files of tests/data/torch, as a team that uses PyTorch exports them.

Needs torch and onnxscript, which the project does not have. Trains a small convolutional network on
half of scikit-learn's digits and on all of them, exports each with `torch.onnx.export`, and writes what PyTorch itself
answers for the first rows. Training is seeded, so the same versions of the libraries write the same answers.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import onnx
import torch
from sklearn.datasets import load_digits
from torch import nn

TARGET = Path(__file__).parents[1] / "tests" / "data" / "torch"
# Rows of which the answers are kept.
ROWS = 100
PARTS = {"half": 2, "all": 1}


def network() -> nn.Sequential:
    """Two convolutions and a dense layer: images of shape (rows, 1, 8, 8) to the probabilities of ten digits."""
    return nn.Sequential(
        nn.Conv2d(1, 8, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(8, 16, 3, padding=1),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(16 * 4 * 4, 10),
        nn.Softmax(dim=1),
    )


def forget_folders(path: Path) -> None:
    """Cut this machine's folders from the stack traces that PyTorch writes into a file."""
    model = onnx.load(path)
    for node in model.graph.node:
        for entry in node.metadata_props:
            entry.value = entry.value.replace(sys.prefix, "").replace(str(Path(__file__).parent), "")
    onnx.save(model, path)


def main() -> None:
    """Write the files."""
    TARGET.mkdir(parents=True, exist_ok=True)
    digits = load_digits()
    images = torch.tensor(digits.images[:, None] / 16, dtype=torch.float32)
    targets = torch.tensor(digits.target)
    for name, share in PARTS.items():
        torch.manual_seed(0)
        model = network()
        optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
        rows = len(images) // share
        for _ in range(60):
            optimizer.zero_grad()
            loss = nn.functional.nll_loss(torch.log(model(images[:rows])), targets[:rows])
            loss.backward()
            optimizer.step()
        model.eval()
        torch.onnx.export(
            model,
            (images[:2],),
            TARGET / f"{name}.onnx",
            input_names=["image"],
            output_names=["probabilities"],
            dynamic_shapes=({0: torch.export.Dim("rows")},),
            dynamo=True,
            external_data=False,
        )
        forget_folders(TARGET / f"{name}.onnx")
        with torch.no_grad():
            answers = model(images[:ROWS]).numpy()
            right = (model(images).argmax(dim=1) == targets).double().mean().item()
        np.savez(TARGET / f"{name}.npz", probabilities=answers)
        print(f"{name}: {rows} images, accuracy over all {right:.3f}")


if __name__ == "__main__":
    main()
