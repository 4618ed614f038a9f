#!/usr/bin/env node
// Writes src/contract.ts and src/models.ts from the contract; with --check, fails when a committed file is not what the
// contract says.
import { readFileSync, readdirSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";

import openapiTS, { astToString } from "openapi-typescript";
import ts from "typescript";
import { parse } from "yaml";

const FOLDER = new URL("../../../openapi/", import.meta.url);
const TARGETS = { contract: "../src/contract.ts", models: "../src/models.ts" };
/** The document, the schemas that model files share, and the model files, as texts. */
const read = (name) => readFileSync(new URL(name, FOLDER), "utf8");
const SOURCES = {
  document: read("kling-v3-turbo.yaml"),
  parts: read("parts.yaml"),
  models: Object.fromEntries(
    readdirSync(new URL("models/", FOLDER))
      .filter((name) => name.endsWith(".yaml"))
      .sort()
      .map((name) => [name.slice(0, -".yaml".length), read(`models/${name}`)]),
  ),
};
/** The types that the client works with; whatever these refer to comes along. */
const ROOTS = [
  "CreateVideo",
  "CreatedTask",
  "Task",
  "TerminalTask",
  "TaskErrorCode",
  "Status",
  "Quality",
  "UploadedFile",
  "Error",
];
/** `Error` would hide the language's own. */
const ALIASES = { Error: "ErrorBody" };

const HEADER = `// Generated from openapi by scripts/generate.mjs (npm run generate). Do not edit: a test compares.

`;

const MODELS_HEADER = `// Generated from openapi/models by scripts/generate.mjs (npm run generate). Do not edit: a test compares.

import type { Schema } from "./schema.js";
`;

/**
 * The value at *path*, or a failure that names the place: a contract that lost a statement must not become a client
 * without it.
 */
function at(document, ...path) {
  let value = document;
  for (const step of path) {
    value = value?.[step];
    if (value === undefined) throw new Error(`the contract has nothing at ${path.join("/")}`);
  }
  return value;
}

const resolved = (document, schema) =>
  schema.$ref ? { ...at(document, ...schema.$ref.slice(2).split("/")), ...schema } : schema;
const isNever = (schema) => schema?.not !== undefined && Object.keys(schema.not).length === 0;
const constants = (schema) => schema.enum ?? schema.oneOf.map((option) => option.const);

/** Names of the schemas that *roots* refer to, directly or not, in the contract's order. */
function reachable(schemas, roots) {
  const found = new Set();
  const visit = (name) => {
    if (found.has(name)) return;
    found.add(name);
    const text = JSON.stringify(at(schemas, name));
    for (const [, other] of text.matchAll(/"#\/components\/schemas\/([^"]+)"/g)) visit(other);
  };
  roots.forEach(visit);
  return Object.keys(schemas).filter((name) => found.has(name));
}

async function types(document) {
  const all = at(document, "components", "schemas");
  const schemas = Object.fromEntries(reachable(all, ROOTS).map((name) => [name, all[name]]));
  const nodes = await openapiTS(
    { openapi: document.openapi, info: document.info, paths: {}, components: { schemas } },
    {
      immutable: true,
      defaultNonNullable: false,
      transform: (schema) =>
        isNever(schema) ? ts.factory.createKeywordTypeNode(ts.SyntaxKind.NeverKeyword) : undefined,
    },
  );
  const wanted = nodes.filter((node) => node.name?.text === "components");
  const aliases = ROOTS.map((name) => `export type ${ALIASES[name] ?? name} = components["schemas"]["${name}"];`);
  return `${astToString(wanted)}\n${aliases.join("\n")}\n`;
}

/** What a create may hold: each field's own rules, and the fields that are not taken. */
function createRules(document) {
  const schema = at(document, "components", "schemas", "CreateVideo");
  const fields = {};
  const refused = [];
  for (const [name, raw] of Object.entries(schema.properties)) {
    const field = resolved(document, raw);
    if (isNever(field)) refused.push(name);
    else fields[name] = fieldRules(field);
  }
  return { required: schema.required, fields, refused };
}

function fieldRules(field) {
  const kept = ["type", "const", "default", "minimum", "maximum", "maxLength", "pattern", "format"];
  const rules = Object.fromEntries(kept.filter((key) => key in field).map((key) => [key, field[key]]));
  if (field.oneOf || field.enum) rules.enum = constants(field);
  return rules;
}

function taskErrors(document) {
  const options = at(document, "components", "schemas", "TaskErrorCode", "oneOf");
  return Object.fromEntries(
    options.map((each) => [
      each.const,
      { description: each.description, fixedBy: at(each, "x-fixed-by"), retryable: at(each, "x-retryable") },
    ]),
  );
}

/** Every documented HTTP error, by the name of its response. */
function httpErrors(document) {
  const responses = Object.entries(at(document, "components", "responses"));
  return Object.fromEntries(
    responses.map(([name, response]) => {
      const { status, code, type, legacy_type: legacyType } = at(response, "x-error");
      return [name, { status, code, type, legacyType }];
    }),
  );
}

/** The path of the operation called *id*. */
function pathOf(document, id) {
  for (const [path, operations] of Object.entries(document.paths)) {
    for (const operation of Object.values(operations)) if (operation.operationId === id) return path;
  }
  throw new Error(`the contract has no operation ${id}`);
}

const ratio = (text) =>
  text
    .split(":")
    .map(Number)
    .reduce((width, height) => width / height);

function imageRules(document) {
  const image = at(document, "components", "schemas", "CreateVideo", "properties", "image_start", "x-image");
  return {
    formats: at(image, "formats"),
    maxBytes: at(image, "max_bytes"),
    minSidePx: at(image, "min_side_px"),
    ratioMin: ratio(at(image, "ratio_min")),
    ratioMax: ratio(at(image, "ratio_max")),
  };
}

function callbackRules(document) {
  const path = at(document, "paths", pathOf(document, "createVideo"), "post");
  const [event] = Object.values(at(path, "callbacks", "taskFinished"));
  const field = at(document, "components", "schemas", "CreateVideo", "properties", "callback_url");
  const delivery = at(event, "post", "x-delivery");
  return {
    maxLength: at(field, "maxLength"),
    schemes: at(field, "x-callback-address", "schemes"),
    internal: at(field, "x-callback-address", "internal"),
    timeoutSeconds: at(delivery, "timeout_seconds"),
    retryDelaysSeconds: at(delivery, "retry_delays_seconds"),
  };
}

/** The terminal statuses whose tasks must carry *member*. */
function terminalStatuses(document, member) {
  const shapes = at(document, "components", "schemas", "TerminalTask", "oneOf").map((each) => resolved(document, each));
  return shapes
    .filter((shape) => shape.required?.includes(member))
    .map((shape) => at(shape, "properties", "status", "const"));
}

/** Manners that the contract asks of readers of a task; null where it names none. */
function pollingRules(document) {
  const rules = at(document, "paths", pathOf(document, "getTask"), "get")["x-polling"] ?? {};
  return { minPollSeconds: rules.min_poll_seconds ?? null, giveUpSeconds: rules.give_up_seconds ?? null };
}

function limits(document) {
  const schemas = at(document, "components", "schemas");
  const idempotency = at(document, "components", "parameters", "IdempotencyKey");
  const link = at(schemas, "CompletedTask", "properties", "results", "x-link");
  return {
    version: at(document, "info", "version"),
    server: at(document, "servers", 0, "url"),
    paths: {
      create: pathOf(document, "createVideo"),
      task: pathOf(document, "getTask"),
      upload: pathOf(document, "uploadStream"),
      credits: pathOf(document, "getCredits"),
    },
    create: createRules(document),
    image: imageRules(document),
    callback: callbackRules(document),
    task: {
      idPattern: at(document, "components", "parameters", "TaskId", "schema", "pattern"),
      statuses: at(schemas, "Status", "enum"),
      success: terminalStatuses(document, "results"),
      failure: terminalStatuses(document, "error"),
    },
    taskErrors: taskErrors(document),
    httpErrors: httpErrors(document),
    link: { lifetimeSeconds: at(link, "lifetime_seconds"), contentType: at(link, "content_type") },
    idempotency: {
      header: at(idempotency, "name"),
      pattern: at(idempotency, "schema", "pattern"),
      minLength: at(idempotency, "schema", "minLength"),
      maxLength: at(idempotency, "schema", "maxLength"),
    },
    polling: pollingRules(document),
  };
}

/** The document with its own model's create in it, which stands in a model file, and that model's name. */
function composed(sources) {
  const document = parse(sources.document, { merge: true });
  const schemas = at(document, "components", "schemas");
  const name = at(schemas, "Model", "const");
  const { properties, required, description } = parse(at(sources.models, name), { merge: true });
  const callback = at(schemas, "CallbackUrl");
  const model = { $ref: "#/components/schemas/Model" };
  schemas.CreateVideo = {
    type: "object",
    ...(description ? { description } : {}),
    required,
    properties: { ...properties, model, callback_url: callback },
  };
  return document;
}

/** What a check of a create needs of a schema: no words, no sources, no prices. */
const KEPT = new Set(["x-image", "x-sums", "x-totals"]);
function stripped(node, isSchema = true) {
  if (Array.isArray(node)) return node.map((each) => stripped(each));
  if (typeof node !== "object" || node === null) return node;
  const kept = Object.entries(node).filter(
    ([key]) =>
      !isSchema || !(["description", "title", "examples"].includes(key) || (key.startsWith("x-") && !KEPT.has(key))),
  );
  return Object.fromEntries(kept.map(([key, value]) => [key, stripped(value, key !== "properties")]));
}

/** Every model's schema, and the schemas that they refer to. */
function modelRules(sources) {
  const document = parse(sources.document, { merge: true });
  const shared = { ...parse(sources.parts).components.schemas, ...at(document, "components", "schemas") };
  const models = Object.fromEntries(
    Object.entries(sources.models).map(([name, text]) => [name, stripped(parse(text, { merge: true }))]),
  );
  const used = {};
  const visit = (node) => {
    for (const [, name] of JSON.stringify(node).matchAll(/"#\/components\/schemas\/([^"]+)"/g)) {
      if (name in used) continue;
      used[name] = stripped(at(shared, name));
      visit(used[name]);
    }
  };
  visit(models);
  return { models, shared: Object.fromEntries(Object.entries(used).sort(([one], [other]) => (one < other ? -1 : 1))) };
}

