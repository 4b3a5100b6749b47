"""Chat with an agent: each line that is typed is a message, and its answer is printed as it comes.

export TRIGGER_SECRET_KEY=tr_…
python chat.py my-agent chat/7
"""

import sys

from trigger_realtime_sync import RealtimeClient, TextJoiner


def main(task: str, chat: str) -> None:
    with RealtimeClient() as client:
        session = client.sessions.start(task, external_id=chat, payload={"chatId": chat})
        print(f"[{'going on with' if session.is_cached else 'new'} {chat}]", flush=True)
        place = None
        for line in sys.stdin:
            message = {"kind": "message", "text": line.rstrip("\n")}
            place = ask(client, chat, message, place)
        print(f"[{client.sessions.close(chat, 'the user has left').closed_reason}]")


def ask(
    client: RealtimeClient, chat: str, message: dict[str, str], place: str | None
) -> str | None:
    """Send a message and print the answer. Return the place after it, as a web page would keep."""
    # Before the message: an answer that comes at once is not missed.
    with client.subscribe_to_session(chat, last_event_id=place) as answers:
        number = client.sessions.send(chat, message)
        joined = TextJoiner()
        # An earlier turn that ends meanwhile is not the end of this answer.
        for part in answers.updates(turn_of=number, timeout=300):
            if part.get("type") == "text-delta":
                print(joined.feed([part["delta"]]), end="", flush=True)
        print(joined.end(), flush=True)
        return answers.last_event_id


if __name__ == "__main__":
    main(*sys.argv[1:])
