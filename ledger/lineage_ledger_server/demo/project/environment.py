"""Writes environment.txt: the Python, the platform and every installed distribution with its version."""

from __future__ import annotations

import platform
from importlib.metadata import distributions
from pathlib import Path


def main() -> None:
    installed = sorted({f"{found.name}=={found.version}" for found in distributions()}, key=str.lower)
    lines = [
        f"# {platform.python_implementation()} {platform.python_version()}",
        f"# {platform.platform()}",
        *installed,
    ]
    Path("environment.txt").write_text("\n".join(lines) + "\n")
    print(f"environment.txt: {len(installed)} distributions")


if __name__ == "__main__":
    main()
