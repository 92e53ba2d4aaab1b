"""Makes .venv from requirements-dev.lock; when that is done already, does nothing.

It runs before anything is installed, so it uses the standard library only. Its syntax is old on
purpose: whoever has an old Python gets a sentence that names the cure, not a SyntaxError.

pip only fetches uv; uv then installs the rest, in a quarter of pip's time. Every file is checked
against its hash in the lock, and only wheels are taken, so no compiler is ever needed.
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

# What pip and uv print, and what it means. The first that matches is told.
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

# What uv is told of pip's configuration; whoever needs more sets uv's own variables.
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
        fail("Trellis is developed on Linux and macOS; on Windows use WSL 2 or the Docker image.")
    if sys.version_info < (3, 11):
        restart_with_newer_python()
    if not os.access(str(ROOT), os.W_OK):
        fail(f"{ROOT} is not writable for you. Copy the project to a folder of your own.")
    try:
        install_in_turn()
    except OSError as error:
        reason = error.strerror or error
        fail(f"{VENV} cannot be written: {reason}. Make room, or make it yours (chown).")
    except KeyboardInterrupt:
        fail("interrupted. Run it again; it starts afresh.")


def fail(sentence: str) -> NoReturn:
    sys.exit(f"Setup stopped: {sentence}")


def say(line: str) -> None:
    print(line, flush=True)


def wanted() -> List[str]:
    """The folder is part of it, because scripts in a virtual environment hold its full path."""
    digests = [hashlib.sha256(path.read_bytes()).hexdigest() for path in (LOCK, PROJECT)]
    return [str(ROOT), *digests]


def installed() -> List[str]:
    """Empty after a setup that did not finish, and when the venv's own Python is gone."""
    return STAMP.read_text().splitlines() if STAMP.exists() and PYTHON.exists() else []


def is_current() -> bool:
    return installed() == wanted()


def restart_with_newer_python() -> NoReturn:
    for name in NEWER_PYTHONS:
        path = shutil.which(name)
        # Asked, because a version manager puts shims on PATH also for what it cannot start.
        if path and subprocess.call([path, "-c", IS_NEW_ENOUGH], stderr=subprocess.DEVNULL) == 0:
            os.execv(path, [path, *sys.argv])
    mine = "{}.{}".format(*sys.version_info)
    fail(
        f"Python 3.11 or newer is needed; {sys.executable} is {mine}, and no newer one is on PATH. "
        "Install one, or name it: make setup PYTHON=/path/to/python3"
    )


def install_in_turn() -> None:
    """Two at once take turns; the second then finds nothing to do."""
    import fcntl  # noqa: PLC0415  (Windows has none, and is told so before)

    with PROJECT.open() as held:
        # The commands inherit the lock: when this process is killed, the next one waits for them.
        os.set_inheritable(held.fileno(), True)
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("Waiting for another setup of this folder ...")
            fcntl.flock(held, fcntl.LOCK_EX)
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
    """Starts from nothing, because what an interrupted run left cannot be trusted."""
    # The Python that runs this may be the one inside .venv, which is about to go.
    python = getattr(sys, "_base_executable", sys.executable)
    if not find_spec("ensurepip"):
        package = "python{}.{}-venv".format(*sys.version_info)
        fail(f"{python} makes no virtual environments. On Debian or Ubuntu: apt install {package}")
    say("Creating .venv ...")
    if VENV.exists():
        shutil.rmtree(str(VENV))
    run([python, "-m", "venv", str(VENV)])
    uv_alone = VENV / "uv.lock"
    uv_alone.write_text("".join(re.findall(r"^uv==(?:.*\\\n)*.*$", LOCK.read_text(), re.MULTILINE)))
    pip = [str(PYTHON), "-I", "-m", "pip", "install", "--quiet", "--retries", "2"]
    run([*pip, "--require-hashes", "--only-binary", ":all:", "-r", str(uv_alone)])


def uv(command: str, *options: str) -> None:
    run([str(UV), "pip", command, "--python", str(PYTHON), *options], uv_environment())


def uv_environment() -> Dict[str, str]:
    """pip's index, proxy and certificates, in uv's words."""
    environment = dict(os.environ)
    listed = run([str(PYTHON), "-I", "-m", "pip", "config", "list"])
    for key, value in re.findall(r"^\S+\.([\w-]+)=(.+)$", listed, re.MULTILINE):
        if key in PIP_TO_UV:
            environment.setdefault(PIP_TO_UV[key], " ".join(ast.literal_eval(value).split()))
    # pip asks all indexes alike; the hashes decide what is the right file.
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
