function respond(config) {
  // mountebank has no JSON Schema, so the rules it can check are read from the contract's schema by hand.
  const schema = "@REQUEST_SCHEMA@";
  const task = "@TASK@";
  const request = config.request;
  const answer = (statusCode, body) =>
    ({ statusCode, headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) });
  const refuse = (statusCode, code) => answer(statusCode, { error: { code, message: code, type: "invalid_request_error" } });

  if (!/^Bearer .+/.test(request.headers.Authorization || "")) return refuse(401, "unauthorized");
  const tasks = (config.state.tasks = config.state.tasks || new Map());
  if (request.method === "GET" && request.path.startsWith("/v1/tasks/")) {
    const found = tasks.get(request.path.slice("/v1/tasks/".length));
    return found ? answer(200, found) : refuse(404, "task_not_found");
  }
  if (request.method !== "POST" || request.path !== "/v1/videos/generations") return refuse(404, "not_found");

  let body;
  try {
    body = JSON.parse(request.body);
  } catch (error) {
    return refuse(400, "invalid_request");
  }
  const fits = (value, rule) =>
    value === undefined ||
    ((rule.const === undefined || value === rule.const) &&
      (rule.enum === undefined || rule.enum.includes(value)) &&
      (rule.maxLength === undefined || value.length <= rule.maxLength) &&
      (rule.minimum === undefined || (Number.isInteger(value) && value >= rule.minimum)) &&
      (rule.maximum === undefined || value <= rule.maximum));
  const whole = schema.required.every((name) => body[name] !== undefined);
  if (!whole || !Object.entries(schema.properties).every(([name, rule]) => fits(body[name], rule))) {
    return refuse(400, "invalid_request");
  }
  const created = Math.floor(Date.now() / 1000);
  const id = `task-unified-${created}-${Math.random().toString(36).slice(2, 10).padEnd(8, "0")}`;
  const made = Object.assign({}, task, { created, id, task_info: { ...task.task_info, video_duration: body.duration } });
  tasks.set(id, made);
  return answer(200, made);
}
