/** From a first frame to a saved video, resumable at every step. */

import { constants } from "node:fs";
import { access, stat } from "node:fs/promises";
import { dirname, resolve } from "node:path";

import { KlingClient, type Hooks, isUrl } from "./client.js";
import { CONTRACT } from "./contract.js";
import { checkIdempotencyKey } from "./create.js";
import type { Step } from "./download.js";
import { ConfigError, CreateOutcomeUnknown, KlingError, RequestInvalid, TaskFailed } from "./errors.js";
import { DEFAULT_MODEL } from "./fields.js";
import { readFrame } from "./image.js";
import { type Receiver } from "./receiver.js";
import { type RunRecord, Slot, isAbout, subject, wanted } from "./state.js";
import { type TaskView, isCompleted } from "./task.js";
import type { ModelRequest, VideoRequest } from "./validate.js";

export type EventKind =
  "uploading" | "creating" | "accepted" | "resuming" | "status" | "trouble" | "downloading" | "bytes" | "saved";

/** What happens: `task` where one is known, `text` for people, `video` once it is saved. */
export interface GenerationEvent {
  readonly kind: EventKind;
  readonly text: string;
  readonly task?: TaskView;
  readonly video?: Video;
}

/** A completed task, and where its videos were saved; nowhere, if another holder of the receiver's ledger acted first. */
export interface Video {
  readonly task: TaskView;
  readonly paths: readonly string[];
}

/** What the user asked for. */
export interface Wishes {
  /** A URL or a local file; undefined for a model that needs none. */
  readonly image: string | undefined;
  /** The create's other fields, by their names in the API. */
  readonly fields: Omit<VideoRequest, "image_start"> | ModelRequest;
  readonly idempotencyKey?: string | undefined;
  /** Forget what was begun for the file before, and create. */
  readonly fresh?: boolean | undefined;
  /** Replace a file that is there. */
  readonly overwrite?: boolean | undefined;
  /** Send a create that an earlier run lost once more, under its own Idempotency-Key; else as the client is set. */
  readonly repeatLostCreate?: boolean | undefined;
}

export interface GenerationOptions {
  /** Hears callbacks, so that the wait ends early; polling goes on all the same. */
  readonly receiver?: Receiver | undefined;
  readonly onEvent?: ((event: GenerationEvent) => void) | undefined;
  /** Hears for each video that it is fetched, and that it gets its final name. */
  readonly onStep?: ((step: Step) => void) | undefined;
}

/** One run for one output file. */
export class Generation {
  private readonly slot: Slot;
  private readonly out: string;
  private readonly deadline: number;
  private readonly hooks: Hooks;

  /** @param out the file; its folder must exist. */
  constructor(
    private readonly client: KlingClient,
    out: string,
    private readonly options: GenerationOptions = {},
  ) {
    this.out = resolve(out);
    this.slot = new Slot(this.out, client.clock);
    this.deadline = client.deadlineFromNow();
    this.hooks = {
      deadline: this.deadline,
      onRead: (task) =>
        this.tell(
          "status",
          `${task.id} ${task.status}${task.progress === undefined ? "" : ` ${task.progress}%`}`,
          task,
        ),
      onTrouble: (text) => this.tell("trouble", text),
      onBytes: (received, total) => this.tell("bytes", `${received}${total === undefined ? "" : ` of ${total}`} bytes`),
    };
  }

  /**
   * Creates or resumes, waits, saves. The task's id is on disk beside the file before it is read for the first time.
   *
   * @throws KlingError any of the tree. While a task is owed, its record stays beside the file.
   */
  async run(wishes: Wishes): Promise<Video> {
    await this.checkOut(wishes.overwrite ?? false);
    return this.slot.held(async () => {
      // Once more, inside: another run may have finished it between.
      await this.checkOut(wishes.overwrite ?? false);
      const { id, atOnce } = await this.resumeOrCreate(wishes);
      return this.finish(id, true, atOnce);
    });
  }

  /**
   * Waits for a task that exists, and saves its video.
   *
   * @throws KlingError any of the tree but those of a create.
   */
  async resume(taskId: string, overwrite = false): Promise<Video> {
    await this.checkOut(overwrite);
    return this.slot.held(async () => {
      const record = await this.slot.read();
      if (record && record.task_id !== null && record.task_id !== taskId) {
        const advice = "resume that one, or give another --out";
        throw new RequestInvalid("out", `${this.slot.path} is about ${subject(record)}; ${advice}`);
      }
      this.tell("resuming", `${taskId}: resuming`);
      return this.finish(taskId, record !== undefined, true);
    });
  }

