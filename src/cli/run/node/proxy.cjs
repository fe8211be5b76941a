// Loaded before the program: has http, https and fetch use the proxy of flowtap, where
// NODE_USE_ENV_PROXY does not: in an older Node, and for agents that a program makes of its own.
'use strict';

function useProxy(proxy) {
  const http = require('node:http');
  const https = require('node:https');
  const net = require('node:net');
  const tls = require('node:tls');

  const host = proxy.hostname.replace(/^\[|\]$/g, '');
  const credentials = [proxy.username, proxy.password].map(decodeURIComponent).join(':');
  const authorization = credentials === ':' ? ''
    : `Proxy-Authorization: Basic ${Buffer.from(credentials).toString('base64')}\r\n`;

  // Gives a socket that is connected through the proxy.
  function connect(hostname, port, callback) {
    const target = `${hostname.includes(':') ? `[${hostname}]` : hostname}:${port}`;
    // In a head it would end the line, and what follows would be another request.
    if (/[\0-\x20\x7f]/.test(target)) {
      process.nextTick(callback, new Error(`${JSON.stringify(target)} is no host and port`));
      return;
    }
    const socket = net.connect(Number(proxy.port || 80), host);
    let head = Buffer.alloc(0);
    const fail = error => {
      socket.destroy();
      callback(error);
    };
    const closed = () => fail(new Error('flowtap closed the connection'));
    // Read so, and not as it flows, it is as new to whoever has it next.
    const read = () => {
      for (let data; (data = socket.read()) !== null;) head = Buffer.concat([head, data]);
      const end = head.indexOf('\r\n\r\n');
      if (end < 0) return;
      socket.off('readable', read).off('error', fail).off('close', closed);
      const line = head.toString('latin1', 0, head.indexOf('\r\n'));
      if (!/^HTTP\/1\.[01] 200\b/.test(line)) {
        fail(new Error(`flowtap answered ${line} to CONNECT ${target}`));
        return;
      }
      if (head.length > end + 4) socket.unshift(head.subarray(end + 4));
      callback(null, socket);
    };
    socket.on('error', fail).on('close', closed).on('readable', read);
    socket.write(`CONNECT ${target} HTTP/1.1\r\nHost: ${target}\r\n${authorization}\r\n`);
  }

  function patch(Agent, defaultPort, begin) {
    const direct = Agent.prototype.createConnection;
    Agent.prototype.createConnection = function createConnection(options, callback, ...rest) {
      const isTcp = options !== null && typeof options === 'object'
        && !options.socketPath && !options.socket;
      // Such an agent uses the proxy already.
      const isProxied = Boolean(this.options?.proxyEnv);
      if (!isTcp || isProxied || typeof callback !== 'function') {
        return direct.call(this, options, callback, ...rest);
      }
      connect(options.host || 'localhost', options.port || defaultPort, (error, socket) => {
        if (error) return callback(error);
        return callback(null, begin.call(this, socket, options, direct));
      });
      return undefined;
    };
  }

  patch(http.Agent, 80, socket => socket);
  patch(https.Agent, 443, function begin(socket, options, direct) {
    return direct.call(this, { ...options, socket });
  });

  // fetch has connections of its own, made by what this symbol names.
  const symbol = Symbol.for('undici.globalDispatcher.1');
  function dispatch(options, callback) {
    const isSecure = options.protocol === 'https:';
    const port = options.port || (isSecure ? 443 : 80);
    connect(options.hostname, port, (error, socket) => {
      if (error || !isSecure) return callback(error, socket);
      const servername = options.servername || (net.isIP(options.hostname) ? '' : options.hostname);
      const secure = tls.connect({
        socket, servername, host: options.hostname, ALPNProtocols: ['http/1.1'],
      });
      const fail = reason => callback(reason);
      secure.once('error', fail);
      secure.once('secureConnect', () => {
        secure.off('error', fail);
        callback(null, secure);
      });
    });
  }
  let isInstalled = false;
  function install() {
    if (isInstalled) return;
    isInstalled = true;
    // Any class of fetch loads what sets the symbol.
    void globalThis.Headers;
    const Dispatcher = globalThis[symbol]?.constructor;
    if (Dispatcher) globalThis[symbol] = new Dispatcher({ connect: dispatch });
  }
  const fetch = globalThis.fetch;
  const isProxied = process.allowedNodeEnvironmentFlags.has('--use-env-proxy');
  if (typeof fetch === 'function' && !isProxied) {
    globalThis.fetch = function fetchThroughProxy(...parameters) {
      install();
      return fetch.apply(this, parameters);
    };
    Object.defineProperty(globalThis.fetch, 'name', { value: 'fetch' });
  }
}

// Deno and Bun may load this too, but what they call http is made otherwise.
if (process.env.FLOWTAP_PROXY && !process.versions.deno && !process.versions.bun) {
  try {
    useProxy(new URL(process.env.FLOWTAP_PROXY));
  } catch {
    // The program comes first, with or without its traffic.
  }
}
