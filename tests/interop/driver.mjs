// Drives the official client. Reads requests, one JSON object a line, and prints what the client
// hands its user, one JSON object a line:
//
//   {"id": 1, "op": "run" | "tag" | "batch" | "run_with_streams" | "stream" | "session", "url", …}
//   {"id": 1, "op": "packet", "data", "type"}
//   {"id": 1, "op": "stop"}
//
//   {"id": 1, "kind": "run" | "part" | "seen" | "end" | "error", "value": …}
//
// "seen" tells all of a session in order, control records too, where "part" tells what it hands out.
// "end" says that the client's iterator ended by itself.
import { createInterface } from "node:readline";
import { ApiClient, parsePacket } from "@trigger.dev/core/v3";

const NUMBERS = new Map([
  [Infinity, "Infinity"],
  [-Infinity, "-Infinity"],
]);

function number(value) {
  if (Number.isNaN(value)) return { $number: "NaN" };
  if (Object.is(value, -0)) return { $number: "-0" };
  return NUMBERS.has(value) ? { $number: NUMBERS.get(value) } : value;
}

// What JSON can't say is told by its type; a place that leads back to a container above it, by how
// far above.
function encode(value, above = []) {
  switch (typeof value) {
    case "undefined":
      return null;
    case "number":
      return number(value);
    case "bigint":
      return { $bigint: value.toString() };
    case "symbol":
      return { $symbol: value.description ?? "" };
    case "object":
      return value === null ? null : encodeObject(value, above);
    default:
      return value;
  }
}

function encodeObject(value, above) {
  const distance = above.lastIndexOf(value);
  if (distance >= 0) return { $above: above.length - distance };
  const inside = [...above, value];
  const each = (items) => Array.from(items, (item) => encode(item, inside));
  if (value instanceof Date) {
    return { $date: Number.isNaN(value.getTime()) ? null : value.getTime() };
  }
  if (value instanceof RegExp) return { $regexp: value.source, flags: value.flags };
  if (value instanceof URL) return { $url: value.href };
  if (value instanceof Set) return { $set: each(value) };
  if (value instanceof Map) return { $map: Array.from(value, (pair) => each(pair)) };
  if (value instanceof Error) {
    const cause = value.cause === undefined ? null : encode(value.cause, inside);
    return { $error: value.name, message: value.message, cause };
  }
  if (value instanceof Uint8Array) return { $bytes: Array.from(value) };
  if (ArrayBuffer.isView(value) || Array.isArray(value)) return each(value);
  return Object.fromEntries(Object.entries(value).map(([key, one]) => [key, encode(one, inside)]));
}

function tell(id, kind, value) {
  process.stdout.write(JSON.stringify({ id, kind, value: encode(value) ?? null }) + "\n");
}

function subscribe(request, signal) {
  if (request.op === "packet") return packet(request);
  const client = new ApiClient(request.url, request.token);
  const options = { signal, skipColumns: request.skip_columns };
  switch (request.op) {
    case "run":
      return client.subscribeToRun(request.subject, options);
    case "run_with_streams":
      return client.subscribeToRun(request.subject, options).withStreams();
    case "batch":
      return client.subscribeToBatch(request.subject, options);
    case "tag":
      return client.subscribeToRunsWithTag(
        request.subject,
        { createdAt: request.created_at, skipColumns: request.skip_columns },
        { signal },
      );
    case "stream":
      return client.fetchStream(request.subject, request.key, {
        signal,
        timeoutInSeconds: request.timeout_in_seconds,
        lastEventId: request.last_event_id,
      });
    case "session":
      return client.subscribeToSessionStream(request.subject, request.io ?? "out", {
        signal,
        channel: request.channel,
        timeoutInSeconds: request.timeout_in_seconds,
        lastEventId: request.last_event_id,
        onPart: (part) => tell(request.id, "seen", { value: part.chunk, headers: part.headers }),
      });
    default:
      throw new Error(`unknown op ${request.op}`);
  }
}

function report(id, op, item) {
  if (op === "stream" || op === "session" || op === "packet") tell(id, "part", { value: item });
  else if (op !== "run_with_streams" || item.type === "run") {
    tell(id, "run", op === "run_with_streams" ? item.run : item);
  } else tell(id, "part", { key: item.type, value: item.chunk });
}

const running = new Map();

async function* packet(request) {
  yield await parsePacket({ data: request.data, dataType: request.type });
}

async function drive(request) {
  const abort = new AbortController();
  running.set(request.id, abort);
  try {
    for await (const item of await subscribe(request, abort.signal)) {
      if (abort.signal.aborted) return;
      report(request.id, request.op, item);
    }
    if (!abort.signal.aborted) tell(request.id, "end", null);
  } catch (error) {
    if (!abort.signal.aborted) tell(request.id, "error", String(error?.message ?? error));
  } finally {
    running.delete(request.id);
  }
}

// The client rejects promises that nobody can catch when it is stopped within a request.
process.on("unhandledRejection", () => {});

createInterface({ input: process.stdin }).on("line", (line) => {
  const request = JSON.parse(line);
  if (request.op === "stop") running.get(request.id)?.abort();
  else drive(request);
}).on("close", () => process.exit(0));