  /** The task that is owed already, or a new one. */
  private async resumeOrCreate(wishes: Wishes): Promise<{ id: string; atOnce: boolean }> {
    const other = this.client.model === DEFAULT_MODEL ? {} : { model: this.client.model };
    const request = wanted(wishes.image, { ...other, ...wishes.fields });
    const record = await this.begun(wishes);
    if (!record || wishes.fresh) return { id: await this.createNew(wishes, request, record), atOnce: false };
    if (!isAbout(record, this.client.baseUrl, request)) {
      const advice = "resume it, or start anew with --new";
      throw new RequestInvalid("out", `${this.slot.path} is about another request (${subject(record)}); ${advice}`);
    }
    if (record.task_id === null) return { id: await this.repeatLost(record, wishes), atOnce: false };
    this.tell("resuming", `${record.task_id}: resuming, nothing new is created`);
    return { id: record.task_id, atOnce: true };
  }

  /** The record of an earlier run. One that cannot be read stops the run, unless it is to be forgotten. */
  private async begun(wishes: Wishes): Promise<RunRecord | undefined> {
    try {
      return await this.slot.read();
    } catch (error) {
      if (!wishes.fresh) throw error;
      await this.slot.clear();
      return undefined;
    }
  }

  /** A new task. Everything that needs no money is checked before the first byte is sent. */
  private async createNew(
    wishes: Wishes,
    request: Readonly<Record<string, unknown>>,
    before: RunRecord | undefined,
  ): Promise<string> {
    const key = wishes.idempotencyKey ?? this.client.newIdempotencyKey();
    checkIdempotencyKey(key);
    const { image } = wishes;
    if (image !== undefined && !isUrl(image)) {
      this.client.body(CONTRACT.server, wishes.fields);
      await readFrame(image, this.client.model);
      this.tell("uploading", `uploading ${image}`);
    }
    const url = image === undefined ? undefined : await this.client.frameUrl(image, this.hooks);
    const body = this.client.body(url, wishes.fields);
    const base_url = this.client.baseUrl;
    const record: RunRecord = { phase: "creating", request, idempotency_key: key, base_url, body, task_id: null };
    await (before ? this.slot.write(record) : this.slot.begin(record));
    return this.send(record, before);
  }

  /** What an earlier run sent without an answer: again with the same key, and only when the user allows it. */
  private async repeatLost(record: RunRecord, wishes: Wishes): Promise<string> {
    const { idempotency_key: key } = record;
    const isAllowed = wishes.repeatLostCreate ?? this.client.repeatsLostCreate;
    if (wishes.idempotencyKey !== key && !isAllowed) {
      const choice = `--idempotency-key ${key} sends it again under the same key, --new starts anew`;
      throw new CreateOutcomeUnknown(key, new ConfigError(`an earlier run sent it and never learned more; ${choice}`));
    }
    return this.send(record, record).catch((error: unknown) => {
      // What became of this attempt says nothing about the one before.
      throw error instanceof KlingError && !(error instanceof CreateOutcomeUnknown)
        ? new CreateOutcomeUnknown(key, error)
        : error;
    });
  }

  /**
   * Sends a create whose *record* is on disk, and puts its id there afterwards. A create that was refused, or surely
   * never sent, leaves the record from *before*; a lost outcome keeps its own, and so does what was not foreseen.
   */
  private async send(record: RunRecord, before: RunRecord | undefined): Promise<string> {
    this.tell("creating", "sending the create");
    const { model: _model, ...request } = record.body;
    const sent = this.client.create(request, { ...this.hooks, idempotencyKey: record.idempotency_key });
    const { task } = await sent.catch(async (error: unknown) => {
      if (error instanceof KlingError && !(error instanceof CreateOutcomeUnknown)) {
        if (!before) await this.slot.clear();
        else if (before !== record) await this.slot.write(before);
      }
      throw error;
    });
    // The video is paid for, so the run goes on; only a run after this one would not find the task's id.
    const kept = this.slot.write({ ...record, phase: "accepted", task_id: task.id });
    const trouble = await kept.then(
      () => "",
      (error: Error) => `; ${error.message}`,
    );
    this.tell("accepted", `${task.id} accepted${charge(task)}${trouble}`, task);
    return task.id;
  }

