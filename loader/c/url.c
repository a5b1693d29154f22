/* URLs of servers on the loopback address: `http://HOST[:PORT]/PATH`. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>

#include "loader.h"

#define DEFAULT_PORT 80

/* Fills in where to connect to; says whether the host is an address of this machine's own. */
static int set_address(struct url *url, const char *host, unsigned port) {
  struct sockaddr_in *four = (struct sockaddr_in *)&url->address;
  struct sockaddr_in6 *six = (struct sockaddr_in6 *)&url->address;
  memset(&url->address, 0, sizeof url->address);
  /* Nothing is resolved, as an image may have nothing to resolve with. */
  if (strcmp(host, "localhost") == 0) host = "127.0.0.1";
  if (inet_pton(AF_INET, host, &four->sin_addr) == 1) {
    four->sin_family = AF_INET;
    four->sin_port = htons((uint16_t)port);
    url->address_length = sizeof *four;
    url->destination = text_of("%s:%u", host, port);
    return ntohl(four->sin_addr.s_addr) >> 24 == 127;
  }
  if (inet_pton(AF_INET6, host, &six->sin6_addr) == 1) {
    six->sin6_family = AF_INET6;
    six->sin6_port = htons((uint16_t)port);
    url->address_length = sizeof *six;
    url->destination = text_of("[::1]:%u", port);
    return IN6_IS_ADDR_LOOPBACK(&six->sin6_addr);
  }
  return 0;
}

/* A number from 1 to 65535, or 0. */
static unsigned port_of(const char *text) {
  size_t length = strlen(text);
  if (length == 0 || length > 5 || strspn(text, "0123456789") != length) return 0;
  unsigned long port = strtoul(text, NULL, 10);
  return port <= 65535 ? (unsigned)port : 0;
}

/* The same server's URL with this path; gives what is wrong, or null. */
char *url_with_path(const struct url *base, const char *path, struct url *url) {
  for (const char *byte = path; *byte; byte++)
    if (*byte <= ' ' || *byte > '~' || *byte == '#')
      return text_of("the path holds characters that must be percent-encoded");
  *url = *base;
  url->path = text_of("%s", path);
  return NULL;
}

/* Reads a URL; gives what is wrong with it, or null. */
char *url_parse(const char *string, struct url *url) {
  static const char scheme[] = "http://";
  if (strncmp(string, scheme, sizeof scheme - 1) != 0) return text_of("it does not begin with `http://`");
  string += sizeof scheme - 1;
  size_t length = strcspn(string, "/?");
  struct url base = {.authority = need(strndup(string, length))};
  char *path = text_of("%s%s", string[length] == '/' ? "" : "/", string + length);
  char *host = text_of("%s", base.authority), *port = NULL, *end;
  if (host[0] == '[' && (end = strchr(host, ']'))) {
    *end = 0, host++;
    if (end[1] == ':') port = end + 2;
    else if (end[1]) return text_of("`%s` is not a port", end + 1);
  } else if ((end = strchr(host, ':'))) {
    *end = 0;
    port = end + 1;
  }
  if (!set_address(&base, host, DEFAULT_PORT)) return text_of("`%s` is not a loopback address", host);
  if (port) {
    if (port_of(port) == 0) return text_of("`%s` is not a port", port);
    set_address(&base, host, port_of(port));
  }
  return url_with_path(&base, path, url);
}

/* The root of a port of 127.0.0.1. */
struct url url_of_port(unsigned port) {
  struct url url = {.authority = text_of("127.0.0.1:%u", port), .path = text_of("/")};
  set_address(&url, "127.0.0.1", port);
  return url;
}

char *url_text(const struct url *url) { return text_of("http://%s%s", url->authority, url->path); }
