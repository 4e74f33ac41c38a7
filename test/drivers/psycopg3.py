#!/usr/bin/python3
"""psycopg 3 through psbouncer in transaction mode: statements that it prepares
by itself, pipelines, COPY, server-side cursors, transactions. argv[1] is a
connection string. Ends with 0 when all of it was right."""
import sys
import psycopg

dsn = sys.argv[1]
table = "psycopg3_test"


def prepared(conn):
    # After prepare_threshold uses the driver prepares by itself; two connections change servers all the time.
    for i in range(20):
        row = conn.execute("select %s::int + 1, %s::text", (i, "x%d" % i)).fetchone()
        assert row == (i + 1, "x%d" % i), row
    for i in range(3):
        row = conn.execute("select %s::int * 2", (i,), prepare=True).fetchone()
        assert row == (i * 2,), row
    # More than prepared_max: the driver deallocates.
    for i in range(150):
        assert conn.execute("select %s::int + " + str(i), (1,), prepare=True).fetchone() == (1 + i,)


def pipeline(conn):
    with conn.pipeline():
        cursors = [conn.execute("select %s::int", (i,)) for i in range(50)]
        assert [c.fetchone()[0] for c in cursors] == list(range(50))
    # Where the driver hears of the error depends on when it reads: as that one, or as what it aborted.
    try:
        with conn.pipeline() as p:
            conn.execute("insert into %s values (%%s, 'pipe')" % table, (1000,))
            p.sync()
            conn.execute("select 1 / %s::int", (0,))
            p.sync()
        assert False, "no error"
    except (psycopg.errors.DivisionByZero, psycopg.errors.PipelineAborted):
        pass
    assert conn.execute("select count(*) > 0 from %s where v = 'pipe'" % table).fetchone()[0]


def copy(conn):
    with conn.cursor() as cur:
        with cur.copy("copy %s from stdin" % table) as c:
            for i in range(500):
                c.write_row((i, "row %d" % i))
        with cur.copy("copy %s to stdout" % table) as c:
            n = sum(1 for _ in c.rows())
        assert n >= 500, n


def cursors(conn):
    with conn.transaction():
        with conn.cursor(name="c") as cur:
            cur.itersize = 7
            cur.execute("select g from generate_series(1, 100) g")
            assert [r[0] for r in cur] == list(range(1, 101))


def transactions(conn):
    with conn.transaction():
        conn.execute("insert into %s values (1, 'a')" % table)
        try:
            with conn.transaction():
                conn.execute("select 1 / 0")
        except psycopg.errors.DivisionByZero:
            pass
        assert conn.execute("select count(*) from %s where v = 'a'" % table).fetchone()[0] == 1
    conn.execute("delete from %s" % table)


def listen(conn, other):
    conn.execute("listen psycopg3_news")
    other.execute("select pg_notify('psycopg3_news', %s)", ("hello",))
    assert next(conn.notifies()).payload == "hello"
    conn.execute("unlisten *")


with psycopg.connect(dsn, autocommit=True) as a, psycopg.connect(dsn, autocommit=True) as b:
    a.execute("drop table if exists " + table)
    a.execute("create table %s (id int, v text)" % table)
    for step in (prepared, pipeline, copy, cursors, transactions):
        for conn in (a, b, a):
            step(conn)
    listen(a, b)
    listen(b, a)
    a.execute("alter table %s add column w int" % table)
    for conn in (a, b):
        conn.execute("select * from " + table, prepare=True).fetchall()
    a.execute("alter table %s add column x int" % table)
    for conn in (b, a):
        assert len(conn.execute("select * from " + table, prepare=True).description) == 4
    a.execute("drop table " + table)
with psycopg.connect(dsn) as c:     # not autocommit: BEGIN in front of everything
    for i in range(10):
        assert c.execute("select %s::int", (i,)).fetchone() == (i,)
        c.commit() if i % 2 else c.rollback()
print("psycopg", psycopg.__version__, "ok")