  /** Waits and saves. What is over leaves no record; what is not over leaves one to resume. */
  private async finish(taskId: string, fresh: boolean, atOnce: boolean): Promise<Video> {
    try {
      const task = await this.heard(taskId, fresh, atOnce);
      const video = { task, paths: await this.save(task) };
      await this.slot.clear();
      const made = task.elementId === undefined ? "by another" : `element ${task.elementId}`;
      this.tell("saved", `saved ${video.paths.join(", ") || made}`, task, video);
      return video;
    } catch (error) {
      if (error instanceof KlingError) error.taskId = taskId;
      // The record of a create that may be another task's stays.
      if (error instanceof TaskFailed && (await this.slot.read())?.task_id === taskId) await this.slot.clear();
      throw error;
    }
  }

  /** The task when it is terminal; a callback may shorten the wait. */
  private async heard(taskId: string, fresh: boolean, atOnce: boolean): Promise<TaskView> {
    const watch = this.options.receiver?.watch(taskId);
    try {
      return await this.client.wait(taskId, fresh, { ...this.hooks, atOnce, bell: watch?.bell });
    } finally {
      watch?.end();
    }
  }

  /** The effect of this run: once for a task, whoever else shares the receiver's ledger. */
  private async save(task: TaskView): Promise<readonly string[]> {
    const paths: string[] = [];
    const effect = async (): Promise<void> => {
      if (task.results.length > 0) this.tell("downloading", `${task.id} ${task.status}${charge(task)}, saving`, task);
      // A task that makes an element names it in place of a link.
      if (task.results.length === 0 && task.elementId !== undefined && isCompleted(task)) return;
      const { onStep } = this.options;
      paths.push(...(await this.client.save(task, this.out, { ...this.hooks, onStep })));
    };
    const { once } = this.options.receiver ?? {};
    if (once) await once.run(task.id, effect);
    else await effect();
    return paths;
  }

  private tell(kind: EventKind, text: string, task?: TaskView, video?: Video): void {
    this.options.onEvent?.({ kind, text, ...(task ? { task } : {}), ...(video ? { video } : {}) });
  }

  /** Checks that the output file can be written, before anything costs money. */
  private async checkOut(overwrite: boolean): Promise<void> {
    const folder = dirname(this.out);
    const kind = await stat(folder).catch(() => undefined);
    if (!kind?.isDirectory()) throw new ConfigError(`there is no folder ${folder}`);
    await access(folder, constants.W_OK).catch(() => {
      throw new ConfigError(`the folder ${folder} cannot be written`);
    });
    const there = await stat(this.out).catch(() => undefined);
    if (there?.isDirectory()) throw new ConfigError(`${this.out} is a folder`);
    if (there && !there.isFile()) throw new ConfigError(`${this.out} is not a regular file; give another --out`);
    if (there && there.size > 0 && !overwrite)
      throw new ConfigError(`${this.out} is there already; --overwrite replaces it`);
  }
}

/** What it costs, where the answer says so. */
function charge({ creditsUsed, creditsReserved }: TaskView): string {
  if (creditsUsed !== undefined) return `, ${creditsUsed} credits used`;
  return creditsReserved === undefined ? "" : `, ${creditsReserved} credits reserved`;
}

/** What `generate` takes after image and output. */
export interface GenerateOptions extends Omit<Wishes, "image" | "fields">, GenerationOptions, Omit<VideoRequest, "image_start"> {
  /** The account; else one made from KLING_API_KEY and KLING_BASE_URL. */
  readonly client?: KlingClient | undefined;
  /** Another model of the family, where `client` is not given. */
  readonly model?: string | undefined;
  /** Fields of that model that have no member here. */
  readonly further?: ModelRequest | undefined;
}

/**
 * Makes a video from a first frame, a URL or a local file, and saves it as *out*. Called again after an interruption, it
 * goes on and creates nothing.
 *
 * @throws KlingError any of the tree; `TaskFailed`, `GaveUp` and `CreateOutcomeUnknown` are the ones to expect.
 */
export async function generate(image: string | undefined, out: string, options: GenerateOptions = {}): Promise<Video> {
  const { client, model, further, receiver, onEvent, onStep, idempotencyKey, fresh, overwrite, repeatLostCreate, ...fields } = options;
  const generation = new Generation(client ?? new KlingClient({ model }), out, { receiver, onEvent, onStep });
  return generation.run({ image, fields: { ...further, ...fields }, idempotencyKey, fresh, overwrite, repeatLostCreate });
}
