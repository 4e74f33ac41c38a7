/*
 * addr: a peer's address in 24 bytes.
 */
#ifndef PSBOUNCER_NET_ADDR_H
#define PSBOUNCER_NET_ADDR_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

struct addr {
	uint8_t family; /* AF_UNSPEC, AF_INET, AF_INET6, AF_UNIX */
	uint16_t port;	/* host order; of a unix socket: its suffix */
	uint32_t scope; /* of a link-local IPv6 address: the interface's index */
	union {
		struct in_addr v4;
		struct in6_addr v6;
		struct {
			int32_t pid; /* of the peer, 0 when unknown */
			uint32_t uid;
		} local;
	} u;
};

/* A scratch buffer of this size holds every text form. */
#define ADDR_TEXT 64

/* An IPv4 address that IPv6 has mapped (::ffff:a.b.c.d) becomes IPv4. What is not known becomes AF_UNSPEC. */
struct addr addr_from_sockaddr(const struct sockaddr *sa, socklen_t len);
/* IPv4 and IPv6 only; returns the length used in *ss. */
socklen_t addr_to_sockaddr(const struct addr *a, struct sockaddr_storage *ss);
/* A numeric IPv4 or IPv6 address (the latter with brackets and %zone allowed); false for anything else. */
bool addr_parse(const char *text, uint16_t port, struct addr *out);
bool addr_equal(const struct addr *a, const struct addr *b); /* port included */
/* A unix socket is one. */
bool addr_is_loopback(const struct addr *a);
/* "10.0.0.1", "::1", "unix", "?"; and with the port "10.0.0.1:6432", "[::1]:6432", "unix(PID):6432". Return buf. */
const char *addr_host(const struct addr *a, char buf[ADDR_TEXT]);
const char *addr_text(const struct addr *a, char buf[ADDR_TEXT]);

#endif
