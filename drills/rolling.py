"""Rolling restarts: two instances behind nginx are restarted one after the other under load."""

import time
from pathlib import Path

from drills.load import Load, LoadReport
from drills.site import Writes, compare_writes, database, instances, shipped_nginx, sign_in


def rolling(
    folder: Path, *, rolls: int, rate: float, delay: float, workers: int = 1
) -> tuple[LoadReport, Writes]:
    """Restart each instance `rolls` times, with a `SHUTDOWN_DELAY` of `delay` seconds."""
    with (
        database(folder) as url,
        instances(folder, url, workers=workers, SHUTDOWN_DELAY=delay) as backends,
        shipped_nginx(folder, backends, keepalive=f"{delay * 600:.0f}ms") as (address, trusted),
    ):
        token = sign_in(address, trusted)
        load = Load(address, token, rate, trusted)
        with load.running() as report:
            time.sleep(1)
            for number in range(rolls):
                print(f"\rroll {number + 1} of {rolls}", end="", flush=True)
                for instance in backends:
                    instance.stop()
                    instance.start()
            time.sleep(1)
        print()
        return report, compare_writes(url, report)
