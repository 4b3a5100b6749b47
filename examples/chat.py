"""Chat with an agent: each line that is typed is a message, and its answer is printed as it comes.

export TRIGGER_SECRET_KEY=tr_…
python chat.py my-agent chat/7
"""

import sys

from trigger_realtime_sync import RealtimeClient, TextJoiner


def main(task: str, chat: str) -> None:
    with RealtimeClient() as client:
        session = client.sessions.start(task, external_id=chat, payload={"chatId": chat})
        # What was said before is not told again; a web page would keep `last_event_id`.
        answers = client.subscribe_to_session(chat, on_control=on_control, max_parts=0)
        print(f"[{'going on with' if session.is_cached else 'new'} {chat}]", flush=True)
        for line in sys.stdin:
            number = client.sessions.send(chat, {"kind": "message", "text": line.rstrip("\n")})
            print_answer(answers, number)
        client.sessions.close(chat, "the user has left")
        answers.wait_for_completion(timeout=60)


def print_answer(answers, number: int) -> None:
    joined = TextJoiner()
    # An earlier turn that ends meanwhile is not the end of this answer.
    for part in answers.updates(turn_of=number, timeout=300):
        if part.get("type") == "text-delta":
            print(joined.feed([part["delta"]]), end="", flush=True)
    print(joined.end(), flush=True)


def on_control(name: str, headers: dict[str, str]) -> None:
    if name == "upgrade-required":
        print("[another version of the agent goes on]", flush=True)
    elif name == "session-closed":
        print(f"[closed: {headers.get('session-closed-reason', 'no reason given')}]", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
