package main

/*
#include <features.h>
#ifdef __GLIBC__
#include <gnu/libc-version.h>
static const char *library(void) { return "glibc"; }
static const char *number(void) { return gnu_get_libc_version(); }
#else
// musl defines nothing to be known by; it is the only other one on Linux that Go's plugins work with.
static const char *library(void) { return "musl"; }
static const char *number(void) { return ""; }
#endif
*/
import "C"

// cLibrary gives the C library's name, and its version if it tells one.
func cLibrary() (name, number string) {
	return C.GoString(C.library()), C.GoString(C.number())
}
