// pgjdbc through psbouncer in transaction mode: statements that it prepares
// from the first or the fifth use on, batches, autosave, cursors, COPY, large
// objects (function calls), cancel. The argument is "host:port/database?user=...".
// Ends with 0 when all of it was right.
import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.sql.BatchUpdateException;
import java.sql.Connection;
import java.sql.DriverManager;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.SQLException;
import java.sql.Savepoint;
import java.sql.Statement;
import java.util.Arrays;
import java.util.concurrent.Callable;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import org.postgresql.PGConnection;
import org.postgresql.PGNotification;
import org.postgresql.copy.CopyManager;
import org.postgresql.largeobject.LargeObject;
import org.postgresql.largeobject.LargeObjectManager;

public class Pgjdbc {
	static String url;

	interface Step {
		void run() throws Exception;
	}

	static Connection connect(String options) throws SQLException {
		return DriverManager.getConnection("jdbc:postgresql://" + url + "&sslmode=disable" + options);
	}

	static void check(boolean right, Object what) {
		if (!right)
			throw new AssertionError(String.valueOf(what));
	}

	static void fails(String state, Step step) throws Exception {
		try {
			step.run();
		} catch (SQLException e) {
			check(state.equals(e.getSQLState()), e.getSQLState() + " " + e.getMessage());
			return;
		}
		throw new AssertionError("no error " + state);
	}

	static long number(Connection c, String sql) throws SQLException {
		try (Statement s = c.createStatement(); ResultSet r = s.executeQuery(sql)) {
			r.next();
			return r.getLong(1);
		}
	}

	static void statements(Connection c, String tag) throws Exception {
		try (PreparedStatement add = c.prepareStatement("select ?::int + 1, now()::date is not null");
			PreparedStatement mine = c.prepareStatement("select ? || '" + tag + "'")) {
			for (int i = 0; i < 12; i++) {
				add.setInt(1, i);
				try (ResultSet r = add.executeQuery()) {
					check(r.next() && r.getInt(1) == i + 1 && r.getBoolean(2), i);
				}
				mine.setString(1, "x" + i);
				try (ResultSet r = mine.executeQuery()) {
					check(r.next() && r.getString(1).equals("x" + i + tag), r.getString(1));
				}
			}
			fails("22012", () -> number(c, "select 1 / 0"));
		}
		// More texts than the driver keeps: it closes statements.
		for (int i = 0; i < 60; i++)
			try (PreparedStatement s = c.prepareStatement("select ?::int + " + i % 30)) {
				s.setInt(1, 1);
				try (ResultSet r = s.executeQuery()) {
					check(r.next() && r.getInt(1) == 1 + i % 30, i);
				}
			}
		try (Statement s = c.createStatement()) {
			check(s.execute("select 1; select 2") && s.getMoreResults(), "two results");
		}
	}

	static void batches(Connection c, String tag) throws Exception {
		try (PreparedStatement s = c.prepareStatement("insert into pgjdbc_test values (?, ?)")) {
			for (int round = 0; round < 3; round++) {
				for (int i = 0; i < 300; i++) {
					s.setInt(1, i);
					s.setString(2, tag);
					s.addBatch();
				}
				check(s.executeBatch().length == 300, "a batch");
			}
		}
		check(number(c, "select count(*) from pgjdbc_test where v = '" + tag + "'") == 900, tag);
		// One that fails in the middle takes back all of it.
		try (PreparedStatement s = c.prepareStatement("insert into pgjdbc_test values (1 / ?, ?)")) {
			for (int i = 5; i >= -5; i--) {
				s.setInt(1, i);
				s.setString(2, tag);
				s.addBatch();
			}
			c.setAutoCommit(false);
			fails("22012", s::executeBatch);
			c.rollback();
			c.setAutoCommit(true);
		}
		check(number(c, "delete from pgjdbc_test where v = '" + tag + "' returning 1") == 1, tag);
		check(number(c, "select count(*) from pgjdbc_test where v = '" + tag + "'") == 0, tag);
	}

	static void transactions(Connection c, String tag, boolean autosave) throws Exception {
		c.setAutoCommit(false);
		for (int i = 0; i < 8; i++) {
			try (PreparedStatement s = c.prepareStatement("insert into pgjdbc_test values (?, ?)")) {
				s.setInt(1, i);
				s.setString(2, tag);
				s.executeUpdate();
			}
			if (autosave) { // the driver rolls the one statement back
				fails("22012", () -> number(c, "select 1 / 0"));
				fails("42P01", () -> number(c, "select * from nowhere_at_all"));
			} else {
				Savepoint a = c.setSavepoint();
				fails("22012", () -> number(c, "select 1 / 0"));
				fails("25P02", () -> number(c, "select 1"));
				c.rollback(a);
			}
			check(number(c, "select count(*) from pgjdbc_test where v = '" + tag + "'") == (i + 1) / 2 + 1, tag);
			if (i % 2 == 0)
				c.commit();
			else
				c.rollback();
		}
		c.setAutoCommit(true);
		check(number(c, "delete from pgjdbc_test where v = '" + tag + "' returning 1") == 1, tag);
	}

	static void cursors(Connection c, String tag) throws Exception {
		c.setAutoCommit(false);
		try (PreparedStatement s = c.prepareStatement("select g, ? from generate_series(1, 100) g")) {
			s.setFetchSize(7);
			s.setString(1, tag);
			for (int round = 0; round < 3; round++)
				try (ResultSet r = s.executeQuery()) {
					int n = 0;
					while (r.next()) {
						check(r.getInt(1) == ++n && r.getString(2).equals(tag), n);
						if (round == 1 && n == 20)
							break; // the portal is closed
						if (n % 10 == 0)
							check(number(c, "select " + n) == n, n);
					}
				}
		}
		c.commit();
		c.setAutoCommit(true);
	}

