"""A stand-in for your Trigger.dev project: the task `refund`, on a server in this process.

With a project of your own you need nothing of this. There the task is

    export const refund = task({
      id: "refund",
      run: async ({ order, amount, token }: Payload) => {
        metadata.set("text", "waiting for a human");
        const answer = await wait.forToken<{ approved: boolean; by: string }>(token).unwrap();
        metadata.set("text", answer.approved ? "paying back" : "refused");
        return { order, refunded: answer.approved ? amount : 0, by: answer.by };
      },
    });
"""

import threading

from trigger_realtime_sync.testing import RealtimeServer

# Seconds between two looks at the token, and before money is there.
LOOK = 0.05


def play(server: RealtimeServer) -> None:
    """Let the server run the task."""

    @server.task("refund")
    def refund(payload):
        run_id = server.current_run
        server.update_run(run_id, status="WAITING", metadata={"text": "waiting for a human"})
        answer = _answer(server, payload["token"])
        text = "paying back" if answer["approved"] else "refused"
        server.update_run(run_id, status="EXECUTING", metadata={"text": text})
        refunded = payload["amount"] if answer["approved"] else 0
        return {"order": payload["order"], "refunded": refunded, "by": answer["by"]}


def _answer(server: RealtimeServer, token_id: str) -> dict:
    """Wait until the token is completed, as `wait.forToken` does."""
    pause = threading.Event()
    while True:
        token = next(one for one in server.wait_tokens if one.id == token_id)
        if token.status == "COMPLETED":
            return token.output
        if token.status == "TIMED_OUT":
            raise TimeoutError("nobody has decided")
        pause.wait(LOOK)
