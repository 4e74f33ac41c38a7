#!/usr/bin/python3
"""asyncpg through psbouncer in transaction mode: its statement cache is on.
argv[1] is a URL. Ends with 0 when all of it was right."""
import asyncio
import sys
import asyncpg


async def work(conn, tag):
    for i in range(30):
        assert await conn.fetchval("select $1::int + 1", i) == i + 1
        assert await conn.fetchval("select $1::text || %d" % (i % 7), tag) == "%s%d" % (tag, i % 7)
    st = await conn.prepare("select g, $1::text from generate_series(1, $2::int) g")
    rows = await st.fetch(tag, 50)
    assert len(rows) == 50 and rows[49][1] == tag
    async with conn.transaction():
        async for r in conn.cursor("select g from generate_series(1, 100) g", prefetch=9):
            pass
        assert r[0] == 100
    await conn.executemany("insert into asyncpg_test values ($1, $2)", [(i, tag) for i in range(100)])
    try:
        async with conn.transaction():
            await conn.execute("delete from asyncpg_test where v = $1", tag)
            await conn.fetchval("select 1 / $1::int", 0)
    except asyncpg.DivisionByZeroError:
        pass
    assert await conn.fetchval("select count(*) from asyncpg_test where v = $1", tag) == 100


async def listen(conn, other):
    heard = asyncio.get_running_loop().create_future()

    def hear(_conn, _pid, _channel, payload):
        heard.set_result(payload)
    await conn.add_listener("asyncpg_news", hear)
    await other.execute("select pg_notify('asyncpg_news', $1)", "hello")
    assert await heard == "hello"
    await conn.remove_listener("asyncpg_news", hear)
    await conn.execute("unlisten *")    # UNLISTEN of a channel does not give the server back


async def main():
    conns = [await asyncpg.connect(sys.argv[1]) for _ in range(6)]
    await conns[0].execute("drop table if exists asyncpg_test; create table asyncpg_test (id int, v text)")
    await asyncio.gather(*[work(c, "t%d" % i) for i, c in enumerate(conns)])
    assert (await conns[0].copy_records_to_table("asyncpg_test", records=[(i, "c") for i in range(10)])) == "COPY 10"
    assert await conns[1].fetchval("select count(*) from asyncpg_test") == 610
    await listen(conns[0], conns[1])
    await listen(conns[2], conns[0])
    for c in conns:
        await c.fetch("select * from asyncpg_test limit 1")
    await conns[0].execute("alter table asyncpg_test add column w int")
    for c in conns:
        await c.close()
    print("asyncpg", asyncpg.__version__, "ok")

asyncio.run(main())