	static void copies(Connection c, String tag) throws Exception {
		CopyManager copy = c.unwrap(PGConnection.class).getCopyAPI();
		StringBuilder lines = new StringBuilder();
		for (int i = 0; i < 200; i++)
			lines.append(i).append('\t').append("copied ").append(tag).append('\n');
		byte[] bytes = lines.toString().getBytes();
		check(copy.copyIn("copy pgjdbc_test from stdin", new ByteArrayInputStream(bytes)) == 200, "copy");
		ByteArrayOutputStream out = new ByteArrayOutputStream();
		copy.copyOut("copy (select id, v from pgjdbc_test where v = 'copied " + tag + "' order by id) to stdout", out);
		check(Arrays.equals(out.toByteArray(), bytes), out);
		fails("22P02", () -> copy.copyIn("copy pgjdbc_test from stdin", new ByteArrayInputStream("none\tx\n".getBytes())));
		check(number(c, "delete from pgjdbc_test where v = 'copied " + tag + "' returning 1") == 1, tag);
	}

	static void largeObjects(Connection c, String tag) throws Exception {
		c.setAutoCommit(false);
		LargeObjectManager m = c.unwrap(PGConnection.class).getLargeObjectAPI();
		long oid = m.createLO();
		LargeObject o = m.open(oid, LargeObjectManager.READWRITE);
		o.write(tag.getBytes());
		o.seek(0);
		check(new String(o.read(100)).equals(tag), tag);
		o.close();
		m.delete(oid);
		c.commit();
		c.setAutoCommit(true);
	}

	static void cancel(Connection c, Connection other, String tag) throws Exception {
		try (PreparedStatement s = c.prepareStatement("select pg_sleep(?), '" + tag + " sleeps'")) {
			s.setInt(1, 60);
			Thread t = new Thread(() -> {
				try {
					while (number(other, "select count(*) from pg_stat_activity where wait_event = 'PgSleep' and query like '%"
								+ tag + " sleeps%'") == 0)
						;
					s.cancel();
				} catch (SQLException e) {
					e.printStackTrace();
				}
			});
			t.start();
			fails("57014", s::executeQuery);
			t.join();
		}
		check(number(c, "select 17") == 17, tag);
	}

	static void listen(Connection c, Connection other) throws Exception {
		try (Statement s = c.createStatement(); Statement o = other.createStatement()) {
			s.execute("listen pgjdbc_news");
			o.execute("notify pgjdbc_news, 'hello'");
			PGNotification[] heard = c.unwrap(PGConnection.class).getNotifications(20000);
			check(heard != null && heard.length == 1 && heard[0].getParameter().equals("hello"), "a notification");
			s.execute("unlisten *");
		}
	}

	// The driver describes a statement once: that a column was added it hears only where its own statement failed for it.
	static void star(Connection c) throws Exception {
		for (int i = 0; i < 3; i++)
			try (PreparedStatement s = c.prepareStatement("select * from pgjdbc_star"); ResultSet r = s.executeQuery()) {
				check(r.next() && r.getString(1).equals("star"), r);
			}
	}

	public static void main(String[] args) {
		url = args[0];
		try {
			work();
			System.out.println("pgjdbc " + org.postgresql.Driver.getVersion() + " ok");
			System.exit(0);
		} catch (Throwable e) {
			e.printStackTrace();
			System.exit(1); // whatever the other threads do
		}
	}

	static void work() throws Exception {
		String[] options = {"&prepareThreshold=1", "&prepareThreshold=5", "&prepareThreshold=1&autosave=always",
			"&prepareThreshold=1&autosave=conservative&preparedStatementCacheQueries=10",
			"&prepareThreshold=1&reWriteBatchedInserts=true", "&preferQueryMode=simple"};
		Connection[] all = new Connection[options.length];
		for (int i = 0; i < all.length; i++)
			all[i] = connect(options[i]);
		try (Statement s = all[0].createStatement()) {
			s.execute("drop table if exists pgjdbc_test, pgjdbc_star");
			s.execute("create table pgjdbc_test (id int, v text)");
			s.execute("create table pgjdbc_star as select 'star'::text v");
		}
		ExecutorService pool = Executors.newFixedThreadPool(all.length);
		Future<?>[] done = new Future<?>[all.length];
		for (int i = 0; i < all.length; i++) {
			Connection c = all[i];
			String tag = "t" + i;
			boolean autosave = i == 2, simple = i == 5;
			done[i] = pool.submit((Callable<Void>) () -> {
				for (int round = 0; round < 2; round++) {
					statements(c, tag);
					batches(c, tag);
					transactions(c, tag, autosave);
					if (!simple)
						cursors(c, tag);
					copies(c, tag);
					largeObjects(c, tag);
				}
				return null;
			});
		}
		for (Future<?> d : done)
			d.get();
		pool.shutdown();
		cancel(all[0], all[1], "t0");
		listen(all[0], all[1]);
		listen(all[2], all[0]);

		// A table that changes behind statements that are prepared.
		for (Connection c : all)
			star(c);
		try (Statement s = all[0].createStatement()) {
			s.execute("alter table pgjdbc_star add column w text");
		}
		for (Connection c : all)
			star(c);
		try (Statement s = all[0].createStatement()) {
			s.execute("drop table pgjdbc_test, pgjdbc_star");
		}
		for (Connection c : all)
			c.close();
	}
}
