// postgres.js through psbouncer in transaction mode: it prepares all that it
// sends and pipelines what is asked for at once. argv[2] is a URL. Ends with 0
// when all of it was right.
"use strict";
const assert = require("assert");
const { pipeline: flow } = require("stream/promises");
const { Readable } = require("stream");
const postgres = require("postgres");

const url = process.argv[2];
const sql = postgres(url, { max: 6, onnotice: () => {} });

async function statements() {
	const answers = [];
	for (let i = 0; i < 300; i++) {
		answers.push(sql`select ${i}::int + 1 as n, ${"x" + i}::text as t`);
		answers.push(sql`select 1 / ${i % 10 ? 1 : 0}::int as one`.then((r) => r[0].one, (e) => e.code));
		answers.push(sql.unsafe(`select ${i % 50} as n, $1::text as t`, ["y" + i], { prepare: true }));
	}
	const all = await Promise.all(answers);
	for (let i = 0; i < 300; i++) {
		assert.deepEqual({ ...all[3 * i][0] }, { n: i + 1, t: "x" + i });
		assert.equal(all[3 * i + 1], i % 10 ? 1 : "22012");
		assert.deepEqual({ ...all[3 * i + 2][0] }, { n: i % 50, t: "y" + i });
	}
	assert.deepEqual((await sql`select 1 as a; select 2 as b`.simple()).map((r) => ({ ...r[0] })), [{ a: 1 }, { b: 2 }]);
	assert.equal((await sql`select ${"x"}::text as t`.describe()).columns[0].name, "t");
}

async function transactions() {
	await Promise.all(Array.from({ length: 12 }, async (_, i) => {
		const tag = "t" + i;
		const done = sql.begin(async (tx) => {
			await tx`insert into postgres_js_test values (${i}, ${tag})`;
			await assert.rejects(tx.savepoint((s) => s`select 1 / ${0}::int`), { code: "22012" });
			// A pipeline inside the transaction.
			const sums = await Promise.all([1, 2, 3].map((n) => tx`select ${n}::int + count(*)::int as n from
				postgres_js_test where v = ${tag}`));
			assert.deepEqual(sums.map((r) => r[0].n), [2, 3, 4]);
			if (i % 2) await tx`select 1 / ${0}::int`;
		});
		if (i % 2) await assert.rejects(done, { code: "22012" });
		else await done;
	}));
	assert.equal((await sql`select count(*)::int as n from postgres_js_test`)[0].n, 6);
	await sql`insert into postgres_js_test ${sql(Array.from({ length: 100 }, (_, i) => ({ id: i, v: "many" })))}`;
}

async function cursors() {
	await Promise.all([1, 2, 3, 4].map(async (k) => {
		let n = 0;
		for await (const rows of sql`select g, ${k}::int k from generate_series(1, 50) g`.cursor(7))
			rows.forEach((r) => assert.deepEqual({ ...r }, { g: ++n, k }));
		assert.equal(n, 50);
		for await (const rows of sql`select g from generate_series(1, 50) g`.cursor(5)) {
			assert.equal(rows.length, 5);
			break;
		}
	}));
}

async function copies() {
	await Promise.all(["a", "b", "c"].map(async (tag) => {
		const lines = Array.from({ length: 200 }, (_, i) => `${i}\tcopied ${tag}\n`);
		await flow(Readable.from(lines), await sql`copy postgres_js_test from stdin`.writable());
		const parts = [];
		for await (const part of await sql.unsafe(`copy (select * from postgres_js_test where v = 'copied ${tag}'
			order by id) to stdout`).readable())
			parts.push(part);
		assert.equal(Buffer.concat(parts).toString(), lines.join(""));
	}));
}

async function cancel() {
	const query = sql`select pg_sleep(60), 'postgres.js sleeps'`.execute();
	while (!(await sql`select count(*)::int as n from pg_stat_activity where wait_event = 'PgSleep' and
		query like '%postgres.js sleeps%'`)[0].n);
	query.cancel();
	await assert.rejects(query, { code: "57014" });
}

async function listen() {
	let hear;
	const heard = new Promise((resolve) => (hear = resolve));
	const { unlisten } = await sql.listen("postgres_js_news", hear);
	await sql.notify("postgres_js_news", "hello");
	assert.equal(await heard, "hello");
	await unlisten();
}

async function main() {
	await sql`drop table if exists postgres_js_test`;
	await sql`create table postgres_js_test (id int, v text)`;
	for (const step of [statements, transactions, cursors, copies, cancel, listen, statements]) await step();

	// A table that changes behind statements that are prepared.
	const star = () => sql`select * from postgres_js_test limit 1`;
	await Promise.all(Array.from({ length: 6 }, star));
	await sql`alter table postgres_js_test add column w int`;
	await Promise.all(Array.from({ length: 6 }, star));
	assert.equal((await sql`select count(*)::int as n from postgres_js_test`)[0].n, 6 + 100 + 600);
	await sql`drop table postgres_js_test`;
	await sql.end();
	console.log("postgres.js ok");
}

main().catch((e) => {
	console.error(e);
	process.exit(1);
});
