/** The fields of a model's create, as its file in openapi/models describes them. */

import { checkCallback, isEscaped } from "./address.js";
import { CONTRACT } from "./contract.js";
import { RequestInvalid } from "./errors.js";
import { MODELS, SHARED } from "./models.js";
import { type Problem, type Schema, problems, resolved, spelled } from "./schema.js";

type Body = Readonly<Record<string, unknown>>;
type Path = readonly string[];

/** The model that the client is about unless the user names another. */
export const DEFAULT_MODEL: string = CONTRACT.create.fields.model.const;
const ITEMS = "[]";

/**
 * The schema of the model called *name*.
 *
 * @throws RequestInvalid there is no such model.
 */
function schemaOf(name: string): Schema {
  const schema = Object.hasOwn(MODELS, name) ? MODELS[name] : undefined;
  if (schema !== undefined) return schema;
  throw new RequestInvalid("model", `there is no ${name}; there are ${Object.keys(MODELS).join(", ")}`);
}

/**
 * Checks that there is a model called *name*.
 *
 * @throws RequestInvalid there is none.
 */
export function checkModel(name: string): void {
  schemaOf(name);
}

/** The fields that a model takes; those that it names to refuse them are not among them. */
function fieldsOf(name: string): Readonly<Record<string, Body>> {
  const { properties } = resolved(schemaOf(name), SHARED) as { properties: Record<string, Schema> };
  const all = Object.entries(properties).map(([field, schema]) => [field, resolved(schema, SHARED)] as const);
  return Object.fromEntries(all.filter(([, schema]) => !isRefused(schema)));
}

const isRefused = (schema: Body): boolean =>
  typeof schema["not"] === "object" && schema["not"] !== null && Object.keys(schema["not"]).length === 0;

/** Where the model takes its first picture: a field, or the items of one; undefined where it takes none. */
function picturePath(name: string): Path | undefined {
  for (const [field, schema] of Object.entries(fieldsOf(name))) {
    if ("x-image" in schema) return [field];
    if ("x-image" in resolved(schema["items"] as Schema | undefined, SHARED)) return [field, ITEMS];
  }
  return undefined;
}

/** What a picture must be. */
export interface ImageRules {
  readonly formats: readonly string[];
  readonly maxBytes: number;
  readonly minSidePx: number;
  readonly ratioMin: number;
  readonly ratioMax: number;
}

const ratio = (text: unknown, missing: number): number => {
  const [width = 0, height = 0] = typeof text === "string" ? text.split(":").map(Number) : [missing, 1];
  return width / height;
};

/**
 * The limits of the model's first picture.
 *
 * @throws RequestInvalid it takes none.
 */
export function imageRules(name = DEFAULT_MODEL): ImageRules {
  const path = picturePath(name);
  const field = path && fieldsOf(name)[path[0] ?? ""];
  if (!path || !field) throw new RequestInvalid("image", `${name} takes no picture; leave IMAGE out`);
  const schema = path.length > 1 ? resolved(field["items"] as Schema, SHARED) : field;
  const rules = schema["x-image"] as Record<string, unknown>;
  return {
    formats: rules["formats"] as string[],
    maxBytes: Number(rules["max_bytes"]),
    minSidePx: Number(rules["min_side_px"] ?? 1),
    ratioMin: ratio(rules["ratio_min"], 0),
    ratioMax: ratio(rules["ratio_max"], Infinity),
  };
}

/**
 * *body* with the picture *url* in it, before those that it names already.
 *
 * @throws RequestInvalid the model takes no picture.
 */
export function withPicture(name: string, body: Body, url: string): Body {
  const [field = "", items] = picturePath(name) ?? [];
  if (field === "") throw new RequestInvalid("image", `${name} takes no picture; leave IMAGE out`);
  return { ...body, [field]: items ? [url, ...[body[field] ?? []].flat()] : url };
}

/**
 * Checks a create of any model against the model's file.
 *
 * @throws RequestInvalid the first value that it forbids.
 */
