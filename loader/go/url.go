package main

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
)

// loopbackURL is http://HOST[:PORT]/PATH on a loopback address.
type loopbackURL struct {
	address netip.AddrPort
	// Host and port as written, for the Host header.
	authority string
	// With the query.
	path string
}

var (
	errNotHTTP = errors.New("it does not begin with `http://`")
	errBadPath = errors.New("the path holds characters that must be percent-encoded")
)

// parseURL reads a URL. `localhost` is 127.0.0.1: nothing is resolved, as an image may have nothing to resolve with.
func parseURL(text string) (*loopbackURL, error) {
	rest, found := strings.CutPrefix(text, "http://")
	if !found {
		return nil, errNotHTTP
	}
	authority, path := rest, "/"
	if position := strings.IndexAny(rest, "/?"); position >= 0 {
		authority, path = rest[:position], rest[position:]
		if path[0] == '?' {
			path = "/" + path
		}
	}
	host, port, hasPort := strings.Cut(authority, ":")
	if inner, bracketed := strings.CutPrefix(authority, "["); bracketed {
		var after string
		host, after, _ = strings.Cut(inner, "]")
		port, hasPort = strings.CutPrefix(after, ":")
		if after != "" && !hasPort {
			return nil, fmt.Errorf("`%s` is not a port", after)
		}
	}
	address := netip.AddrFrom4([4]byte{127, 0, 0, 1})
	if host != "localhost" {
		parsed, err := netip.ParseAddr(host)
		if err != nil || !parsed.IsLoopback() {
			return nil, fmt.Errorf("`%s` is not a loopback address", host)
		}
		address = parsed
	}
	number := uint16(80)
	if hasPort {
		var valid bool
		if number, valid = parsePort(port); !valid {
			return nil, fmt.Errorf("`%s` is not a port", port)
		}
	}
	base := &loopbackURL{address: netip.AddrPortFrom(address, number), authority: authority}
	return base.withPath(path)
}

// urlOfPort is the root of a port of 127.0.0.1.
func urlOfPort(port uint16) *loopbackURL {
	address := netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), port)
	return &loopbackURL{address: address, authority: address.String(), path: "/"}
}

// withPath is the same server's URL with this path.
func (u *loopbackURL) withPath(path string) (*loopbackURL, error) {
	for _, c := range []byte(path) {
		if c <= ' ' || c >= 0x7f || c == '#' {
			return nil, errBadPath
		}
	}
	return &loopbackURL{address: u.address, authority: u.authority, path: path}, nil
}

func (u *loopbackURL) String() string { return "http://" + u.authority + u.path }
