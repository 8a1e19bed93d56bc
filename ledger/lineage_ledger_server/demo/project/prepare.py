"""Writes the dataset, split in two: data/train.csv and data/test.csv.

It is the Wisconsin diagnostic breast cancer dataset that scikit-learn ships: 569 tumours, 30 measurements each, and
whether the tumour was benign.
"""

from __future__ import annotations

import csv
from pathlib import Path

from sklearn.datasets import load_breast_cancer
from sklearn.model_selection import train_test_split

SEED = 20_260_301


def main() -> None:
    data = load_breast_cancer()
    header = [*(name.replace(" ", "_") for name in data.feature_names), "benign"]
    rows = [[*measurements, target] for measurements, target in zip(data.data.tolist(), data.target.tolist())]
    train, test = train_test_split(rows, test_size=0.25, random_state=SEED, stratify=data.target)
    Path("data").mkdir(exist_ok=True)
    for name, part in (("train", train), ("test", test)):
        with Path("data", f"{name}.csv").open("w", newline="") as file:
            csv.writer(file).writerows([header, *part])
        print(f"data/{name}.csv: {len(part)} rows")


if __name__ == "__main__":
    main()
