"""The TOML file of settings, lineage.toml, which the command and emitters share."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any, Final

from lineage_ledger.errors import SettingsError

MAX_FILE_BYTES: Final = 1 << 20


def read_settings_file(path: Path) -> dict[str, Any]:
    """What is in the file. Raises `SettingsError`, which shows nothing of its content: it may hold a token."""
    try:
        with path.open("rb") as file:
            content = file.read(MAX_FILE_BYTES + 1)
        if len(content) > MAX_FILE_BYTES:
            raise SettingsError(f"{path}: a settings file has at most {MAX_FILE_BYTES:,} bytes")
        return tomllib.loads(content.decode())
    except OSError as error:
        raise SettingsError(f"cannot read the settings in {path}: {error.strerror}") from error
    except UnicodeDecodeError:
        raise SettingsError(f"{path} is not a settings file: it is not UTF-8") from None
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(f"{path} is not TOML: {error}") from None
    except (ValueError, RecursionError):
        # Of a number of more than 4,300 digits, or brackets within a thousand others, tomllib does not say so itself.
        raise SettingsError(f"{path} is not a settings file: it has a number too long, or too deep a nesting") from None
