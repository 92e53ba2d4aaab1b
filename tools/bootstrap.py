"""Create .venv from requirements-dev.lock, unless it is up to date.

This script runs before any package is installed, so it uses the standard library only. It keeps
to the syntax of old Python versions, to print a clear message there instead of a SyntaxError.

pip installs only uv; uv then installs the rest in a quarter of pip's time. Every file is checked
against its hash in the lock, and only wheels are used, so no compiler is needed.
"""

import ast
import hashlib
import os
import re
import shutil
import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path
from typing import Dict, List, NoReturn, Optional

ROOT = Path(__file__).resolve().parent.parent
LOCK = ROOT / "requirements-dev.lock"
PROJECT = ROOT / "pyproject.toml"
VENV = ROOT / ".venv"
PYTHON = VENV / "bin" / "python"
UV = VENV / "bin" / "uv"
STAMP = VENV / "installed-from"

NEWER_PYTHONS = ("python3.14", "python3.13", "python3.12", "python3.11")
IS_NEW_ENOUGH = "import sys; sys.exit(sys.version_info < (3, 11))"

# Patterns in the output of pip and uv, and their causes. The first match is reported.
CAUSES = {
    r"(?:Hash mismatch for `|FROM THE REQUIREMENTS FILE.*\n\s*)([^`\s]+)": (
        "{} is not the file that requirements-dev.lock names, so it was not installed. "
        "Look at the package index in use (pip config list); a mirror may have changed the file."
    ),
    r"([\w.-]+)(?:\{[^}]*\})?==\S+ has no (?:usable )?wheels": (
        "there is no wheel of {} for this Python on this machine. "
        "Use Python 3.11 to 3.13 on Linux with glibc or on macOS, or the Docker image."
    ),
    r"()Failed to fetch|error sending request|Retrying \(|No matching distribution": (
        "the package index cannot be reached. "
        "Check the network, and the proxy and index of pip (pip config list), then try again."
    ),
}

# pip's options that uv receives as environment variables. Any other needs uv's own variable.
PIP_TO_UV = {
    "index-url": "UV_DEFAULT_INDEX",
    "extra-index-url": "UV_INDEX",
    "trusted-host": "UV_INSECURE_HOST",
    "cert": "SSL_CERT_FILE",
    "proxy": "ALL_PROXY",
}


def main() -> None:
    if is_current():
        return
    if os.name != "posix":
        fail("Development needs Linux or macOS; on Windows use WSL 2 or the Docker image.")
    if sys.version_info < (3, 11):
        restart_with_newer_python()
    if not os.access(str(ROOT), os.W_OK):
        fail(f"{ROOT} is not writable for you. Copy the project to a folder of your own.")
    try:
        install_under_lock()
    except OSError as error:
        reason = error.strerror or error
        fail(f"{VENV} cannot be written: {reason}. Make room, or make it yours (chown).")
    except KeyboardInterrupt:
        fail("interrupted. Run it again; it starts from the beginning.")


def fail(sentence: str) -> NoReturn:
    sys.exit(f"Setup stopped: {sentence}")


def say(line: str) -> None:
    print(line, flush=True)


def wanted() -> List[str]:
    """Return the inputs of an installation: the project's folder and digests of two files.

    The folder counts because the scripts in a virtual environment contain its full path.
    """
    digests = [hashlib.sha256(path.read_bytes()).hexdigest() for path in (LOCK, PROJECT)]
    return [str(ROOT), *digests]


def installed() -> List[str]:
    """Return the inputs of the last complete setup; empty if none, or if its Python is missing."""
    return STAMP.read_text().splitlines() if STAMP.exists() and PYTHON.exists() else []


def is_current() -> bool:
    return installed() == wanted()


