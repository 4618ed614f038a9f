/** JSON Schema as the contract's model files use it, with mistakes named as callers know the fields. */

import { isDeepStrictEqual } from "node:util";

export type Schema = boolean | { readonly [keyword: string]: unknown };
export type Schemas = Readonly<Record<string, Schema>>;
type Steps = readonly (string | number)[];
type Fields = Readonly<Record<string, unknown>>;

/** Why a value breaks its schema: the field at fault, where there is one, and a sentence. */
export interface Problem {
  readonly param: string | undefined;
  readonly message: string;
}

interface Found extends Problem {
  readonly depth: number;
  /** Whether it holds only because of other fields. */
  readonly isConditional: boolean;
}

const PREFIX = "#/components/schemas/";

const isObject = (value: unknown): value is Fields =>
  typeof value === "object" && value !== null && !Array.isArray(value);

/** *steps* as callers write a field: `model_params.multi_prompt[2].duration`. */
export const spelled = (steps: Steps): string =>
  steps
    .map((step) => (typeof step === "number" ? `[${step}]` : `.${step}`))
    .join("")
    .replace(/^\./, "");

/** *schema* with its own reference followed: the keywords of its own win, `properties` are joined. */
export function resolved(schema: Schema | undefined, schemas: Schemas): Fields {
  if (!isObject(schema)) return {};
  const { $ref, ...own } = schema;
  if (typeof $ref !== "string") return own;
  const target = resolved(schemas[$ref.slice(PREFIX.length)], schemas);
  const properties = { ...(target["properties"] as object), ...(own["properties"] as object) };
  return { ...target, ...own, ...(Object.keys(properties).length > 0 ? { properties } : {}) };
}

/**
 * Everything wrong with *value*, the plainest first: what is wrong whatever the other fields say, an outer field before an
 * inner one; then what only other fields ask for.
 */
export function problems(value: unknown, schema: Schema, schemas: Schemas): Problem[] {
  const found = [...new Judge(schemas).judge(value, schema, [], false)];
  const rank = ({ depth, isConditional }: Found): number => (isConditional ? 1e6 - depth : depth);
  return found.sort((one, other) => rank(one) - rank(other));
}

class Judge {
  constructor(private readonly schemas: Schemas) {}

  private fits(value: unknown, schema: Schema): boolean {
    return this.judge(value, schema, [], false).next().done === true;
  }

  *judge(value: unknown, schema: Schema, steps: Steps, isConditional: boolean): Generator<Found> {
    const name = spelled(steps);
    if (schema === true) return;
    if (schema === false) {
      yield found(steps, `${name} is not accepted${isConditional ? " together with the other fields" : ""}`, isConditional);
      return;
    }
    if (typeof schema["$ref"] === "string") {
      yield* this.judge(value, this.schemas[schema["$ref"].slice(PREFIX.length)] ?? true, steps, isConditional);
    }
    const fault = wrongType(value, schema) ?? wrongValue(value, schema) ?? this.wrongChoice(value, schema, isConditional);
    if (fault) yield found(steps, `${name || "the body"} ${fault}`, isConditional);
    if (isObject(value)) yield* this.members(value, schema, steps, isConditional);
    if (Array.isArray(value)) yield* this.items(value, schema, steps, isConditional);
    yield* this.conditions(value, schema, steps);
  }

  private wrongChoice(value: unknown, schema: Fields, isConditional: boolean): string | undefined {
    const count = (list: unknown): number => (list as Schema[]).filter((each) => this.fits(value, each)).length;
    if (schema["oneOf"] && count(schema["oneOf"]) !== 1) return `must be ${choices(schema["oneOf"] as Schema[])}`;
    if (schema["anyOf"] && count(schema["anyOf"]) === 0) return "fits none of the ways in which it can be given";
    if (schema["not"] !== undefined && this.fits(value, schema["not"] as Schema))
      return `is not accepted${isConditional ? " together with the other fields" : ""}`;
    return undefined;
  }

  private *members(value: Fields, schema: Fields, steps: Steps, isConditional: boolean): Generator<Found> {
    const properties = (schema["properties"] ?? {}) as Schemas;
    const missing = (names: readonly string[], asked: boolean): Found[] =>
      names
        .filter((name) => !Object.hasOwn(value, name))
        .map((name) => found([...steps, name], `${spelled([...steps, name])} is required`, asked));
    yield* missing((schema["required"] ?? []) as string[], isConditional);
    for (const [name, names] of Object.entries((schema["dependentRequired"] ?? {}) as Record<string, string[]>))
      if (Object.hasOwn(value, name)) yield* missing(names, true);
    for (const [name, member] of Object.entries(value)) {
      const inner = Object.hasOwn(properties, name) ? properties[name] : (schema["additionalProperties"] as Schema | undefined);
      if (inner !== undefined) yield* this.judge(member, inner, [...steps, name], isConditional);
    }
    const size = Object.keys(value).length;
    if (size < Number(schema["minProperties"] ?? 0) || size > Number(schema["maxProperties"] ?? Infinity))
      yield found(steps, `${spelled(steps)} has ${size} members`, isConditional);
  }

