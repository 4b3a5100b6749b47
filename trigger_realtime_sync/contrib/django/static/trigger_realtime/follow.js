// follow(url, handlers, options): an EventSource of a relay that comes back by itself.
//
//   const following = follow("/runs/run_1/events", {
//     run(run) { … }, part({ key, index, parts, missed }) { … }, complete() { … },
//     error({ error, status, message }) { … }, state({ state, message }) { … },
//   });
//   following.close();
//
// States: "connecting", "live", "reconnecting", "not allowed" (log in again, or it is not yours) and
// "ended" (after `complete` or `error`, or `close`). Each state, run and part is dispatched on
// `options.target`, the document unless given, as "realtime:state", "realtime:run"… with the value as
// `event.detail`, and the state is also in `data-realtime` of the root element, for style sheets.
//
// While the page is hidden the connection is closed, as a browser has six for each host with HTTP/1.1;
// then the relay sends the state as it is, and parts again from the first: `index` says where they belong.
(function (root) {
  "use strict";
  const FIRST_WAIT = 2000, LONGEST_WAIT = 30000;

  function follow(url, handlers = {}, options = {}) {
    const target = options.target ?? document;
    let source = null, timer = 0, wait = FIRST_WAIT, over = false, state = "";

    function tell(name, detail) {
      handlers[name]?.(detail);
      target.dispatchEvent(new CustomEvent(`realtime:${name}`, { detail, bubbles: true }));
    }
    function become(next, message = "") {
      if (state === next) return;
      state = next;
      document.documentElement.dataset.realtime = next.replace(" ", "-");
      tell("state", { state: next, message });
    }
    function drop() {
      clearTimeout(timer);
      source?.close();
      source = null;
    }
    function stop(last, message) {
      over = true;
      drop();
      become(last, message);
    }
    function connect() {
      if (over || source || document.hidden) return;
      clearTimeout(timer);
      if (!state) become("connecting");
      const mine = source = new EventSource(url);
      mine.onopen = () => { wait = FIRST_WAIT; become("live"); };
      for (const name of ["run", "part"])
        mine.addEventListener(name, event => tell(name, JSON.parse(event.data)));
      mine.addEventListener("complete", () => { tell("complete", {}); stop("ended"); });
      mine.addEventListener("error", event => {
        if (event.data) {
          const error = JSON.parse(event.data);
          tell("error", error);
          return stop("ended", error.message);
        }
        become("reconnecting");
        // By itself it comes back after a lost connection alone, and never after an answer that is
        // an error: a proxy's 502, a 429, a 403.
        if (mine.readyState === EventSource.CLOSED && source === mine) { drop(); ask(); }
      });
    }
    // Nothing tells the status of an EventSource's answer.
    async function ask() {
      let answer = null;
      try {
        answer = await fetch(url, { method: "HEAD", redirect: "manual", cache: "no-store" });
      } catch { /* The server is not there. */ }
      if (over || source) return;
      const status = answer?.status ?? 0;
      if (status === 204) return stop("ended");
      if (status === 401 || status === 403 || answer?.type === "opaqueredirect")
        return stop("not allowed", "log in again");
      if (status === 400 || status === 404 || status === 410)
        return stop("not allowed", "no such run");
      const asked = 1000 * Number(answer?.headers.get("Retry-After") || 0);
      // Spread, so that not all pages come back at once.
      timer = setTimeout(connect, Math.max(asked, wait * (0.75 + Math.random() / 2)));
      wait = Math.min(LONGEST_WAIT, 2 * wait);
    }
    function onVisibility() {
      if (document.hidden) drop(); else connect();
    }
    document.addEventListener("visibilitychange", onVisibility);
    addEventListener("pagehide", drop);
    // "Back" may restore the page as it was left, with a closed connection.
    addEventListener("pageshow", event => { if (event.persisted) connect(); });
    connect();
    return { get state() { return state; }, close() { stop("ended"); } };
  }

  root.follow = follow;
})(globalThis);
