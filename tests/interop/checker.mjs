// What the official client makes of what ours sends. Takes one JSON object on stdin, {"packets":
// [{"data", "dataType"}], "tokens": [{"token", "key"}], "claims": [{"key", "payload", "expires"}]},
// and prints one:
//
//   {"values": ["…"], "valid": [true], "signed": ["…"]}
//
// `values` describe what a task gets, as text, with the types that JSON has not.
import { parsePacket } from "./node_modules/@trigger.dev/core/dist/esm/v3/utils/ioSerialization.js";
import { generateJWT, validateJWT } from "./node_modules/@trigger.dev/core/dist/esm/v3/jwt.js";

function shown(value) {
  if (value === undefined) return "undefined";
  if (value === null) return "null";
  if (typeof value === "bigint") return `${value}n`;
  if (typeof value === "number") return Object.is(value, -0) ? "-0" : String(value);
  if (typeof value === "string") return JSON.stringify(value);
  if (typeof value === "boolean") return String(value);
  if (value instanceof Date) return `Date ${value.toISOString()}`;
  if (value instanceof Uint8Array) return `bytes ${[...value].join()}`;
  if (value instanceof Set) return `set {${[...value].map(shown).sort().join()}}`;
  if (Array.isArray(value)) return `[${value.map(shown).join()}]`;
  const fields = Object.keys(value).sort().map((key) => `${JSON.stringify(key)}:${shown(value[key])}`);
  return `{${fields.join()}}`;
}

let input = "";
for await (const chunk of process.stdin) input += chunk;
const { packets = [], tokens = [], claims = [] } = JSON.parse(input);
const values = [];
for (const packet of packets) values.push(shown(await parsePacket(packet)));
const valid = [];
for (const { token, key } of tokens) valid.push((await validateJWT(token, key)).ok);
const signed = [];
for (const { key, payload, expires } of claims) {
  signed.push(await generateJWT({ secretKey: key, payload, expirationTime: expires }));
}
process.stdout.write(JSON.stringify({ values, valid, signed }));
