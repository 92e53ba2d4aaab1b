// One document of all versions of the API: that of version 1, and the operations that later versions
// have anew or differently. Those of version 2 are in groups of their own, such as `items_v2`.
import { readdir, readFile } from "node:fs/promises";

const METHODS = ["get", "put", "post", "patch", "delete", "head", "options"];

/** The document at this address of a file, with those of later versions beside it. */
export async function merged(source) {
  const document = await read(source);
  let before = structuredClone(document);
  for (const number of await laterVersions(source)) {
    const later = await read(new URL(source.href.replace(/\.json$/, `.v${number}.json`)));
    add(document, before, later, number);
    before = later;
  }
  return document;
}

async function read(address) {
  return JSON.parse(await readFile(address, "utf8"));
}

async function laterVersions(source) {
  const name = source.pathname.split("/").at(-1).replace(/\.json$/, "");
  const numbers = (await readdir(new URL(".", source)))
    .filter((file) => file.startsWith(`${name}.v`))
    .map((file) => Number(/^\.v(\d+)\.json$/.exec(file.slice(name.length))?.[1]));
  return numbers.filter((number) => number > 1).sort((one, other) => one - other);
}

/** Add the operations of version `number` that the version before lacks or has differently. */
function add(document, before, later, number) {
  const name = namesIn(document, later, number);
  for (const [path, item] of Object.entries(later.paths)) {
    const former = before.paths[path.replace(`/api/v${number}/`, `/api/v${number - 1}/`)];
    for (const method of METHODS.filter((each) => each in item)) {
      const text = textOf(later, item[method]).replaceAll(`/api/v${number}`, `/api/v${number - 1}`);
      if (former?.[method] && textOf(before, former[method]) === text) continue;
      document.paths[path] ??= {};
      document.paths[path][method] = copied(document, later, item[method], name);
      document.paths[path][method].operationId = item[method].operationId.replace("-", `_v${number}-`);
    }
  }
  document["x-permissions"] = { ...later["x-permissions"], ...document["x-permissions"] };
  document["x-errors"] = { ...later["x-errors"], ...document["x-errors"] };
}

/** References to components by those in `later`: what differs under the same name has another one. */
function namesIn(document, later, number) {
  const known = new Map();
  return (reference) => {
    if (!known.has(reference)) {
      const existing = componentOf(document, reference);
      const differs = existing && textOf(document, existing) !== textOf(later, componentOf(later, reference));
      known.set(reference, differs ? `${reference}V${number}` : reference);
    }
    return known.get(reference);
  };
}

/** The operation, whose components are added to the document. */
function copied(document, later, operation, name) {
  const renamed = (value) =>
    JSON.parse(JSON.stringify(value), (key, each) => (key === "$ref" ? name(each) : each));
  const found = Object.entries(componentsOf(later, operation));
  const named = found.map(([reference, component]) => [name(reference), component]);
  for (const [reference, component] of named) {
    const [kind, own] = reference.split("/").slice(2);
    document.components[kind][own] ??= renamed(component);
  }
  return renamed(operation);
}

/** The value and all components that it refers to, as text to compare. */
function textOf(document, value) {
  return JSON.stringify([value, componentsOf(document, value)]);
}

/** The components that a value refers to, by reference. */
function componentsOf(document, value, found = {}) {
  JSON.stringify(value, (key, each) => {
    if (key === "$ref" && !(each in found)) {
      found[each] = componentOf(document, each);
      componentsOf(document, found[each], found);
    }
    return each;
  });
  return found;
}

function componentOf(document, reference) {
  const [kind, name] = reference.split("/").slice(2);
  return document.components[kind]?.[name];
}
