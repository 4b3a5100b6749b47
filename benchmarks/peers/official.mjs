// The official client, used as its hooks use it. The command line is that of `_worker.py`.

import { createInterface } from "node:readline";
import { ApiClient } from "@trigger.dev/core/v3";

const FIRST = 11;
const say = (facts) => process.stdout.write(JSON.stringify(facts) + "\n");
const [kind, url, ...rest] = process.argv.slice(2);
process.env.TRIGGER_API_URL = url;
const client = new ApiClient(url, "tr_x");

async function timed(work) {
  const cpu = process.cpuUsage();
  const wall = performance.now();
  await work();
  const seconds = (performance.now() - wall) / 1e3;
  const used = process.cpuUsage(cpu);
  say({ seconds, cpu: (used.user + used.system) / 1e6 });
}

async function stream(name, count) {
  let left = count;
  for await (const part of await client.fetchStream(name, "llm", {})) {
    if (part !== undefined && --left <= 0) return;
  }
}

async function rows(name, count, read) {
  let left = count;
  for await (const run of client.subscribeToRunsWithTag(name, {})) {
    if (read && !(run.payload && run.metadata)) throw new Error("nothing to read");
    if (--left <= 0) return;
  }
}

function idle(count) {
  let next = 0;
  let delays = [];
  let expected = 0;
  let enough = () => {};

  async function watch(runId, shown) {
    let seen = false;
    for await (const run of client.subscribeToRun(runId, { closeOnComplete: false })) {
      const now = process.hrtime.bigint();
      if (!seen) {
        seen = true;
        shown();
      } else if (run.metadata?.t !== undefined) {
        delays.push(Number(now - BigInt(run.metadata.t)) / 1e6);
        if (run.metadata.n === expected - 1) enough();
      }
    }
  }

  async function subscribe(number) {
    const started = performance.now();
    const all = [];
    for (let n = 0; n < number; n++) {
      all.push(new Promise((shown) => void watch(`run_${next++}`, shown)));
    }
    await Promise.all(all);
    return performance.now() - started;
  }

  async function follow(line) {
    const [word, number] = line.split(" ");
    if (word === "burst") {
      say({ burst: await subscribe(count - FIRST) });
    } else if (word === "collect") {
      globalThis.gc();
      say({ collected: true });
    } else if (word === "expect") {
      delays = [];
      expected = Number(number);
      const all = new Promise((done) => (enough = done));
      say({ ready: true });
      await all;
      say({ delays });
    } else {
      process.exit(0);
    }
  }

  return { subscribe, follow };
}

if (kind === "idle") {
  const { subscribe, follow } = idle(Number(rest[0]));
  const first = [];
  for (let n = 0; n < FIRST; n++) first.push(await subscribe(1));
  say({ first: first.slice(1) });
  for await (const line of createInterface({ input: process.stdin })) await follow(line);
} else {
  const [name, count] = [rest[0], Number(rest[1])];
  await timed(() => (kind === "stream" ? stream(name, count) : rows(name, count, kind === "rows-read")));
}
process.exit(0);
