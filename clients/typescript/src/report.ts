/**
 * What the command says while it works and when it is done: to people on stderr, to programs on stdout and in
 * KLING_RESULT.
 */

import { renameSync, statSync, writeFileSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import type { Writable } from "node:stream";

import { blot } from "./api.js";
import type { KlingError, Outcome } from "./errors.js";
import type { GenerationEvent, Video } from "./generation.js";
import type { TaskView } from "./task.js";

/** Where a command writes. */
export interface Streams {
  readonly out: Writable;
  readonly err: Writable & { readonly isTTY?: boolean };
}

const BAR_WIDTH = 30;
const LONGEST_LINE = 2000;

/** *text* on one line, without control characters. */
const oneLine = (text: string): string =>
  text
    .replace(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]+/gu, " ")
    .trim()
    .slice(0, LONGEST_LINE);

/** One run's outcome, in the words of the result file. */
export class Report {
  asJson = false;
  /** Keys that must never be printed. */
  secrets: string[] = [];
  outcome: Outcome = "failed";
  taskId: string | null = null;
  private task: TaskView | undefined;
  private files: readonly string[] = [];
  private effects = 0;
  private error: Record<string, unknown> | null = null;
  private last = "";
  /** Whether a create has been begun and not been answered. */
  isCreating = false;
  /** Whether a whole video is getting its final name: stopping now would report a file that is there as missing. */
  isSaving = false;
  private settle: () => void = () => undefined;
  /** Settles when there is a video. */
  readonly saved = new Promise<void>((resolve) => {
    this.settle = resolve;
  });

  constructor(
    private readonly streams: Streams,
    private readonly resultFile: string | undefined,
  ) {}

  /** Prints one line for people. */
  say(text: string): void {
    this.print(this.streams.err, oneLine(this.hide(text)));
  }

  /** Prints one line for programs. */
  answer(text: string): void {
    this.print(this.streams.out, oneLine(this.hide(text)));
  }

  /** Prints one JSON value for programs. */
  json(value: unknown): void {
    this.print(this.streams.out, this.jsonOf(value));
  }

  private print(stream: Writable, text: string): void {
    stream.write(`${text}\n`);
  }

  private hide(text: string): string {
    return this.secrets.reduce(blot, text);
  }

  /** *value* as JSON, without keys: hidden in each text, since JSON may spell a key in another way. */
  private jsonOf(value: unknown): string {
    return JSON.stringify(this.hidden(value));
  }

  private hidden(value: unknown): unknown {
    if (typeof value === "string") return this.hide(value);
    if (Array.isArray(value)) return value.map((each) => this.hidden(each));
    if (typeof value !== "object" || value === null) return value;
    return Object.fromEntries(Object.entries(value).map(([name, each]) => [this.hide(name), this.hidden(each)]));
  }

  /** There is a video. */
  completed({ task, paths }: Video): void {
    Object.assign(this, { outcome: "completed", task, taskId: task.id, files: paths, effects: 1, error: null });
    this.settle();
  }

  /** There is none, and this is why. */
  failed(error: KlingError): void {
    Object.assign(this, { outcome: error.outcome, error: error.facts(), taskId: error.taskId ?? this.taskId });
  }

  /** Tells of *event*: a bar where stderr is a terminal, lines elsewhere, each only when it says something new. */
  seen({ kind, text, task, video }: GenerationEvent): void {
    if (video) this.completed(video);
    if (task) Object.assign(this, { task, taskId: task.id });
    if (kind === "creating" || kind === "accepted") this.isCreating = kind === "creating";
    const isTerminal = this.streams.err.isTTY === true;
    if (isTerminal && (kind === "status" || kind === "bytes"))
      this.draw(kind === "bytes" ? text : (task?.status ?? ""));
    else if (kind !== "bytes" && kind !== "saved" && text !== this.last) {
      if (isTerminal) this.streams.err.write("\r\x1b[K");
      this.say(text);
    }
    this.last = text;
  }

  private draw(label: string): void {
    // The service may take progress back when a task fails; the bar shows what it says.
    const percent = Math.min(100, Math.max(0, this.task?.progress ?? 0));
    const done = Math.round((percent / 100) * BAR_WIDTH);
    const bar = "█".repeat(done) + "░".repeat(BAR_WIDTH - done);
    this.streams.err.write(`\r\x1b[K${bar} ${String(percent).padStart(3)}% ${this.hide(oneLine(label))}`);
  }

  /** Writes the result file, where one is asked for, and the JSON answer or the names of the files. */
  finish(): void {
    if (this.streams.err.isTTY) this.streams.err.write("\r\x1b[K");
    const facts = { outcome: this.outcome, task_id: this.taskId, effects: this.effects, error: this.error };
    if (this.resultFile) this.write(this.resultFile, facts);
    if (this.asJson) this.json({ ...facts, files: this.files, task: this.task?.raw ?? null });
    else for (const file of this.files) this.answer(file);
  }

  /** The result file, whole or not at all; what is no regular file is written to as it is. */
  private write(path: string, facts: object): void {
    const part = join(dirname(path), `.${basename(path)}.part`);
    try {
      const there = statSync(path, { throwIfNoEntry: false });
      if (there && !there.isFile()) return writeFileSync(path, this.jsonOf(facts));
      writeFileSync(part, this.jsonOf(facts));
      renameSync(part, path);
    } catch (error) {
      this.say(`kling: cannot write KLING_RESULT (${(error as NodeJS.ErrnoException).code ?? String(error)})`);
    }
  }
}
