"""Serves model/ over HTTP. Each answer's prediction is on record; the header x-lineage-prediction-id names it.

    python code/serve.py 8000

lineage.toml says which ledger, which key signs, and which deployment this is.
"""

from __future__ import annotations

import sys

import joblib
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from lineage_ledger import Emitter
from lineage_ledger.middleware.asgi import LineageMiddleware

model = joblib.load("model/model.joblib")


async def predict(request: Request) -> JSONResponse:
    """{"features": [30 numbers]} -> {"benign": probability}."""
    try:
        features = [float(value) for value in (await request.json())["features"]]
        probability = float(model.predict_proba([features])[0, 1])
    except (ValueError, TypeError, KeyError) as error:
        return JSONResponse({"error": str(error)}, status_code=422)
    return JSONResponse({"benign": round(probability, 6)})


async def health(_: Request) -> JSONResponse:
    return JSONResponse({"status": "ready"})


server = Starlette(routes=[Route("/predict", predict, methods=["POST"]), Route("/health", health)])
app = LineageMiddleware(server, Emitter.from_settings().bind())

if __name__ == "__main__":
    uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[1]), log_level="warning")
