/** From a first frame to a saved video, resumable at every step. */

import { constants } from "node:fs";
import { access, stat } from "node:fs/promises";
import { dirname, resolve } from "node:path";

import { type KlingClient, type Hooks, isUrl } from "./client.js";
import { ConfigError, CreateOutcomeUnknown, KlingError, RequestInvalid, TaskFailed } from "./errors.js";
import { readFrame } from "./image.js";
import { type Receiver } from "./receiver.js";
import { type RunRecord, Slot, digest } from "./state.js";
import { type TaskView } from "./task.js";
import { type VideoRequest, createBody } from "./validate.js";

type EventKind =
  "uploading" | "creating" | "accepted" | "resuming" | "status" | "trouble" | "downloading" | "bytes" | "saved";

/** What happens: `task` where one is known, `text` for people. */
export interface GenerationEvent {
  readonly kind: EventKind;
  readonly text: string;
  readonly task?: TaskView;
}

/** A completed task, and where its videos were saved. */
export interface Video {
  readonly task: TaskView;
  readonly paths: readonly string[];
}

/** What the user asked for. */
export interface Wishes {
  /** A URL or a local file. */
  readonly image: string;
  /** The create's other fields, by their names in the API. */
  readonly fields: Omit<VideoRequest, "image_start">;
  readonly idempotencyKey?: string | undefined;
  /** Forget what was begun for the file before, and create. */
  readonly fresh?: boolean | undefined;
  /** Replace a file that is there. */
  readonly overwrite?: boolean | undefined;
  /** Send a create that an earlier run lost once more, under its own Idempotency-Key. */
  readonly repeatLostCreate?: boolean | undefined;
}

export interface GenerationOptions {
  /** Hears callbacks, so that the wait ends early; polling goes on all the same. */
  readonly receiver?: Receiver | undefined;
  readonly onEvent?: ((event: GenerationEvent) => void) | undefined;
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
    this.slot = new Slot(this.out);
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
    return this.slot.held(() => {
      this.tell("resuming", `${taskId}: resuming`);
      return this.finish(taskId, false, true);
    });
  }

  /** The task that is owed already, or a new one. */
  private async resumeOrCreate(wishes: Wishes): Promise<{ id: string; atOnce: boolean }> {
    if (wishes.fresh) await this.slot.clear();
    const name = digest(this.client.baseUrl, { image: wishes.image, ...wishes.fields });
    const record = await this.slot.read();
    if (!record) return { id: await this.createNew(wishes, name), atOnce: false };
    if (record.digest !== name) {
      const about = record.task_id ? `task ${record.task_id}` : "a create whose outcome is not known";
      throw new RequestInvalid(
        "out",
        `${this.slot.path} is about another request (${about}); resume it, or start anew with --new`,
      );
    }
    if (record.task_id === null) return { id: await this.repeatLost(record, wishes), atOnce: false };
    this.tell("resuming", `${record.task_id}: resuming, nothing new is created`);
    return { id: record.task_id, atOnce: true };
  }

  /** A new task. Everything that needs no money is checked before the first byte is sent. */
  private async createNew(wishes: Wishes, name: string): Promise<string> {
    if (!isUrl(wishes.image)) {
      createBody({ ...wishes.fields, image_start: this.client.baseUrl });
      await readFrame(wishes.image);
      this.tell("uploading", `uploading ${wishes.image}`);
    }
    const body = createBody({ ...wishes.fields, image_start: await this.client.frameUrl(wishes.image, this.hooks) });
    const key = wishes.idempotencyKey ?? this.client.newIdempotencyKey();
    return this.send({
      phase: "creating",
      digest: name,
      idempotency_key: key,
      base_url: this.client.baseUrl,
      body,
      task_id: null,
    });
  }

  /** What an earlier run sent without hearing of it: again with the same key, but only when the user says so. */
  private async repeatLost(record: RunRecord, wishes: Wishes): Promise<string> {
    const { idempotency_key: key } = record;
    if (wishes.idempotencyKey === key || wishes.repeatLostCreate) return this.send(record);
    const choice = `--idempotency-key ${key} sends it again under the same key, --new starts anew`;
    throw new CreateOutcomeUnknown(key, new ConfigError(`an earlier run sent it and never learned more; ${choice}`));
  }

  /** Sends a create, with its record on disk before and its id on disk after. */
  private async send(record: RunRecord): Promise<string> {
    await this.slot.write(record);
    this.tell("creating", "sending the create");
    const { model: _model, ...request } = record.body;
    const sent = this.client.create(request, { ...this.hooks, idempotencyKey: record.idempotency_key });
    const { task } = await sent.catch(async (error: unknown) => {
      // Refused, or never sent: nothing is owed. A lost outcome keeps the record, and so does what nobody foresaw.
      if (error instanceof KlingError && !(error instanceof CreateOutcomeUnknown)) await this.slot.clear();
      throw error;
    });
    this.tell("accepted", `${task.id} accepted${charge(task)}`, task);
    await this.slot.write({ ...record, phase: "accepted", task_id: task.id });
    return task.id;
  }

  /** Waits and saves. What is over leaves no record; what is not over leaves one to resume. */
  private async finish(taskId: string, fresh: boolean, atOnce: boolean): Promise<Video> {
    try {
      const task = await this.heard(taskId, fresh, atOnce);
      const paths = await this.save(task);
      await this.slot.clear();
      this.tell("saved", `saved ${paths.join(", ")}`, task);
      return { task, paths };
    } catch (error) {
      if (error instanceof KlingError) error.taskId = taskId;
      if (error instanceof TaskFailed) await this.slot.clear();
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
      paths.push(...(await this.client.save(task, this.out, this.hooks)));
    };
    const { once } = this.options.receiver ?? {};
    if (once) await once.run(task.id, effect);
    else await effect();
    if (paths.length === 0) throw new ConfigError(`${task.id} was handled before, by the same receiver`);
    return paths;
  }

  private tell(kind: EventKind, text: string, task?: TaskView): void {
    this.options.onEvent?.({ kind, text, ...(task ? { task } : {}) });
  }

  /** Lets an output file pass that can be written, before anything costs money. */
  private async checkOut(overwrite: boolean): Promise<void> {
    const folder = dirname(this.out);
    const kind = await stat(folder).catch(() => undefined);
    if (!kind?.isDirectory()) throw new ConfigError(`there is no folder ${folder}`);
    await access(folder, constants.W_OK).catch(() => {
      throw new ConfigError(`the folder ${folder} cannot be written`);
    });
    const there = await stat(this.out).catch(() => undefined);
    if (there?.isDirectory()) throw new ConfigError(`${this.out} is a folder`);
    if (there && there.size > 0 && !overwrite)
      throw new ConfigError(`${this.out} is there already; --overwrite replaces it`);
  }
}

/** What it costs, where the answer says so. */
function charge({ creditsUsed, creditsReserved }: TaskView): string {
  if (creditsUsed !== undefined) return `, ${creditsUsed} credits used`;
  return creditsReserved === undefined ? "" : `, ${creditsReserved} credits reserved`;
}
