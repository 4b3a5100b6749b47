// Writes what both versions of superjson make of every kind of value: superjson-2.2.1.json and
// superjson-latest.json. Each vector has the document and, as `expect`, the value in a notation
// that JSON can hold and the Python test can build: {"$": type, …}; a cycle is {"$": "ref", "to":
// path of list indices and keys from the root of the expectation}.
//
//   npm install && node make_vectors.mjs

import { readFileSync, writeFileSync } from "node:fs";
import { SuperJSON as Latest } from "superjson-latest";
import { SuperJSON as Bundled } from "superjson-2-2-1";

const when = () => new Date("2026-11-23T06:15:09.979Z");

class Point {
  constructor(x, at) {
    this.x = x;
    this.at = at;
  }
}

const marker = Symbol("marker");

// The same custom type that the Trigger.dev SDK registers.
function register(instance) {
  instance.registerCustom(
    {
      isApplicable: (value) => Buffer.isBuffer(value),
      serialize: (value) => [...value],
      deserialize: (value) => Buffer.from(value),
    },
    "buffer"
  );
  instance.registerClass(Point, { identifier: "Point" });
  instance.registerSymbol(marker, "marker");
  return instance;
}

const error = (message, name) => Object.assign(new Error(message), { name });

const leaves = {
  null: () => null,
  bool: () => true,
  integer: () => 7,
  fraction: () => 1.5,
  text: () => "a.b\\c",
  undefined: () => undefined,
  bigint: () => 123456789012345678901234567890n,
  bigint_negative: () => -5n,
  date: when,
  date_year_0: () => new Date("0000-01-01T00:00:00.000Z"),
  date_far: () => new Date(8.64e15),
  date_bc: () => new Date(-8.64e15),
  date_invalid: () => new Date(NaN),
  regexp: () => /a\/b+(?<word>[[x])\k<word>/gi,
  regexp_multiline: () => /^x.$/ms,
  regexp_lookbehind_varying: () => /(?<=a+)b/,
  nan: () => NaN,
  infinity: () => Infinity,
  minus_infinity: () => -Infinity,
  minus_zero: () => -0,
  url: () => new URL("https://example.com/a?b=c"),
  error: () => error("broke", "TypeError"),
  uint8array: () => new Uint8Array([0, 1, 255]),
  int8array: () => new Int8Array([-1, 2]),
  uint8clampedarray: () => new Uint8ClampedArray([1, 2]),
  float64array: () => new Float64Array([0.5, -2]),
  buffer: () => Buffer.from("hé"),
  class: () => new Point(1, when()),
  symbol: () => marker,
  empty_set: () => new Set(),
  empty_map: () => new Map(),
  empty_list: () => [],
  empty_object: () => ({}),
};

const containers = {
  root: (make) => make(),
  list: (make) => [1, make(), "end"],
  object: (make) => ({ before: 1, it: make() }),
  deep_object: (make) => ({ a: [{ b: { c: make() } }] }),
  set: (make) => new Set(["first", make()]),
  map_value: (make) => new Map([["k", 0], ["it", make()]]),
  map_key: (make) => new Map([["k", 0], [make(), 1]]),
  map_of_sets: (make) => new Map([["m", new Set([make(), 2])]]),
  class: (make) => new Point(make(), 0),
  dotted_leaf: (make) => ({ a: { "b.c": make() } }),
  dotted_ancestor: (make) => ({ "a.b": { c: make() } }),
  dotted_both: (make) => ({ "a.b": { "c.d": make(), c: { e: 0 } } }),
  dotted_beside: (make) => ({ a: { x: 1 }, "a.b": make() }),
  dotted_long: (make) => ({ "a.b.c.d": { "e.f.g": [make()] } }),
  dots_only: (make) => ({ ".": { "..": make() } }),
  empty_key: (make) => ({ "": { "": make() } }),
  backslash_leaf: (make) => ({ a: { "b\\c": make() } }),
  backslash_ancestor: (make) => ({ "a\\": { b: make() } }),
  backslash_dot_leaf: (make) => ({ "a\\.b": make() }),
  number_keys: (make) => ({ 10: make(), 2: [make()] }),
  dotted_set: (make) => ({ "a.b": new Set([make(), "z"]) }),
};

function wholes() {
  const list = [1];
  list.push(list);
  const ring = { name: "a", next: { name: "b" } };
  ring.next.next = ring;
  const map = new Map([["x", 1]]);
  map.set("self", map);
  const set = new Set([1]);
  set.add(set);
  const held = { map: new Map(), "dotted.key": { when: when() } };
  held.map.set("up", held);
  held["dotted.key"].up = held["dotted.key"];
  const left = { name: "left" };
  const right = { name: "right", left };
  left.right = right;
  const shared = { at: when() };
  const day = when();
  const keyed = new Map();
  keyed.set(keyed, "itself");
  const point = new Point(1, 2);
  point.at = point;
  const cause = error("outer", "Error");
  cause.cause = error("inner", "RangeError");
  const causeDate = error("outer", "Error");
  causeDate.cause = { at: when() };
  const ownCause = error("loop", "Error");
  ownCause.cause = ownCause;
  return {
    cycle_list: list,
    cycle_ring: ring,
    cycle_map: map,
    cycle_set: set,
    cycle_nested: [held],
    cycle_crossed: { left, right },
    cycle_map_key: keyed,
    cycle_class: { point },
    cycle_in_map_of_list: new Map([["l", list]]),
    repeated: { a: shared, b: shared, c: [shared] },
    repeated_date: { a: new Set([day]), b: new Map([[day, day]]), c: day },
    error_cause: cause,
    error_cause_date: { causeDate },
    error_cycle: { ownCause },
    sets_in_sets: new Set([new Set([1n]), new Map([[1n, when()]])]),
    one_and_true: { set: new Set([1, true, "1"]), map: new Map([[1, "a"], [true, "b"]]) },
    map_undefined: new Map([[undefined, undefined], [null, NaN]]),
  };
}

// The notation of `expect`. What a version loses when it writes (a cause, say) is taken from what
// it can read back itself: `value` is then the re-read value.
function show(value, path = [], seen = new Map()) {
  if (value === undefined || value === null) return null;
  if (typeof value === "bigint") return { $: "int", text: String(value) };
  if (typeof value === "number" && !(Number.isFinite(value) && !Object.is(value, -0)))
    return { $: "float", text: Object.is(value, -0) ? "-0.0" : String(value) };
  if (typeof value === "symbol") return value.description;
  if (typeof value !== "object") return value;
  if (value instanceof Date)
    return isNaN(value) ? null : { $: "date", text: value.toISOString() };
  if (value instanceof RegExp)
    return { $: "regexp", text: String(value), source: value.source, flags: value.flags };
  if (value instanceof URL) return String(value);
  if (Buffer.isBuffer(value) || (value instanceof Uint8Array))
    return { $: "bytes", list: [...value] };
  if (ArrayBuffer.isView(value)) return [...value];
  if (seen.has(value)) return { $: "ref", to: seen.get(value) };
  seen.set(value, path);
  const at = (inner, ...keys) => show(inner, [...path, ...keys], seen);
  let shown;
  if (Array.isArray(value)) shown = { $: "list", list: value.map((v, i) => at(v, i)) };
  else if (value instanceof Set) shown = { $: "set", list: [...value].map((v, i) => at(v, i)) };
  else if (value instanceof Map)
    shown = { $: "map", list: [...value].map(([k, v], i) => [at(k, i, 0), at(v, i, 1)]) };
  else if (value instanceof Error) {
    shown = { $: "error", name: value.name, message: value.message };
    if (value.cause !== undefined) shown.cause = at(value.cause, "cause");
  } else {
    const pairs = Object.entries(value).map(([k, v]) => [k, at(v, k)]);
    shown = { $: "object", list: pairs };
  }
  seen.delete(value);
  return shown;
}

function vectors(superjson) {
  const out = [];
  const add = (name, value, expected = value) => {
    let document;
    try {
      document = JSON.parse(superjson.stringify(value));
    } catch (problem) {
      out.push({ name, refused: String(problem.message) });
      return;
    }
    out.push({ name, document, expect: show(expected) });
  };
  for (const [where, wrap] of Object.entries(containers))
    for (const [what, make] of Object.entries(leaves)) add(`${what} in ${where}`, wrap(make));
  for (const [name, value] of Object.entries(wholes())) add(name, value);
  return out;
}

const version = (name) =>
  JSON.parse(readFileSync(new URL(`node_modules/${name}/package.json`, import.meta.url))).version;

for (const [file, name, superjson] of [
  ["superjson-2.2.1.json", "superjson-2-2-1", new Bundled()],
  ["superjson-latest.json", "superjson-latest", new Latest()],
]) {
  const lines = vectors(register(superjson)).map((vector) => JSON.stringify(vector));
  const head = JSON.stringify(version(name));
  const text = `{"superjson": ${head}, "vectors": [\n${lines.join(",\n")}\n]}\n`;
  writeFileSync(new URL(file, import.meta.url), text);
}
