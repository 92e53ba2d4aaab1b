"""`make dev-web`: start examples/web at `FRONTEND_URL`, the address that mails link to.

It reaches the API of `make dev`, or the one at the address in the variable API_URL.
"""

import json
import os
import re
import shutil
import socket
import subprocess
import sys
from pathlib import Path
from typing import NoReturn
from urllib.parse import urlsplit

import httpx

from backend.core.registry import RegistryError, discover, setting_kinds
from backend.core.settings import SettingsError, load_settings

APP = Path(__file__).resolve().parents[1] / "examples" / "web"
LOCK = APP / "package-lock.json"
NODE = "Node 20.19, or 22.12 or newer"  # as package.json has it, for Vite


def main() -> None:
    port = frontend_port()
    require_node()
    require_free(port)
    install()
    api = os.environ.get("API_URL", "http://127.0.0.1:8000").rstrip("/")
    if not responds(api):
        print(
            f"No API responds at {api}: start it with `make dev` in another terminal, or set "
            "API_URL to its address."
        )
    sys.stdout.flush()
    vite = str(APP / "node_modules" / ".bin" / "vite")
    os.chdir(APP)
    try:
        os.execve(vite, [vite, "--port", str(port)], {**os.environ, "API_URL": api})
    except OSError as error:
        stop(f"{vite} does not run ({error.strerror}). Delete {APP / 'node_modules'}.")


def stop(reason: str) -> NoReturn:
    sys.exit(f"The example was not started: {reason}")


def frontend_port() -> int:
    """Return the port of FRONTEND_URL, whose pages have to be on this machine."""
    try:
        kinds = [each for each in setting_kinds(discover()) if "frontend_url" in each.model_fields]
        if not kinds:
            stop("it needs the module accounts, which has the setting FRONTEND_URL.")
        address: str = load_settings(kinds)[kinds[0]].model_dump()["frontend_url"]
    except (RegistryError, SettingsError) as error:
        stop(str(error))
    url = urlsplit(address)
    if (url.scheme, url.hostname, url.path) != ("http", "localhost", ""):
        stop(
            f"FRONTEND_URL is {address}, where mails link to. Set it to "
            "http://localhost:3000, or unset it."
        )
    return url.port or 80


def require_node() -> None:
    for program in ("npm", "node"):
        if shutil.which(program) is None:
            stop(f"there is no {program}. Install {NODE}.")
    try:
        done = subprocess.run(["node", "--version"], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        stop(f"`node --version` fails. Install {NODE}.")
    version = done.stdout.strip()
    found = re.match(r"v(\d+)\.(\d+)", version)
    major, minor = map(int, found.groups()) if found else (0, 0)
    if (major, minor) < (22, 12) and not (major == 20 and minor >= 19):
        stop(f"it needs {NODE}, and this is {version}.")


def require_free(port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            stop(
                f"port {port} cannot be used ({error.strerror}). Stop the other program, or set "
                "FRONTEND_URL to another port, such as http://localhost:3001, for `make dev` too."
            )


def install() -> None:
    """Install the packages of package-lock.json, unless they are there."""
    if is_installed():
        return
    print("Installing the packages of examples/web ...", flush=True)
    quiet = ("--no-audit", "--no-fund", "--no-update-notifier", "--loglevel=error")
    command = ["npm", "ci", "--ignore-scripts", *quiet]
    try:
        status = subprocess.run(command, cwd=APP, check=False).returncode
    except OSError as error:
        stop(f"npm does not run ({error.strerror}). Install {NODE}.")
    if status:
        stop("npm could not install its packages, as it says above. Check the network.")


def is_installed() -> bool:
    """Return whether the packages that npm has installed are those of package-lock.json."""
    record = APP / "node_modules" / ".package-lock.json"
    if not record.exists():
        return False
    wanted, found = (json.loads(file.read_text())["packages"] for file in (LOCK, record))
    # Optional packages are for other systems.
    required = {name for name in wanted if name and not wanted[name].get("optional")}
    return required <= found.keys() and all(
        found[name].get("version") == wanted.get(name, {}).get("version") for name in found
    )


def responds(api: str) -> bool:
    try:
        # Without the proxies of the environment: the API is on this machine, or reached by Vite.
        return httpx.get(f"{api}/health/live", timeout=2, trust_env=False).is_success
    except (httpx.HTTPError, httpx.InvalidURL):
        return False


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)
