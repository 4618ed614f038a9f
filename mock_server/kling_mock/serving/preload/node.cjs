// Loaded by `kling-mock exec --impersonate` into every Node process (NODE_OPTIONS=--require).
//
// Node's fetch and its http agents take no notice of HTTPS_PROXY before Node 24, so the one place that every TCP
// connection goes through is changed: the service's host names lead to the fake, this machine stays reachable, and
// whatever else is asked for is refused before a name is looked up. TLS still checks the name that was asked for.
'use strict';

const dns = require('node:dns');
const net = require('node:net');

const HTTPS = 443;
const PATIENCE_MS = 2000;
// What the service's names resolve to: clients that refuse private addresses look one up first. A connection to it leads to the fake.
const PUBLIC = '44.44.44.44';
const connect = net.Socket.prototype.connect;

/** The options of a call of `connect` in any of its forms, and its listener. */
function understood(args) {
  const given = Array.isArray(args[0]) ? args[0] : args;
  const [first, second] = given;
  const listener = given.findLast((one) => typeof one === 'function');
  if (first !== null && typeof first === 'object') return { options: first, listener };
  if (typeof first === 'string' && !/^\d+$/.test(first)) return { options: { path: first }, listener };
  return { options: { port: first, host: typeof second === 'string' ? second : undefined }, listener };
}

function spelled(host) {
  return String(host || 'localhost').toLowerCase().replace(/^\[|\]$/g, '').replace(/\.$/, '');
}

function here(host) {
  if (host === 'localhost' || host.endsWith('.localhost') || host === '0.0.0.0' || host === '::') return true;
  return /^(::ffff:)?127\.\d+\.\d+\.\d+$/.test(host) || host === '::1';
}

function place(text) {
  const colon = text.lastIndexOf(':');
  return { host: text.slice(0, colon).replace(/^\[|\]$/g, ''), port: Number(text.slice(colon + 1)) };
}

/** Ask the proxy, which writes it down and says no, then end *socket* with what it said. */
function refuse(socket, proxy, host, port) {
  const name = host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`;
  let said = '';
  socket.connecting = true; // what is written meanwhile waits, as for any connection that is being made
  const asking = new net.Socket();
  asking.setTimeout(PATIENCE_MS, () => asking.destroy());
  asking.on('data', (data) => { said += data; });
  asking.on('error', () => {});
  asking.on('close', () => {
    const reason = said.split('\r\n\r\n')[1]?.trim() || `kling-mock refused ${name}`;
    socket.destroy(Object.assign(new Error(reason), { code: 'EKLINGMOCK', host, port }));
  });
  connect.call(asking, proxy);
  asking.write(`CONNECT ${name} HTTP/1.1\r\nHost: ${name}\r\n\r\n`);
}

/** Have every form of a lookup give the public address for *hosts*, without asking anybody. */
function lookUpHere(hosts) {
  const known = new Set(hosts);
  const { lookup, resolve4 } = dns;
  const many = dns.promises.lookup;
  const entry = { address: PUBLIC, family: 4 };
  const answered = (options) => (options && options.all ? [entry] : entry);
  dns.lookup = function (host, options, callback) {
    if (!known.has(spelled(host))) return lookup.apply(this, arguments);
    const done = typeof options === 'function' ? options : callback;
    const all = typeof options === 'object' && options !== null && options.all;
    process.nextTick(() => (all ? done(null, [entry]) : done(null, PUBLIC, 4)));
    return {};
  };
  dns.promises.lookup = (host, options) => (known.has(spelled(host)) ? Promise.resolve(answered(options)) : many(host, options));
  dns.resolve4 = function (host, ...rest) {
    if (!known.has(spelled(host))) return resolve4.call(this, host, ...rest);
    const done = rest.at(-1);
    process.nextTick(() => done(null, [PUBLIC]));
    return undefined;
  };
  dns.promises.resolve4 = ((real) => (host, ...rest) => (known.has(spelled(host)) ? Promise.resolve([PUBLIC]) : real(host, ...rest)))(dns.promises.resolve4);
}

function install({ hosts, fake, proxy }) {
  const known = new Set([...hosts, PUBLIC]);
  lookUpHere(hosts);
  net.Socket.prototype.connect = function (...args) {
    const { options, listener } = understood(args);
    const host = spelled(options.host);
    if (options.path || here(host)) return connect.apply(this, args);
    if (!known.has(host) || Number(options.port) !== HTTPS) {
      refuse(this, place(proxy), host, options.port);
      return this;
    }
    return connect.call(this, { ...options, ...place(fake), lookup: undefined }, listener);
  };
}

if (process.env.KLING_MOCK_ROUTES) install(JSON.parse(process.env.KLING_MOCK_ROUTES));
