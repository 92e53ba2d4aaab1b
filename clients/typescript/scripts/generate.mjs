// Write src/generated from openapi.json: the types of all bodies and parameters, and the tables of
// operations, permissions and errors. Nothing of the contract is written by hand anywhere else.
import { mkdir, writeFile } from "node:fs/promises";
import openapiTS, { astToString } from "openapi-typescript";
import ts from "typescript";
import { merged } from "./versions.mjs";

const here = new URL("../", import.meta.url);
const source = process.env.OPENAPI ?? new URL("../../openapi.json", here);
const target = new URL(process.env.GENERATED ?? "src/generated/", here);
const NOTICE = "// Generated from openapi.json by `make client`. Changes are overwritten.\n";
const METHODS = ["get", "put", "post", "patch", "delete", "head", "options"];
// After a lost response, repetitions of the others would act twice.
const IDEMPOTENT = METHODS.filter((each) => each !== "post");
// Names of the client's own functions, which no tag may have.
const OWN = ["signIn", "signOut", "currentUser", "fetch"];
// Names of arguments that no path parameter may have.
const RESERVED = ["query", "body", "signal", "headers", "retries", "ifMatch", "idempotencyKey", "onProgress"];

const document = await merged(new URL(source, here));
await mkdir(target, { recursive: true });
await writeFile(new URL("openapi.ts", target), NOTICE + (await types()));
await writeFile(new URL("contract.ts", target), NOTICE + tables());

async function types() {
  const blob = ts.factory.createTypeReferenceNode("Blob");
  const nodes = await openapiTS(withoutErrors(structuredClone(document)), {
    // Files are bytes, not text.
    transform: (schema) => (schema.contentMediaType ? blob : undefined),
    // A member with a default may be left out of a request, but is always in a response.
    defaultNonNullable: false,
  });
  return astToString(nodes);
}

/** All errors have one form, and the tables list them, so their responses are left out. */
function withoutErrors(document) {
  for (const operation of Object.values(document.paths).flatMap((item) => Object.values(item))) {
    for (const status of Object.keys(operation.responses)) {
      if (status >= "400") delete operation.responses[status];
    }
  }
  return document;
}

function tables() {
  const operations = new Map();
  const errors = [];
  for (const [path, item] of Object.entries(document.paths)) {
    for (const method of METHODS.filter((each) => each in item)) {
      const operation = item[method];
      const [group, name] = names(operation.operationId, `${method.toUpperCase()} ${path}`);
      if (!operations.has(group)) operations.set(group, []);
      operations.get(group).push(entry(name, path, method, operation));
      errors.push(`  ${quote(operation.operationId)}: ${union(codes(operation))};`);
    }
  }
  const groups = [...operations].map(([group, entries]) => `  ${group}: {\n${entries.join("\n")}\n  },`);
  const meanings = Object.entries(document["x-errors"]).map(
    ([code, meaning]) =>
      `  /** ${comment(meaning.detail)} */\n  ${code}: ` +
      `{ status: ${meaning.status}, errors: ${meaning.errors}, retryAfter: ${meaning.retry_after} },`,
  );
  const permissions = Object.entries(document["x-permissions"]).map(
    ([name, text]) => `  ${quote(name)}: ${quote(text)},`,
  );
  return `
/** All operations, by tag and name. */
export const operations = {
${groups.join("\n")}
} as const;

/** The error codes that each operation documents. */
export interface OperationErrors {
${errors.join("\n")}
}

/** Status of each error, and whether it may have \`errors\` by field and \`Retry-After\`. */
export const errors = {
${meanings.join("\n")}
} as const;

/** The description of each permission. */
export const permissions = {
${permissions.join("\n")}
} as const;
`;
}

/** The group and the name of an operation: \`items-list_items\` is \`items.listItems\`. */
function names(id, place) {
  const [, group, name] = /^([a-z][\w]*)-([a-z][\w]*)$/.exec(id ?? "") ?? [];
  if (!name) throw new Error(`${place} has the operationId ${id}; use the form "tag-name".`);
  if (OWN.includes(camel(group))) throw new Error(`${place}: the tag ${group} needs another name.`);
  return [camel(group), camel(name)];
}

function entry(name, path, method, operation) {
  const parameters = operation.parameters ?? [];
  for (const each of parameters.filter(({ in: place }) => place === "path")) {
    if (RESERVED.includes(each.name)) {
      throw new Error(`${path}: the path parameter ${each.name} needs another name; the client uses this one.`);
    }
  }
  for (const each of parameters.filter(({ schema }) => schema.type === "array")) {
    if (each.explode !== false) throw new Error(`${path}: ${each.name} must have the style of commas.`);
  }
  const takes = (header) => parameters.some(({ in: place, name: it }) => place === "header" && it === header);
  const takesKey = takes("Idempotency-Key");
  const isIdempotent = IDEMPOTENT.includes(method) && !invalidatesItself(path, method, operation);
  const facts = [
    `id: ${quote(operation.operationId)}`,
    `method: ${quote(method.toUpperCase())}`,
    `path: ${quote(path)}`,
    `permission: ${operation["x-permission"] ? quote(operation["x-permission"]) : "null"}`,
    `idempotencyKey: ${takesKey}`,
    `repeatable: ${takesKey || isIdempotent}`,
    `body: ${bodyOf(operation)}`,
  ];
  const text = comment(operation.description ?? operation.summary) + (operation.deprecated ? " @deprecated" : "");
  return `    /** ${text} */\n    ${name}: { ${facts.join(", ")} },`;
}

/** Whether a successful request is refused when it is repeated: its password or its session is gone. */
function invalidatesItself(path, method, operation) {
  return codes(operation).includes("CURRENT_PASSWORD_WRONG") || (method === "delete" && path.endsWith("/users/me"));
}

function bodyOf(operation) {
  const media = Object.keys(operation.requestBody?.content ?? {});
  if (media.length === 0) return "null";
  return media.includes("application/json") ? '"json"' : '"form"';
}

function codes(operation) {
  return Object.values(operation.responses).flatMap((response) =>
    Object.keys(response.content?.["application/problem+json"]?.examples ?? {}),
  );
}

function camel(name) {
  return name.replaceAll(/_([a-z0-9])/g, (_, letter) => letter.toUpperCase());
}

function union(values) {
  return [...new Set(values)].sort().map(quote).join(" | ") || "never";
}

function quote(text) {
  return JSON.stringify(text);
}

function comment(text) {
  return text.replaceAll("*/", "* /").replaceAll(/\s*\n\s*/g, " ");
}