  private *items(value: readonly unknown[], schema: Fields, steps: Steps, isConditional: boolean): Generator<Found> {
    const [least, most] = [Number(schema["minItems"] ?? 0), Number(schema["maxItems"] ?? Infinity)];
    const name = spelled(steps);
    if (value.length < least) yield found(steps, `${name} must have at least ${least} items`, isConditional);
    if (value.length > most) yield found(steps, `${name} must have at most ${most} items`, isConditional);
    const isDouble = (item: unknown, at: number): boolean => value.slice(0, at).some((each) => isDeepStrictEqual(each, item));
    if (schema["uniqueItems"] === true && value.some(isDouble)) yield found(steps, `${name} has items twice`, isConditional);
    const items = schema["items"] as Schema | undefined;
    if (items === undefined) return;
    for (const [at, item] of value.entries()) yield* this.judge(item, items, [...steps, at], isConditional);
  }

  private *conditions(value: unknown, schema: Fields, steps: Steps): Generator<Found> {
    for (const each of (schema["allOf"] ?? []) as Schema[]) yield* this.judge(value, each, steps, true);
    if (schema["if"] === undefined) return;
    const next = schema[this.fits(value, schema["if"] as Schema) ? "then" : "else"] as Schema | undefined;
    if (next !== undefined) yield* this.judge(value, next, steps, true);
  }
}

const found = (steps: Steps, message: string, isConditional: boolean): Found => ({
  param: steps.length > 0 ? spelled(steps) : undefined,
  message,
  depth: steps.length,
  isConditional,
});

const choices = (list: readonly Schema[]): string =>
  list.map((each) => (isObject(each) ? JSON.stringify(each["const"]) : String(each))).join(" or ");

const KINDS: Readonly<Record<string, (value: unknown) => boolean>> = {
  string: (value) => typeof value === "string",
  integer: (value) => Number.isInteger(value),
  number: (value) => typeof value === "number" && Number.isFinite(value),
  boolean: (value) => typeof value === "boolean",
  array: Array.isArray,
  object: isObject,
  null: (value) => value === null,
};

function wrongType(value: unknown, schema: Fields): string | undefined {
  const kinds = [schema["type"] ?? []].flat() as string[];
  return kinds.length === 0 || kinds.some((kind) => KINDS[kind]?.(value)) ? undefined : `must be of type ${kinds.join(" or ")}`;
}

function wrongValue(value: unknown, schema: Fields): string | undefined {
  if ("const" in schema && !isDeepStrictEqual(value, schema["const"])) return `must be ${JSON.stringify(schema["const"])}`;
  const allowed = schema["enum"] as unknown[] | undefined;
  if (allowed && !allowed.some((each) => isDeepStrictEqual(each, value)))
    return `must be ${allowed.map((each) => JSON.stringify(each)).join(" or ")}`;
  if (typeof value === "string") return wrongText(value, schema);
  return typeof value === "number" ? wrongNumber(value, schema) : undefined;
}

function wrongText(value: string, schema: Fields): string | undefined {
  // Characters, not UTF-16 units: an emoji counts once.
  const length = [...value].length;
  if (length > Number(schema["maxLength"] ?? Infinity)) return `has ${length} characters, more than ${String(schema["maxLength"])}`;
  if (length < Number(schema["minLength"] ?? 0)) return `must have at least ${String(schema["minLength"])} characters`;
  if (typeof schema["pattern"] === "string" && !new RegExp(schema["pattern"], "u").test(value))
    return `must match ${schema["pattern"]}`;
  return undefined;
}

function wrongNumber(value: number, schema: Fields): string | undefined {
  const bound = (name: string, missing: number): number => Number(schema[name] ?? missing);
  if (value < bound("minimum", -Infinity)) return `must be at least ${String(schema["minimum"])}`;
  if (value > bound("maximum", Infinity)) return `must be at most ${String(schema["maximum"])}`;
  if (value <= bound("exclusiveMinimum", -Infinity)) return `must be above ${String(schema["exclusiveMinimum"])}`;
  if (value >= bound("exclusiveMaximum", Infinity)) return `must be below ${String(schema["exclusiveMaximum"])}`;
  const step = Number(schema["multipleOf"] ?? 0);
  return step > 0 && !Number.isInteger(value / step) ? `must be a multiple of ${step}` : undefined;
}
