// Writes a stream as a task does: by the official SDK's own writer, straight to S2. Takes its
// options as one JSON object, {"endpoint", "basin", "stream", "first", "count", "pause", "together",
// "size"}, and prints a line for each step:
//
//   {"written": 12}                        it has handed so many parts to the writer
//   {"done": true} or {"error": "…"}       the writer has ended
//
// Part n is {"n": n, "text": "…"}; `pause` is in milliseconds, between `together` parts at a time.
import { StreamsWriterV2 } from "./node_modules/@trigger.dev/core/dist/esm/v3/realtimeStreams/streamsWriterV2.js";

const { endpoint, basin, stream, first, count, pause, together, size } = JSON.parse(process.argv[2]);

function print(value) {
  process.stdout.write(JSON.stringify(value) + "\n");
}

let written = 0;
const source = new ReadableStream({
  async pull(controller) {
    if (written > 0 && written % together === 0) {
      print({ written });
      await new Promise((resolve) => setTimeout(resolve, pause));
    }
    if (written === count) controller.close();
    else {
      const n = first + written;
      written += 1;
      controller.enqueue({ n, text: `part ${n} é\u2028`.padEnd(size, "x") });
    }
  },
});

try {
  const writer = new StreamsWriterV2({
    basin, stream, endpoint, source, accessToken: "ignored", flushIntervalMs: 20,
  });
  const consume = (async () => { for await (const _ of writer); })();
  await Promise.all([writer.wait(), consume]);
  print({ done: true });
} catch (error) {
  print({ error: String(error?.message ?? error) });
  process.exitCode = 1;
}
process.exit();
