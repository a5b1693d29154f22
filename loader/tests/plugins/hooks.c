/* Something that happens at a certain time: -DAT_OPEN='exit(0)' and the like. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

const char *name(void) { return "hooks"; }

#ifdef AT_OPEN
__attribute__((constructor)) static void at_open(void) { AT_OPEN; }
#endif

#ifdef AT_CLOSE
__attribute__((destructor)) static void at_close(void) { AT_CLOSE; }
#endif

#ifdef UNDEFINED
extern int nobody_defines_this(int);
int use(int number) { return nobody_defines_this(number); }
#endif
