"""Trains the model on data/train.csv and writes it to model/."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import joblib
import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--regularization", type=float, default=0.5)
    parser.add_argument("--max-iterations", type=int, default=1_000)
    arguments = parser.parse_args()

    rows = np.loadtxt("data/train.csv", delimiter=",", skiprows=1)
    features, targets = rows[:, :-1], rows[:, -1]
    classifier = LogisticRegression(C=arguments.regularization, max_iter=arguments.max_iterations)
    model = make_pipeline(StandardScaler(), classifier)
    model.fit(features, targets)

    Path("model").mkdir(exist_ok=True)
    joblib.dump(model, "model/model.joblib")
    signature = {"features": features.shape[1], "answer": "benign"}
    Path("model/signature.json").write_text(json.dumps(signature, indent=2) + "\n")
    print(f"trained on {len(targets)} rows; accuracy on them {model.score(features, targets):.4f}")


if __name__ == "__main__":
    main()
