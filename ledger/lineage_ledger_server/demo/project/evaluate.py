"""Evaluates model/ on data/test.csv, which it was not trained on, and writes evaluation.json."""

from __future__ import annotations

import json
from pathlib import Path

import joblib
import numpy as np
from sklearn.metrics import roc_auc_score


def main() -> None:
    model = joblib.load("model/model.joblib")
    rows = np.loadtxt("data/test.csv", delimiter=",", skiprows=1)
    features, targets = rows[:, :-1], rows[:, -1]
    metrics = {
        "accuracy": round(model.score(features, targets), 4),
        "roc_auc": round(float(roc_auc_score(targets, model.predict_proba(features)[:, 1])), 4),
        "rows": len(targets),
    }
    Path("evaluation.json").write_text(json.dumps(metrics, indent=2) + "\n")
    print(json.dumps(metrics))


if __name__ == "__main__":
    main()
