#!/usr/bin/env python3
"""The participant `push` in Python: `push.notify/1`, a retriable operation, over NATS, with a barrier of its own in SQLite.

It is the example of a participant in another language. All that it takes: an endpoint in the queue group `q`, the headers of
orchestrator/asyncapi.json, and one transaction that writes the effect and the barrier's row together, so that a repeated call is
given the first answer again and does nothing.

    pip install nats-py
    ./push.py --nats nats://127.0.0.1:4222 --database push.db
"""

import argparse, asyncio, json, signal, sqlite3, time, urllib.parse

import nats, nats.micro

CONTRACT = "push.notify/1"
HALF_THE_RETENTION_MS = 15 * 24 * 3600 * 1000  # rows are kept for 30 days; an older try may be one whose row is gone

TABLES = """
CREATE TABLE IF NOT EXISTS barrier (
    saga TEXT NOT NULL, step TEXT NOT NULL, attempt INTEGER NOT NULL, moved_ms INTEGER NOT NULL,
    outcome TEXT NOT NULL, body BLOB NOT NULL, PRIMARY KEY (saga, step));
CREATE TABLE IF NOT EXISTS notices (
    key TEXT PRIMARY KEY, user_id TEXT NOT NULL, order_id TEXT, topic TEXT NOT NULL, text TEXT NOT NULL);
"""


class Refused(Exception):
    """A definite business no: a code for programs, and a text for people."""


def notify(db, key, notice):
    """The business: keeps one message to a buyer. `key` is the same for every attempt, for ever."""
    about = notice["about"]
    topic, details = (about, {}) if isinstance(about, str) else next(iter(about.items()))
    if not notice["user"]:
        raise Refused("no_user", "a message needs somebody to be for")
    text = f"{topic}: {json.dumps(details, sort_keys=True)}"
    row = (key, notice["user"], notice.get("order"), topic, text)
    db.execute("INSERT OR IGNORE INTO notices VALUES (?, ?, ?, ?, ?)", row)
    return b"null"


def answer(db, headers, data):
    """The barrier: an outcome and a body for one call."""
    saga, step, attempt = headers["Tercet-Saga"], headers["Tercet-Step"], int(headers["Tercet-Attempt"])
    now = int(time.time() * 1000)
    if headers["Tercet-Contract"] != CONTRACT or headers["Tercet-Phase"] != "try":
        return retry(f"{CONTRACT} has nothing but a try")
    if now - int(headers["Tercet-Issued"]) > HALF_THE_RETENTION_MS:
        return "expired", b""
    db.execute("BEGIN IMMEDIATE")
    try:
        stored = db.execute("SELECT attempt, outcome, body FROM barrier WHERE saga = ? AND step = ?", (saga, step)).fetchone()
        # Only done is final: a refusal answers attempts up to its own, a later one asks anew.
        if stored and (stored[1] == "done" or attempt <= stored[0]):
            db.execute("ROLLBACK")
            return stored[1], stored[2]
        db.execute("SAVEPOINT business")
        try:
            outcome, body = "done", notify(db, urllib.parse.unquote(headers["Tercet-Key"]), json.loads(data))
        except Refused as no:
            db.execute("ROLLBACK TO business")
            outcome, body = "refused", json.dumps({"code": no.args[0], "message": no.args[1]}).encode()
        db.execute("REPLACE INTO barrier VALUES (?, ?, ?, ?, ?, ?)", (saga, step, attempt, now, outcome, body))
        db.execute("COMMIT")
        return outcome, body
    except Exception:
        if db.in_transaction:
            db.execute("ROLLBACK")
        raise


def retry(reason):
    """*Not now*: nothing happened, and it may be asked again."""
    return "retry", json.dumps({"reason": reason}).encode()


async def main():
    flags = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    flags.add_argument("--nats", default="nats://127.0.0.1:4222")
    flags.add_argument("--namespace", default="default")
    flags.add_argument("--database", default="push.db")
    flags = flags.parse_args()
    db = sqlite3.connect(flags.database, isolation_level=None, timeout=10)
    db.execute("PRAGMA journal_mode = WAL")
    db.execute("PRAGMA synchronous = FULL")
    db.executescript(TABLES)

    async def called(request):
        if request.headers.get("Tercet-Phase") == "forget":
            return  # nobody waits, and this barrier ages by its rows' own dates
        try:
            outcome, body = answer(db, request.headers, request.data)
        except Exception as error:  # rolled back: nothing happened
            outcome, body = retry(f"{type(error).__name__}: {error}")
        await request.respond(body, headers={"Tercet-Outcome": outcome})

    client = await nats.connect(flags.nats, name="push.py", max_reconnect_attempts=-1)
    service = await nats.micro.add_service(
        client, name="push", version="1.0.0", metadata={"tercet.namespace": flags.namespace}, queue_group="q")
    await service.add_endpoint(
        name="notify", subject=f"tercet.{flags.namespace}.push.notify.*", metadata={"tercet.contracts": CONTRACT}, handler=called)
    await client.flush()
    print("serving push", flush=True)
    stop = asyncio.Event()
    for one in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(one, stop.set)
    await stop.wait()
    await client.drain()


if __name__ == "__main__":
    asyncio.run(main())