/** The content of src/contract.ts; *changes* replaces some of the sources, for tests. */
export async function generate(changes = {}) {
  const document = composed({ ...SOURCES, ...changes });
  const data = JSON.stringify(limits(document), null, 2).replace(/"([A-Za-z_]\w*)":/g, "$1:");
  return `${HEADER}${await types(document)}\n/** The contract's limits, enums and policies. Sizes are bytes, times seconds, sides pixels. */\nexport const CONTRACT = ${data} as const;\n`;
}

/** The content of src/models.ts. */
export function generateModels(changes = {}) {
  const { models, shared } = modelRules({ ...SOURCES, ...changes });
  const lines = (table) =>
    Object.entries(table)
      .map(([name, schema]) => `  ${JSON.stringify(name)}: ${JSON.stringify(schema)},`)
      .join("\n");
  return `${MODELS_HEADER}
/** What a create of each model must be: the schemas of openapi/models. */
export const MODELS: Readonly<Record<string, Schema>> = {
${lines(models)}
};

/** The schemas that they share. */
export const SHARED: Readonly<Record<string, Schema>> = {
${lines(shared)}
};
`;
}

async function main() {
  const wanted = { contract: await generate(), models: generateModels() };
  for (const [name, target] of Object.entries(TARGETS)) {
    const path = new URL(target, import.meta.url);
    if (!process.argv.includes("--check")) writeFileSync(path, wanted[name]);
    else if (readFileSync(path, "utf8") !== wanted[name]) {
      console.error(`src/${name}.ts is not what the contract says; run: npm run generate`);
      process.exitCode = 1;
    }
  }
}

if (process.argv[1] === fileURLToPath(import.meta.url)) await main();
