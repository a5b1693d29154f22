/* Functions that a contract may name, well-behaved ones and others. */
#define _GNU_SOURCE
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

const char *name(void) { return "calls"; }

const char *greet(const char *who)
{
    static char text[256];
    snprintf(text, sizeof text, "hello, %s", who);
    return text;
}

const char *join(const char *a, int64_t b, const char *c, int64_t d)
{
    static char text[256];
    snprintf(text, sizeof text, "%s %lld %s %lld", a, (long long)b, c, (long long)d);
    return text;
}

int64_t add(int64_t a, int64_t b) { return a + b; }
int64_t add3(int64_t a, int64_t b, int64_t c) { return a + b + c; }
int negative(void) { return -1; }
void nothing(void) {}

/* How it was opened shows in what it sees of its surroundings. */
const char *environment(const char *variable) { return getenv(variable); }

const char *null(void) { return NULL; }
const char *not_utf8(void) { return "caf\xe9"; }
const char *wild(void) { return (const char *)1; }

const char *endless(void)
{
    static char text[100000];
    memset(text, 'x', sizeof text);
    return text;
}

void crash(void) { *(volatile int *)0 = 0; }
void give_up(void) { abort(); }
void divide(void) { raise(SIGFPE); }
void leave(int64_t status) { exit((int)status); }
void leave_now(int64_t status) { _exit((int)status); }
void overflow(int64_t depth)
{
    volatile char space[65536];
    space[depth % 65536] = 1;
    overflow(depth + 1);
    space[0] = 2;
}
void stop(void) { raise(SIGSTOP); }

void hang(void)
{
    signal(SIGTERM, SIG_IGN);
    for (;;)
        pause();
}

void spin(void)
{
    for (volatile int forever = 1; forever;)
        ;
}

void chatter(void)
{
    printf("to stdout\n");
    fflush(stdout);
    fprintf(stderr, "to stderr \xff\n");
}

/* So many lines of 64 bytes on both streams. */
void flood(int64_t lines)
{
    static const char line[] = "0123456789012345678901234567890123456789012345678901234567890123";
    for (int64_t i = 0; i < lines; i++) {
        printf("%.63s\n", line);
        fprintf(stderr, "%.63s\n", line);
    }
    printf("last line\n");
    fflush(stdout);
}

/* Comes back twice. */
int64_t twice(void) { return fork() == 0 ? 1 : 2; }

/* Leaves a process behind that holds every descriptor, in a session of its own and deaf to what asks it to end. */
void leave_behind(void)
{
    pid_t between = fork();
    if (between == 0) {
        setsid();
        if (fork() == 0) {
            signal(SIGTERM, SIG_IGN);
            signal(SIGHUP, SIG_IGN);
            for (;;)
                pause();
        }
        _exit(0);
    }
    waitpid(between, NULL, 0);
}

void close_everything(void)
{
    for (int descriptor = 0; descriptor < 64; descriptor++)
        close(descriptor);
}

/* What a plugin that finds the channel could write to it. */
void write_everywhere(void)
{
    for (int descriptor = 3; descriptor < 64; descriptor++)
        if (write(descriptor, "r\xff\xff\xff\xff nonsense", 14) < 0)
            continue;
}
