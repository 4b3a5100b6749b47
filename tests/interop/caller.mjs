// Makes calls of the official client, one after the other, and prints what each returns. Takes one
// JSON object as its argument: {"url", "token", "calls": [["triggerTask", "my-task", {}], …]}. An
// argument {"$": [0, "id"]} stands for what the first call returned under that name.
//
// Prints a list of {"value"} and {"error", "status"}. The client checks every answer by its schemas.
import { ApiClient } from "@trigger.dev/core/v3";

const { url, token, calls } = JSON.parse(process.argv[2]);
const client = new ApiClient(url, token);
const results = [];

function resolve(argument) {
  if (argument === null || typeof argument !== "object" || !("$" in argument)) return argument;
  const [number, ...path] = argument.$;
  return path.reduce((value, name) => value[name], results[number].value);
}

async function listen(session, count) {
  const heard = [];
  const abort = new AbortController();
  const stream = await client.subscribeToSessionStream(session, "out", {
    timeoutInSeconds: 5,
    signal: abort.signal,
    onPart: (part) => heard.push({ id: part.id, headers: part.headers ?? [], chunk: part.chunk }),
  });
  const reader = stream.getReader();
  while (heard.length < count && !(await reader.read()).done);
  abort.abort();
  return heard.slice(0, count);
}

for (const [name, ...given] of calls) {
  const wanted = given.map(resolve);
  try {
    const value = name === "listen" ? await listen(...wanted) : await client[name](...wanted);
    const page = value?.data && value?.pagination;
    results.push({ value: page ? { data: value.data, pagination: value.pagination } : (value ?? null) });
  } catch (error) {
    results.push({ error: String(error.message ?? error), status: error.status ?? null });
  }
}
process.stdout.write(JSON.stringify(results));
process.exit(0);
