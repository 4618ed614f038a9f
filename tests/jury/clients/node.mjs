// Clients for Node: `node node.mjs NAME`. Right ones differ in how they wait; broken ones have one defect each.
import { createWriteStream, promises as fs } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';

const env = process.env;
const name = process.argv[2];
const key = env.KLING_API_KEY;
const pause = Number(env.KLING_MIN_POLL) * 1050;
const until = Date.now() + Number(env.KLING_DEADLINE) * 1000;
const base = name === 'keeps-slash' ? env.KLING_BASE_URL : env.KLING_BASE_URL.replace(/\/+$/, '');

class End extends Error {
  constructor(code, message) { super(message); this.code = code; }
}

const left = () => until - Date.now();

async function call(method, path, body) {
  const signal = AbortSignal.timeout(Math.max(100, Math.min(20000, left())));
  const headers = { authorization: `Bearer ${key}`, 'content-type': 'application/json', 'user-agent': 'jury-node/1' };
  try {
    const response = await fetch(base + path, { method, headers, body: body && JSON.stringify(body), signal, redirect: 'manual' });
    const text = await response.text();
    let json = null;
    try { json = JSON.parse(text); } catch { /* a page */ }
    return { status: response.status, json, headers: response.headers };
  } catch { return null; }
}

function asked(response) {
  const value = response?.headers.get('retry-after') ?? '';
  if (/^\d+$/.test(value)) return Number(value) * 1000;
  const date = Date.parse(value);
  return Number.isNaN(date) ? 0 : Math.max(0, date - Date.now() + 300);
}

async function rest(ms, what) {
  if (ms >= left()) throw new End(5, `gave up on ${what}: it may still be running`);
  await sleep(ms);
}

async function create() {
  const body = { model: 'kling-v3-turbo-image-to-video', image_start: env.KLING_IMAGE };
  if (env.KLING_PROMPT) body.prompt = env.KLING_PROMPT;
  if (env.KLING_QUALITY) body.quality = env.KLING_QUALITY;
  if (env.KLING_DURATION) body.duration = Number(env.KLING_DURATION);
  for (let attempt = 0; attempt < 4; attempt += 1) {
    const response = await call('POST', '/v1/videos/generations', body);
    if (response?.status === 200 && response.json?.id) return response.json.id;
    if (response?.status === 429) { await rest(Math.max(asked(response), pause * 2 ** attempt), 'the request'); continue; }
    if (response && response.status >= 400 && response.status < 500) throw new End(4, `${response.status}: refused, credits or key`);
    throw new End(6, 'no good response to the create: a task may have been made');
  }
  throw new End(7, 'rate limited too often');
}

function nextWait(reads) {
  if (name === 'jitter') return pause * (1 + 0.4 * Math.random());
  if (name === 'no-pause') return 0;
  return pause * (name === 'doubling' ? Math.min(4, 2 ** reads) : 1);
}

async function wait(id) {
  let errors = 0;
  let missing = 0;
  for (let reads = 0; ; reads += 1) {
    await rest(errors ? pause * Math.min(8, 2 ** errors) : nextWait(reads), id);
    const response = await call('GET', `/v1/tasks/${encodeURIComponent(id)}`);
    const task = response?.status === 200 ? response.json : null;
    if (task?.status) {
      errors = 0;
      if (['completed', 'failed', 'cancelled'].includes(task.status)) return task;
      continue;
    }
    if (response?.status === 404 && missing < 3 && !errors) { missing += 1; continue; }
    if (response && response.status >= 400 && response.status < 500 && response.status !== 429) {
      throw new End(4, `${id}: ${response.status}: the API key cannot read it`);
    }
    errors += 1;
    const more = asked(response) - pause * Math.min(8, 2 ** errors);
    if (more > 0) await rest(more, id);
  }
}

async function fetchVideo(link) {
  const response = await fetch(link, { signal: AbortSignal.timeout(Math.max(500, Math.min(30000, left()))) });
  if ([403, 404, 410].includes(response.status)) return null;
  if (response.status !== 200) throw new Error('status');
  const part = `${env.KLING_OUT}.part`;
  const file = createWriteStream(part);
  let size = 0;
  for await (const chunk of response.body) {
    size += chunk.length;
    if (size > 32 << 20) { file.destroy(); throw new End(8, 'the video is too long'); }
    if (!file.write(chunk)) await new Promise((done) => { file.once('drain', done); });
  }
  await new Promise((done) => { file.end(done); });
  return part;
}

async function save(id, shown) {
  let task = shown;
  if (task.status !== 'completed') throw new End(3, `${id}: ${task.error?.code}: ${task.error?.message}`);
  for (let attempt = 0; attempt < 3; attempt += 1) {
    const link = (task.results ?? [])[0];
    if (!link) throw new End(3, `${id} is completed, but has no results`);
    let part;
    try { part = await fetchVideo(link); } catch (error) {
      if (error instanceof End) throw error;
      await rest(pause * 2 ** attempt, id);
      continue;
    }
    if (part === null && attempt) break;
    if (part === null) { task = (await call('GET', `/v1/tasks/${encodeURIComponent(id)}`))?.json ?? task; continue; }
    const head = Buffer.alloc(8);
    const file = await fs.open(part);
    await file.read(head, 0, 8, 0);
    await file.close();
    if (head.toString('latin1', 4) !== 'ftyp') throw new End(8, 'the link serves no video');
    await fs.rename(part, env.KLING_OUT);
    return;
  }
  throw new End(8, `${id} is completed, but its video cannot be saved`);
}

try {
  if (/^http:\/\/(?!127\.0\.0\.1|localhost)/.test(base)) throw new End(4, 'the base URL is not encrypted');
  let id = await create();
  console.log(`task ${id}`);
  let task = await wait(id);
  if (name === 'creates-again' && task.status === 'failed') { id = await create(); task = await wait(id); }
  await save(id, task);
} catch (error) {
  console.error(error.message);
  process.exitCode = error.code && Number.isInteger(error.code) ? error.code : 9;
}
