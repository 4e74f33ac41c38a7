/*
 * addr: pure functions over a peer's address and its text forms. Called by all
 * who connect, accept, log or show. It resolves no names.
 */
#include "net/addr.h"

#include <arpa/inet.h>
#include <assert.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static_assert(sizeof(struct addr) == 24, "an address is part of every idle client");

/* One peer has one address, whichever of two sockets he came by. */
static void set_v6(struct addr *a, const struct in6_addr *v6, uint32_t scope)
{
	if (IN6_IS_ADDR_V4MAPPED(v6)) {
		a->family = AF_INET;
		memcpy(&a->u.v4, v6->s6_addr + 12, sizeof a->u.v4);
		return;
	}
	a->family = AF_INET6;
	a->u.v6 = *v6;
	a->scope = scope;
}

struct addr addr_from_sockaddr(const struct sockaddr *sa, socklen_t len)
{
	struct addr a = {.family = AF_UNSPEC};
	struct sockaddr_in in;
	struct sockaddr_in6 in6;

	if (len < (socklen_t)sizeof sa->sa_family)
		return a;
	if (sa->sa_family == AF_INET && len >= (socklen_t)sizeof in) {
		memcpy(&in, sa, sizeof in);
		a.family = AF_INET;
		a.port = ntohs(in.sin_port);
		a.u.v4 = in.sin_addr;
	} else if (sa->sa_family == AF_INET6 && len >= (socklen_t)sizeof in6) {
		memcpy(&in6, sa, sizeof in6);
		a.port = ntohs(in6.sin6_port);
		set_v6(&a, &in6.sin6_addr, in6.sin6_scope_id);
	} else if (sa->sa_family == AF_UNIX) {
		a.family = AF_UNIX;
	}
	return a;
}

socklen_t addr_to_sockaddr(const struct addr *a, struct sockaddr_storage *ss)
{
	memset(ss, 0, sizeof *ss);
	if (a->family == AF_INET) {
		struct sockaddr_in in = {.sin_family = AF_INET, .sin_port = htons(a->port), .sin_addr = a->u.v4};

		memcpy(ss, &in, sizeof in);
		return sizeof in;
	}
	assert(a->family == AF_INET6);
	struct sockaddr_in6 in6 = {
		.sin6_family = AF_INET6,
		.sin6_port = htons(a->port),
		.sin6_addr = a->u.v6,
		.sin6_scope_id = a->scope,
	};

	memcpy(ss, &in6, sizeof in6);
	return sizeof in6;
}

/* The interface's index behind the '%' of a link-local address: its name or the number; 0 when it is neither. */
static uint32_t parse_zone(const char *zone)
{
	char *end;
	unsigned long n;

	if (zone[0] >= '0' && zone[0] <= '9') {
		n = strtoul(zone, &end, 10);
		return *end == '\0' && n <= UINT32_MAX ? (uint32_t)n : 0;
	}
	return if_nametoindex(zone);
}

bool addr_parse(const char *text, uint16_t port, struct addr *out)
{
	char copy[ADDR_TEXT];
	size_t len = strlen(text);
	struct addr a = {.port = port};
	struct in6_addr v6;
	uint32_t scope = 0;
	char *zone;

	if (len > 2 && text[0] == '[' && text[len - 1] == ']') {
		text++;
		len -= 2;
	} else if (inet_pton(AF_INET, text, &a.u.v4) == 1) {
		a.family = AF_INET;
		*out = a;
		return true;
	}
	if (len >= sizeof copy)
		return false;
	memcpy(copy, text, len);
	copy[len] = '\0';
	zone = strchr(copy, '%');
	if (zone != NULL) {
		*zone++ = '\0';
		scope = parse_zone(zone);
		if (scope == 0)
			return false;
	}
	if (inet_pton(AF_INET6, copy, &v6) != 1)
		return false;
	set_v6(&a, &v6, scope);
	*out = a;
	return true;
}

bool addr_equal(const struct addr *a, const struct addr *b)
{
	if (a->family != b->family || a->port != b->port || a->scope != b->scope)
		return false;
	switch (a->family) {
	case AF_INET: return a->u.v4.s_addr == b->u.v4.s_addr;
	case AF_INET6: return IN6_ARE_ADDR_EQUAL(&a->u.v6, &b->u.v6);
	case AF_UNIX: return a->u.local.pid == b->u.local.pid && a->u.local.uid == b->u.local.uid;
	default: return true;
	}
}

bool addr_is_loopback(const struct addr *a)
{
	switch (a->family) {
	case AF_INET: return ntohl(a->u.v4.s_addr) >> 24 == 127;
	case AF_INET6: return IN6_IS_ADDR_LOOPBACK(&a->u.v6);
	case AF_UNIX: return true;
	default: return false;
	}
}

static char *put_number(char *p, unsigned n)
{
	char digits[5], *d = digits;

	assert(n <= 0xffff);
	do
		*d++ = (char)('0' + n % 10);
	while ((n /= 10) > 0);
	while (d > digits)
		*p++ = *--d;
	return p;
}

/* By hand, since it stands in every line of the log; returns its end, which gets no NUL. */
static char *put_v4(char *p, const struct in_addr *v4)
{
	const uint8_t *byte = (const uint8_t *)&v4->s_addr;

	for (int i = 0; i < 4; i++) {
		p = put_number(p, byte[i]);
		*p++ = '.';
	}
	return p - 1;
}

const char *addr_host(const struct addr *a, char buf[ADDR_TEXT])
{
	char name[IF_NAMESIZE];
	size_t len;

	switch (a->family) {
	case AF_INET: *put_v4(buf, &a->u.v4) = '\0'; return buf;
	case AF_INET6:
		inet_ntop(AF_INET6, &a->u.v6, buf, ADDR_TEXT);
		len = strlen(buf);
		if (a->scope != 0 && if_indextoname(a->scope, name) != NULL)
			snprintf(buf + len, ADDR_TEXT - len, "%%%s", name);
		else if (a->scope != 0)
			snprintf(buf + len, ADDR_TEXT - len, "%%%u", a->scope);
		return buf;
	case AF_UNIX: return strcpy(buf, "unix");
	default: return strcpy(buf, "?");
	}
}

const char *addr_text(const struct addr *a, char buf[ADDR_TEXT])
{
	char host[ADDR_TEXT], *p;

	switch (a->family) {
	case AF_INET:
		p = put_v4(buf, &a->u.v4);
		*p++ = ':';
		*put_number(p, a->port) = '\0';
		break;
	case AF_INET6: snprintf(buf, ADDR_TEXT, "[%.*s]:%u", ADDR_TEXT - 10, addr_host(a, host), a->port); break;
	case AF_UNIX: snprintf(buf, ADDR_TEXT, "unix(%d):%u", a->u.local.pid, a->port); break;
	default: strcpy(buf, "?"); break;
	}
	return buf;
}
