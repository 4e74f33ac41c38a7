// node-postgres through psbouncer in transaction mode: named statements, its
// pipeline, cursors, COPY, transactions, cancel. argv[2] is a URL. Ends with 0
// when all of it was right.
"use strict";
const assert = require("assert");
const { pipeline: flow } = require("stream/promises");
const { Readable } = require("stream");
const pg = require("pg");
const Cursor = require("pg-cursor");
const copy = require("pg-copy-streams");

const url = process.argv[2];
const clients = 5;
const connect = async (options) => {
	const c = new pg.Client({ connectionString: url, ...options });
	await c.connect();
	return c;
};
const value = async (c, query, values) => Object.values((await c.query(query, values)).rows[0])[0];

async function statements(c, tag) {
	for (let i = 0; i < 40; i++) {
		// The same name and text in each client, and a name that means another text in each.
		assert.equal(await value(c, { name: "add", text: "select $1::int + 1", values: [i] }), i + 1);
		assert.equal(await value(c, { name: "mine", text: `select $1::text || '${tag}'`, values: [i] }), i + tag);
		assert.equal(await value(c, "select $1::text", [tag + i]), tag + i);
	}
	await assert.rejects(c.query({ name: "bad", text: "select * from nowhere_at_all", values: [] }), { code: "42P01" });
	assert.equal(await value(c, { name: "add", text: "select $1::int + 1", values: [41] }), 42);
}

async function transactions(c, tag) {
	for (let i = 0; i < 10; i++) {
		await c.query("begin");
		await c.query({ name: "insert", text: "insert into node_pg_test values ($1, $2)", values: [i, tag] });
		if (i % 2) {
			await assert.rejects(c.query("select 1 / $1::int", [0]), { code: "22012" });
			await assert.rejects(c.query({ name: "add", text: "select $1::int + 1", values: [1] }), { code: "25P02" });
			await c.query("rollback");
		} else {
			await c.query("savepoint a");
			await assert.rejects(c.query("select 1 / 0"), { code: "22012" });
			await c.query("rollback to a");
			await c.query("commit");
		}
	}
	assert.equal(await value(c, "select count(*)::int from node_pg_test where v = $1", [tag]), 5);
}

async function cursors(c, tag) {
	const read = async (cursor) => {
		let n = 0;
		for (;;) {
			const rows = await cursor.read(7);
			rows.forEach((r) => assert.deepEqual(r, { g: ++n, t: tag }));
			if (rows.length === 0) return n;
		}
	};
	const text = "select g, $1::text t from generate_series(1, 50) g";

	// Without a transaction: the batch is open from one read to the next.
	assert.equal(await read(c.query(new Cursor(text, [tag]))), 50);
	await c.query("begin");
	assert.equal(await read(c.query(new Cursor(text, [tag]))), 50);
	const left = c.query(new Cursor(text, [tag]));
	assert.equal((await left.read(3)).length, 3);
	await left.close();
	await c.query("commit");
}

async function copies(c, tag) {
	const lines = Array.from({ length: 300 }, (_, i) => `${i}\t${tag} copied\n`);
	await flow(Readable.from(lines), c.query(copy.from("copy node_pg_test from stdin")));
	const parts = [];
	for await (const part of c.query(copy.to(`copy (select * from node_pg_test where v = '${tag} copied' order by id) to stdout`)))
		parts.push(part);
	assert.equal(Buffer.concat(parts).toString(), lines.join(""));
	await assert.rejects(
		flow(Readable.from([`none\t${tag}\n`]), c.query(copy.from("copy node_pg_test from stdin"))), { code: "22P02" });
}

async function pipelines(tag) {
	const c = await connect({ pipeline: true });
	const answers = [];
	for (let i = 0; i < 60; i++) {
		answers.push(value(c, { name: "add", text: "select $1::int + 1", values: [i] }));
		answers.push(value(c, { name: `p${i % 9}`, text: `select '${tag}' || ${i % 9} || $1::text`, values: [i] }));
		answers.push(value(c, "select $1::text", [tag]));
		answers.push(c.query("select 1 / $1::int", [0]).then(() => "no error", (e) => e.code));
	}
	const all = await Promise.all(answers);
	for (let i = 0; i < 60; i++)
		assert.deepEqual(all.slice(4 * i, 4 * i + 4), [i + 1, `${tag}${i % 9}${i}`, tag, "22012"]);
	await c.end();
}

async function cancel(c, other, tag) {
	const query = new pg.Query({ text: `select pg_sleep($1), '${tag} sleeps'`, values: [60] });
	const ended = new Promise((resolve) => {
		query.on("error", (e) => resolve(e.code));
		query.on("end", () => resolve("it slept"));
	});
	c.query(query);
	while (!(await value(other, "select count(*)::int from pg_stat_activity where wait_event = 'PgSleep' and query like $1",
		[`%${tag} sleeps%`])));
	new pg.Client({ connectionString: url }).cancel(c, query);
	assert.equal(await ended, "57014");
	assert.equal(await value(c, "select $1::text", [tag]), tag);
}

// A listener keeps a server to itself until it has enough.
async function listen(c, other) {
	await c.query("listen node_pg_news");
	const heard = new Promise((resolve) => c.once("notification", (n) => resolve(n.payload)));
	await other.query("select pg_notify('node_pg_news', $1)", ["hello"]);
	assert.equal(await heard, "hello");
	await c.query("unlisten *");
}

async function main() {
	const all = await Promise.all(Array.from({ length: clients }, () => connect()));
	await all[0].query("drop table if exists node_pg_test; create table node_pg_test (id int, v text)");
	for (const step of [statements, transactions, cursors, copies, (c, tag) => pipelines(tag)])
		await Promise.all(all.map((c, i) => step(c, `t${i}`)));
	await cancel(all[0], all[1], "t0");
	await listen(all[0], all[1]);
	await listen(all[2], all[0]);

	// A table that changes behind statements that are prepared.
	const star = { name: "star", text: "select * from node_pg_test limit 1", values: [] };
	for (const c of all) assert.equal((await c.query(star)).rows.length, 1);
	await all[0].query("alter table node_pg_test add column w int");
	for (const c of all) assert.equal((await c.query({ ...star })).rows.length, 1);
	assert.equal(await value(all[2], "select count(*)::int from node_pg_test"), clients * (5 + 300));
	await all[0].query("drop table node_pg_test");
	for (const c of all) await c.end();
	console.log("pg", require("pg/package.json").version, "ok");
}

main().catch((e) => {
	console.error(e);
	process.exit(1);
});