def restart_with_newer_python() -> NoReturn:
    for name in NEWER_PYTHONS:
        path = shutil.which(name)
        # Run it to check: version managers have shims on PATH for versions that are not installed.
        if path and subprocess.call([path, "-c", IS_NEW_ENOUGH], stderr=subprocess.DEVNULL) == 0:
            os.execv(path, [path, *sys.argv])
    version = "{}.{}".format(*sys.version_info)
    fail(
        f"Python 3.11 or newer is needed. {sys.executable} is {version}; no newer one is on PATH. "
        "Install one, or name it: make setup PYTHON=/path/to/python3"
    )


def install_under_lock() -> None:
    """Install while holding a file lock, so that concurrent runs wait instead of interfering."""
    import fcntl  # noqa: PLC0415  (Windows has none; `main` has refused it before)

    with PROJECT.open() as lock_file:
        # Child processes inherit the lock: if this one is killed, the next setup waits for them.
        os.set_inheritable(lock_file.fileno(), True)
        try:
            fcntl.flock(lock_file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("Waiting for another setup of this folder ...")
            fcntl.flock(lock_file, fcntl.LOCK_EX)
        if not is_current():
            install()


def install() -> None:
    started = time.monotonic()
    before, after = installed(), wanted()
    if before[:1] != after[:1]:
        make_venv()
    STAMP.unlink(missing_ok=True)
    if before[:2] != after[:2]:
        say(f"Installing the packages of {LOCK.name} ...")
        uv("sync", "--require-hashes", "--only-binary", ":all:", LOCK.name)
    uv("install", "--offline", "--no-deps", "--no-build-isolation", "--editable", ".")
    STAMP.write_text("\n".join(after))
    say(f"Done in {time.monotonic() - started:.0f} s.")


def make_venv() -> None:
    """Create the virtual environment; delete an existing one, which may be incomplete."""
    # The running Python may be the one inside .venv, which is deleted below.
    python = getattr(sys, "_base_executable", sys.executable)
    if not find_spec("ensurepip"):
        package = "python{}.{}-venv".format(*sys.version_info)
        fail(f"{python} lacks the module venv. On Debian or Ubuntu: apt install {package}")
    say("Creating .venv ...")
    if VENV.exists():
        shutil.rmtree(str(VENV))
    run([python, "-m", "venv", str(VENV)])
    uv_lock = VENV / "uv.lock"
    uv_lock.write_text("".join(re.findall(r"^uv==(?:.*\\\n)*.*$", LOCK.read_text(), re.MULTILINE)))
    pip = [str(PYTHON), "-I", "-m", "pip", "install", "--quiet", "--retries", "2"]
    run([*pip, "--require-hashes", "--only-binary", ":all:", "-r", str(uv_lock)])


def uv(command: str, *options: str) -> None:
    run([str(UV), "pip", command, "--python", str(PYTHON), *options], uv_environment())


def uv_environment() -> Dict[str, str]:
    """Return the environment that gives uv pip's index, proxy and certificates."""
    environment = dict(os.environ)
    listed = run([str(PYTHON), "-I", "-m", "pip", "config", "list"])
    for key, value in re.findall(r"^\S+\.([\w-]+)=(.+)$", listed, re.MULTILINE):
        if key in PIP_TO_UV:
            environment.setdefault(PIP_TO_UV[key], " ".join(ast.literal_eval(value).split()))
    # Search all indexes, as pip does; the hashes ensure that the file is the right one.
    environment.setdefault("UV_INDEX_STRATEGY", "unsafe-best-match")
    if not os.access(os.environ.get("HOME", ""), os.W_OK):
        environment.setdefault("UV_NO_CACHE", "1")
    return environment


def run(command: List[str], environment: Optional[Dict[str, str]] = None) -> str:
    done = subprocess.run(
        command,
        cwd=str(ROOT),
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        errors="replace",
        close_fds=False,
        check=False,
    )
    if done.returncode:
        explain(command, done.stdout)
    return done.stdout


def explain(command: List[str], output: str) -> NoReturn:
    for pattern, sentence in CAUSES.items():
        found = re.search(pattern, output)
        if found:
            fail(sentence.format(found.group(1)))
    say(output)
    fail("this command failed, for the reason printed above: " + " ".join(command))


if __name__ == "__main__":
    main()
