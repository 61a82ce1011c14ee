"""All checks that a change must pass: format, lint, types, documentation, tests. Stops at the first failure."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def main() -> int:
    environment = {
        **os.environ,
        "NO_MKDOCS_2_WARNING": "1",  # no advertisements
        "OMP_NUM_THREADS": "1",  # one process per core, without competing threads
    }
    with tempfile.TemporaryDirectory() as site:
        checks = {
            "format": ["ruff", "format", "--check", "."],
            "lint": ["ruff", "check", "."],
            "types": ["mypy"],
            "documentation": ["mkdocs", "build", "--strict", "--config-file", ".mkdocs.yml", "-d", site],
            # The tests of a module run in one process, which sets up what they share only once.
            "tests": [
                *("pytest", "-n", "auto", "--maxprocesses=8", "--dist=loadscope"),
                *("--cov", "--cov-report=term", "--durations=5", *sys.argv[1:]),
            ],
        }
        for name, (module, *arguments) in checks.items():
            print(f"== {name}: {module} {' '.join(arguments)}", flush=True)
            command = [sys.executable, "-m", module, *arguments]
            code = subprocess.run(command, cwd=ROOT, env=environment, check=False).returncode
            if code:
                print(f"== {name} failed", flush=True)
                return code
    return 0


if __name__ == "__main__":
    sys.exit(main())
