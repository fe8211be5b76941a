// Usage: with_run.ts ORIGIN…
//
// Asks by Deno's fetch, which knows of the proxy and the certificate authority by its environment.

for (const origin of Deno.args) {
  const signal = AbortSignal.timeout(30_000);
  const answer = await fetch(`${origin}/text?by=fetch`, { signal });
  if (await answer.text() !== "a text\n") throw new Error(`status ${answer.status}`);
}
