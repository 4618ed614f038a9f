/** A create, checked against the contract before anything is sent. */

import { checkCallback, isEscaped } from "./address.js";
import { CONTRACT, type CreateVideo } from "./contract.js";
import { RequestInvalid } from "./errors.js";
import { DEFAULT_MODEL, checkBody } from "./fields.js";

/** The keywords that the generator keeps of a field's schema. */
interface FieldRules {
  readonly type?: string;
  readonly const?: string;
  readonly enum?: readonly string[];
  readonly minimum?: number;
  readonly maximum?: number;
  readonly maxLength?: number;
  readonly pattern?: string;
  readonly format?: string;
}

const FIELDS: Readonly<Record<string, FieldRules>> = CONTRACT.create.fields;
const REFUSED: readonly string[] = CONTRACT.create.refused;

/** What a user may ask for: the contract's create without the model, which the client fills in. */
export type VideoRequest = Omit<CreateVideo, "model">;

/** The fields of another model, by their names in the API; its file in openapi/models says what they are. */
export type ModelRequest = Readonly<Record<string, unknown>>;

/**
 * The body of a create for *request*: only what was set, and the model.
 *
 * @throws RequestInvalid the first value that the contract forbids.
 */
export function createBody(request: VideoRequest | ModelRequest, model = DEFAULT_MODEL): CreateVideo {
  const set = Object.entries(request).filter(([, value]) => value !== undefined);
  const body: Record<string, unknown> = { model, ...Object.fromEntries(set) };
  if (model !== DEFAULT_MODEL) {
    checkBody(model, body);
    return body as unknown as CreateVideo;
  }
  for (const [name, value] of Object.entries(body)) checkField(name, value);
  for (const name of CONTRACT.create.required) {
    if (!(name in body)) throw new RequestInvalid(name, "is required");
  }
  if (typeof body["callback_url"] === "string") checkCallback(body["callback_url"]);
  return body as unknown as CreateVideo;
}

function checkField(name: string, value: unknown): void {
  const rules = Object.hasOwn(FIELDS, name) ? FIELDS[name] : undefined;
  if (REFUSED.includes(name)) throw new RequestInvalid(name, "is not taken by this model");
  if (!rules) throw new RequestInvalid(name, "is not a field of the contract");
  const wrong = rules.type === "integer" ? integerFault(value, rules) : stringFault(value, rules);
  if (wrong) throw new RequestInvalid(name, wrong);
}

function integerFault(value: unknown, { minimum = -Infinity, maximum = Infinity }: FieldRules): string | undefined {
  if (typeof value !== "number" || !Number.isInteger(value)) return "must be a whole number";
  if (value < minimum || value > maximum) return `${value} is outside ${minimum} to ${maximum}`;
  return undefined;
}

function stringFault(value: unknown, rules: FieldRules): string | undefined {
  if (typeof value !== "string") return "must be a string";
  if (/\p{Surrogate}/u.test(value)) return "is not valid Unicode";
  const allowed = rules.const === undefined ? rules.enum : [rules.const];
  if (allowed && !allowed.includes(value)) return `must be ${allowed.join(" or ")}`;
  // Characters, not UTF-16 units: an emoji counts once.
  if (rules.maxLength !== undefined && [...value].length > rules.maxLength) {
    return `longer than ${rules.maxLength} characters`;
  }
  if (rules.pattern !== undefined && !new RegExp(rules.pattern, "u").test(value)) return "must be an http(s) address";
  if (rules.format === "uri" && !isEscaped(value)) return "is not a URI: a percent sign must be followed by two digits";
  return undefined;
}
