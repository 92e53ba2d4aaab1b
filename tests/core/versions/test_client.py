"""The TypeScript client calls the operations that a later version has differently."""

import asyncio
import json
import shutil
from pathlib import Path

import pytest
from fastapi import FastAPI

from backend.cli.listing import openapi_file, openapi_texts
from tests import npm
from tests.actors import PASSWORD, Actor
from tests.commands import ROOT
from tests.core.versions.conftest import WITH_TASKS
from tests.servers import serving

PACKAGE = ROOT / "clients" / "typescript"
CALLS = """
import { bearer, createClient, type Schemas } from "../src/index.js";

const [baseUrl, email, password] = process.argv.slice(2) as [string, string, string];
const api = createClient({ baseUrl, credentials: bearer() });
await api.signIn({ email, password });
const made = await api.madeTasks.createTask({ body: { text: "Tea", colour: "green" } });
const body = { state: "done" } as const;
const done: Schemas["MadeTaskOutV2"] = await api.madeTasksV2.updateTask({ id: made.id, body });
// @ts-expect-error  version 2 has a state instead
void done.is_done;
// @ts-expect-error  version 2 has no such operation
void api.madeTasksV2.listColours;
const states: ("open" | "done")[] = [];
for await (const { state } of api.madeTasksV2.listTasks.iterate()) states.push(state);
// Operations that are the same in both versions are there once.
await api.madeTasks.deleteTask({ id: made.id });
console.log(JSON.stringify({ made, done, states, path: api.madeTasksV2.readTask.operation.path }));
"""


@pytest.mark.slow
async def test_it_calls_both_versions(ada: Actor, app: FastAPI, tmp_path: Path) -> None:
    npm.require_packages(PACKAGE)
    package = tmp_path / "clients" / "typescript"
    for folder in ("scripts", "src"):
        shutil.copytree(PACKAGE / folder, package / folder)
    for file in ("package.json", "tsconfig.json"):
        shutil.copy(PACKAGE / file, package / file)
    (package / "node_modules").symlink_to(PACKAGE / "node_modules")
    for version, text in openapi_texts(WITH_TASKS).items():
        openapi_file(tmp_path / "openapi.json", version).write_text(text)
    (package / "test").mkdir()
    (package / "test" / "calls.ts").write_text(CALLS)
    npm.run("node", "scripts/generate.mjs", folder=package)
    npm.run("node_modules/.bin/tsc", "--project", "tsconfig.json", folder=package)
    compiled = str(package / "build" / "test" / "calls.js")
    async with serving(app) as url:
        command = ("node", compiled, url, ada.email, PASSWORD)
        printed = await asyncio.to_thread(npm.run, *command, folder=package)
    found = json.loads(printed)
    assert found["made"]["is_done"] is False
    assert found["done"].keys() == {"id", "text", "state", "created_at"}
    assert (found["states"], found["path"]) == (["done"], "/api/v2/made-tasks/{id}")
