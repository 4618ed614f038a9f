// A video edited, with fetch, time limits on every call and a streamed download: kling-o3-video-edit.
import { createWriteStream } from 'node:fs';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { setTimeout as pause } from 'node:timers/promises';

const base = new URL('https://api.evolink.ai/');
const key = process.env.EVOLINK_API_KEY;

async function api(path, init = {}) {
  const answer = await fetch(new URL(path, base), {
    ...init,
    headers: { authorization: `Bearer ${key}`, ...(init.body ? { 'content-type': 'application/json' } : {}) },
    signal: AbortSignal.timeout(30_000),
  });
  const body = await answer.json();
  if (!answer.ok) throw new Error(`${answer.status} ${body.error?.code} ${body.error?.param ?? ''}: ${body.error?.message}`);
  return body;
}

const input = { model: 'kling-o3-video-edit', prompt: 'Make it snow', video_url: 'https://video.test/1280x720-3s.mp4', keep_original_sound: false };
let task = await api('/v1/videos/generations', { method: 'POST', body: JSON.stringify(input) });
for (let tries = 0; tries < 300 && !/^(completed|failed)$/.test(task.status); tries += 1) {
  await pause(1000 * Number(process.env.POLL ?? 1));
  task = await api(`/v1/tasks/${encodeURIComponent(task.id)}`);
}
if (task.status !== 'completed') throw new Error(`${task.id}: ${task.error?.message ?? task.status}`);
const video = await fetch(task.results[0], { signal: AbortSignal.timeout(60_000) });
if (!video.ok) throw new Error(`download: ${video.status}`);
await pipeline(Readable.fromWeb(video.body), createWriteStream(process.argv[2]));
