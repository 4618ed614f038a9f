// Motion control with node:https and callbacks turned into promises: kling-v3-motion-control, a video in, a video out.
'use strict';
const https = require('node:https');
const fs = require('node:fs');

function call(method, url, body) {
  return new Promise((resolve, reject) => {
    const headers = { Authorization: `Bearer ${process.env.EVOLINK_API_KEY}`, 'Content-Type': 'application/json' };
    const request = https.request(url, { method, headers: body ? headers : { Authorization: headers.Authorization } }, (response) => {
      const parts = [];
      response.on('data', (part) => parts.push(part));
      response.on('end', () => {
        const answer = JSON.parse(Buffer.concat(parts).toString());
        if (response.statusCode === 200) resolve(answer);
        else reject(new Error(answer.error.message));
      });
    });
    request.on('error', reject);
    request.end(body && JSON.stringify(body));
  });
}

async function main() {
  const api = 'https://api.evolink.ai/v1';
  let task = await call('POST', `${api}/videos/generations`, {
    model: 'kling-v3-motion-control',
    image_urls: ['https://image.test/720x1280.png'],
    video_urls: ['https://video.test/720x1280-4s.mp4'],
    model_params: { character_orientation: 'image', keep_sound: false },
  });
  while (task.status === 'pending' || task.status === 'processing') {
    await new Promise((resolve) => setTimeout(resolve, 1000 * Number(process.env.POLL || 1)));
    task = await call('GET', `${api}/tasks/${task.id}`);
  }
  if (task.status === 'failed') throw new Error(task.error.code);
  await new Promise((resolve, reject) => {
    https.get(task.results[0], (response) => response.pipe(fs.createWriteStream(process.argv[2])).on('finish', resolve)).on('error', reject);
  });
}

main().catch((error) => { console.error(error.message); process.exit(1); });
