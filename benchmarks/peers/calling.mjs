// The official SDK, calling. The command line is that of `_caller.py`.

import { batch as batches, configure, tasks } from "@trigger.dev/sdk";

const [WARM, PROMISES, BATCHES, WARM_BATCHES] = [200, 16, 5, 2];
const PAYLOAD = { video: "v1", size: [1920, 1080], user: { id: 7, plan: "pro" } };
const KILOBYTE = "x".repeat(1000);
const say = (facts) => process.stdout.write(JSON.stringify(facts) + "\n");
const [kind, url, number] = process.argv.slice(2);
const count = Number(number);
configure({ baseURL: url, accessToken: "tr_dev_x" });

function cpuSeconds() {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1e6;
}

async function trigger() {
  const handle = await tasks.trigger("make-thumbnails", PAYLOAD, { tags: ["user:7"] });
  if (!handle.id) throw new Error("no id");
}

async function milliseconds(work) {
  const started = performance.now();
  await work();
  return performance.now() - started;
}

async function one() {
  for (let n = 0; n < WARM; n++) await trigger();
  const times = [];
  const cpu = cpuSeconds();
  for (let n = 0; n < count; n++) times.push(await milliseconds(trigger));
  say({ times, cpu: cpuSeconds() - cpu });
}

async function fromPromises(number) {
  let left = number;
  const work = async () => {
    while (left-- > 0) await trigger();
  };
  await Promise.all(Array.from({ length: PROMISES }, work));
}

async function many() {
  await fromPromises(WARM);
  const cpu = cpuSeconds();
  const seconds = (await milliseconds(() => fromPromises(count))) / 1e3;
  say({ seconds, cpu: cpuSeconds() - cpu });
}

async function batch() {
  const times = [];
  for (let n = 0; n < WARM_BATCHES + BATCHES; n++) {
    times.push(
      await milliseconds(async () => {
        const items = Array.from({ length: count }, (_, n) => ({
          id: "make-thumbnails",
          payload: { n, text: KILOBYTE },
        }));
        const made = await batches.trigger(items);
        if (made.runCount !== count) throw new Error("items are missing");
      })
    );
  }
  say({ times: times.slice(WARM_BATCHES) });
}

await { one, many, batch }[kind]();
process.exit(0);