export function checkBody(name: string, body: Body): void {
  const schema = schemaOf(name);
  const [first] = [...problems(body, schema, SHARED), ...sums(schema, body), ...totals(schema, body)];
  if (first) throw new RequestInvalid(first.param ?? "body", withoutParam(first));
  for (const text of texts(body)) if (/\p{Surrogate}/u.test(text)) throw new RequestInvalid("body", "is not valid Unicode");
  const callback = body["callback_url"];
  if (typeof callback === "string") checkCallback(callback);
  for (const text of texts(body))
    if (/^https?:\/\//i.test(text) && !/\s/.test(text) && !isEscaped(text))
      throw new RequestInvalid("body", "holds a URL whose percent sign is not followed by two digits");
}

const withoutParam = ({ param, message }: Problem): string =>
  param !== undefined && message.startsWith(`${param} `) ? message.slice(param.length + 1) : message;

function* texts(value: unknown): Generator<string> {
  if (typeof value === "string") yield value;
  else if (typeof value === "object" && value !== null) for (const each of Object.values(value)) yield* texts(each);
}

const stepsOf = (path: string): string[] => path.replaceAll(ITEMS, `.${ITEMS}`).split(".");

/** Every value that stands at *path* of *body*, with its own steps. */
function* valuesAt(body: unknown, path: Path, steps: (string | number)[] = []): Generator<[(string | number)[], unknown]> {
  const [first, ...rest] = path;
  if (first === undefined) yield [steps, body];
  else if (first === ITEMS && Array.isArray(body))
    for (const [at, item] of body.entries()) yield* valuesAt(item, rest, [...steps, at]);
  else if (typeof body === "object" && body !== null && !Array.isArray(body) && Object.hasOwn(body, first))
    yield* valuesAt((body as Body)[first], rest, [...steps, first]);
}

/** Numbers that must add up to a field (`x-sums`). */
function* sums(schema: Schema, body: Body): Generator<Problem> {
  const rules = (schema as { "x-sums"?: { of: string; equals: string }[] })["x-sums"] ?? [];
  for (const { of, equals } of rules) {
    const items = [...valuesAt(body, stepsOf(of))].map(([steps, value]) => [spelled(steps), Number(value)] as const);
    const [given] = [...valuesAt(body, stepsOf(equals))].map(([, value]) => value);
    const wanted = given ?? schemaAt(schema, stepsOf(equals))["default"];
    const total = items.reduce((sum, [, value]) => sum + value, 0);
    if (items.length === 0 || wanted === undefined || total === Number(wanted)) continue;
    const [over] = items.find(([, value]) => value > Number(wanted)) ?? [of.split(ITEMS, 1)[0]];
    yield { param: over, message: `must add up to the ${equals} of ${String(wanted)}, not to ${total}` };
  }
}

/** How many values may stand at several paths together (`x-totals`). */
function* totals(schema: Schema, body: Body): Generator<Problem> {
  interface Total {
    readonly of: string[];
    readonly max: number;
    readonly when?: Schema;
    readonly param?: string;
  }
  const rules = (schema as { "x-totals"?: Total[] })["x-totals"] ?? [];
  for (const { of, max, when, param } of rules) {
    if (when !== undefined && problems(body, when, SHARED).length > 0) continue;
    const filled = of.filter((path) => !valuesAt(body, stepsOf(path)).next().done);
    const total = of.reduce((sum, path) => sum + [...valuesAt(body, stepsOf(path))].length, 0);
    if (total <= max) continue;
    const names = filled.map((path) => path.replace(/\[\]$/, ""));
    yield { param: param ?? names.at(-1), message: `: ${names.join(" and ")} together are ${total}; at most ${max} are allowed` };
  }
}

/** The schema of the field at *path*; empty where there is none. */
function schemaAt(schema: Schema, path: Path): Body {
  return path.reduce<Body>((node, step) => {
    const inner = step === ITEMS ? node["items"] : ((node["properties"] ?? {}) as Body)[step];
    return resolved(inner as Schema | undefined, SHARED);
  }, resolved(schema, SHARED));
}

/**
 * The fields that `key=value` pairs set, each value of the type that the model's file wants. A dot leads into an object. A
 * value is a text where the file says so, else JSON where it reads as such. A list may be given as JSON, or item by item
 * with the same key.
 *
 * @throws RequestInvalid a pair is no pair, or names no field of the model.
 */
export function assigned(name: string, pairs: readonly string[]): Record<string, unknown> {
  const body: Record<string, unknown> = {};
  for (const pair of pairs) {
    const [, key = pair, text = ""] = /^([^=]*)=(.*)$/s.exec(pair) ?? [];
    const schema = key === pair || key.includes(ITEMS) ? {} : schemaAt(schemaOf(name), key.split("."));
    if (Object.keys(schema).length === 0 || isRefused(schema)) {
      const known = Object.keys(fieldsOf(name)).filter((field) => field !== "model");
      throw new RequestInvalid(key, `${name} has no such field; it has ${known.sort().join(", ")}`);
    }
    const steps = key.split(".");
    const last = steps.pop() ?? "";
    let holder = body;
    for (const step of steps) {
      const inner = (holder[step] ??= {});
      if (typeof inner !== "object" || Array.isArray(inner)) throw new RequestInvalid(key, `${step} is set as a whole already`);
      holder = inner as Record<string, unknown>;
    }
    holder[last] = valueOf(schema, text, holder[last]);
  }
  return body;
}

/** *text* as a value of the field; *before* is what an earlier pair gave it. */
function valueOf(schema: Body, text: string, before: unknown): unknown {
  if (schema["type"] === "string") return text;
  const value = jsonIn(text);
  if (schema["type"] !== "array" || Array.isArray(value)) return value;
  return [...(Array.isArray(before) ? (before as unknown[]) : []), value];
}

/** The JSON value in *text*, else the text as it is. */
function jsonIn(text: string): unknown {
  try {
    const value = JSON.parse(text) as unknown;
    return typeof value === "number" && !Number.isFinite(value) ? text : value;
  } catch {
    return text;
  }
}
