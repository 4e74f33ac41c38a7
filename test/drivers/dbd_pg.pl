#!/usr/bin/perl
# DBD::Pg through psbouncer in transaction mode, with server-side prepare.
# The arguments are host, port, user, password and database. Ends with 0 when
# all of it was right.
use strict;
use warnings;
use DBI;

my ($host, $port, $user, $password, $db) = @ARGV;
sub handle {
	my %o = @_;
	return DBI->connect("dbi:Pg:host=$host;port=$port;dbname=$db;sslmode=disable", $user, $password,
		{RaiseError => 1, PrintError => 0, AutoCommit => 1, %o});
}
my ($a, $b) = (handle(), handle());
$a->do("drop table if exists dbd_pg_test");
$a->do("create table dbd_pg_test (id int, v text)");
for my $h ($a, $b, $a) {
	$h->{pg_switch_prepared} = 1;
	my $sth = $h->prepare("select ?::int + 1, ?::text");
	for my $i (1 .. 20) {
		$sth->execute($i, "x$i");
		my @row = $sth->fetchrow_array;
		die "@row" unless $row[0] == $i + 1 && $row[1] eq "x$i";
	}
	$sth = undef;
	my $ins = $h->prepare("insert into dbd_pg_test values (?, ?)");
	$h->begin_work;
	$ins->execute($_, "row $_") for 1 .. 10;
	$h->rollback;
	$h->begin_work;
	$ins->execute($_, "row $_") for 1 .. 10;
	$h->commit;
	eval { $h->do("select 1 / 0") };
	die "no error" unless $@;
	$h->do("copy dbd_pg_test from stdin");
	$h->pg_putcopydata("$_\tcopied\n") for 1 .. 5;
	$h->pg_putcopyend;
}
my ($n) = $b->selectrow_array("select count(*) from dbd_pg_test");
die $n unless $n == 45;
$a->do("drop table dbd_pg_test");
print "DBD::Pg $DBD::Pg::VERSION ok\n";
