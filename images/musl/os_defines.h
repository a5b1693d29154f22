/* libstdc++ is configured for glibc: its headers ask for glibc's version, and for glibc's name of a type. */
#define __GLIBC_PREREQ(major, minor) 0
#define __locale_t locale_t
#include_next <bits/os_defines.h>
